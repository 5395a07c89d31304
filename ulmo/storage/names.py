"""Paths as text that every file, table and terminal can hold, and back."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from ulmo.config import printable
from ulmo.config.errors import clipped

# Control characters, marks of direction, blanks without width, tags, and the surrogates that stand
# for bytes that are not UTF-8. A fixed list: `str.isprintable` differs between Python versions.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_UTF8 = ("utf-8", "surrogateescape")
_BACKSLASH = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def portable(path: Path) -> str:
    r"""A path as text that every file, table and terminal can hold; no two have the same text.

    Bytes that are not UTF-8 become \xNN, and so do those of characters that move a cursor, end a
    line, or hide or reorder letters. In such a path, and in one that contains `\x` anyway, every
    backslash is doubled. `path_of` undoes it.
    """
    # The bytes of a name are UTF-8 whatever the locale says: Python decodes them by the locale.
    name = os.fsencode(path.as_posix()).decode(*_UTF8)
    if r"\x" not in name and not _UNSHOWN.search(name):
        return name
    return _UNSHOWN.sub(_escaped, name.replace("\\", r"\\"))


def path_of(text: str) -> Path:
    r"""The path that `portable` made a text of.

    >>> path_of(portable(Path("caf\udce9"))) == Path("caf\udce9")
    True
    """
    return Path(name_of(text))


def name_of(text: str) -> str:
    """The same as `str(path_of(text))`, if `portable` made the text: without a path, it is fast."""
    name = text.encode(*_UTF8)
    if rb"\x" in name:
        name = _BACKSLASH.sub(_unescaped, name)
    return os.fsdecode(name)


def checked_name(text: str) -> str:
    """The text itself, if `portable` gives it for a path; ValueError for any other text.

    A checksum only says that a file is as somebody wrote it: a name in it may be any text.
    """
    is_plain = r"\x" not in text and not _UNSHOWN.search(text)
    if is_plain and {"", "."}.isdisjoint(text.split("/")):
        return text  # as nearly all are: ten times faster
    path = path_of(text)
    if portable(path) != text or "\0" in str(path):
        raise ValueError(f"{clipped(text)} is no path as ulmo writes it")
    return text


Name = Annotated[str, AfterValidator(checked_name)]  # a path in what ulmo reads back


def path_text(path: Path) -> str:
    """A path for a terminal: `portable` on one line, with all that Python cannot print escaped."""
    return printable(portable(path))


def _escaped(found: re.Match[str]) -> str:
    return "".join(rf"\x{byte:02x}" for byte in found[0].encode(*_UTF8))


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    return escape if escape == b"\\" else bytes.fromhex(escape[1:].decode())
