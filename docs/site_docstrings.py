"""Docstrings of ulmo as Markdown, for the page of the API: an extension of griffe.

In a docstring, `name: words` at the start of a line describes a parameter or a field, its further
lines are indented, and `>>>` begins an example. A field of a class may have a comment instead.
"""

import re
from typing import Any

import griffe

ITEM = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*)((?: \([^)]*\))?): (?=\S)")


class Markdown(griffe.Extension):
    """Rewrites each docstring when it was read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object; make one of a field's comment."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
        elif obj.is_attribute and obj.parent and obj.parent.is_class and obj.lineno:
            lines = obj.lines_collection[obj.filepath][: obj.endlineno]
            if words := comment_of(lines):
                obj.docstring = griffe.Docstring(words, parent=obj)


def comment_of(lines: list[str]) -> str:
    """The comment behind the last line, or above it.

    >>> comment_of(["    # Its size,", "    # in bins.", "    size: int"])
    'Its size, in bins.'
    """
    *before, last = lines
    if "  # " in last:
        return last.partition("  # ")[2]
    words: list[str] = []
    while before and before[-1].lstrip().startswith("# "):
        words.insert(0, before.pop().lstrip()[2:])
    return " ".join(words)


def as_markdown(docstring: str) -> str:
    """Items as a list, examples as code.

    >>> print(as_markdown("Words.\\n\\nsize: its size,\\n    in bins.\\nname: its name."))
    Words.
    <BLANKLINE>
    - `size`: its size,
        in bins.
    - `name`: its name.
    """
    return "\n\n".join(map(_block, re.split(r"\n\s*\n", docstring)))


def _block(block: str) -> str:
    if block.startswith(">>>"):
        return f"```pycon\n{block}\n```"
    lines = block.splitlines()
    if not ITEM.match(lines[0]):
        return block
    return "\n".join(ITEM.sub(r"- `\1`\2: ", line) for line in lines)
