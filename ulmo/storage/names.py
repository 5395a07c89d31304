"""One spelling of a name: a path as text that every file, table and terminal takes, and back."""

import os
import re
from pathlib import Path

from ulmo.config import printable

_BACKSLASH = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def portable(path: Path) -> str:
    r"""A path as text that every file format takes. No two paths have the same text.

    Bytes that are not UTF-8 become \xNN. In such a path, and in one that contains `\x` anyway,
    every backslash is doubled.
    """
    name = os.fsencode(path.as_posix())
    text = name.decode("utf-8", "backslashreplace")
    if r"\x" not in text:
        return text
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_of(text: str) -> Path:
    r"""The path that `portable` made a text of.

    >>> path_of(portable(Path("caf\udce9"))) == Path("caf\udce9")
    True
    """
    name = os.fsencode(text)
    if rb"\x" in name:
        name = _BACKSLASH.sub(_unescaped, name)
    return Path(os.fsdecode(name))


def path_text(path: Path) -> str:
    """A path as one line that every terminal can show: `portable`, without control characters."""
    return printable(portable(path))


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    return escape if escape == b"\\" else bytes.fromhex(escape[1:].decode())
