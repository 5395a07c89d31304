"""Where headers lie: beside tokens, or, in an output folder, in a folder of their own.

    x.tokens.parquet         OUT/tokens/a/x.tokens.parquet
    x.tokens.json            OUT/token_headers/a/x.tokens.json

Programs that read a whole folder as one table take every file in it, except files whose names have
a special meaning to them. So OUT/tokens holds only tokens, and names of tables are percent-encoded.
"""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ulmo.storage.plain_file import LinkError

COMMAND = "tokenize"
MANIFEST = f"{COMMAND}.json"
JOURNAL = f".{COMMAND}.jsonl"
TOKENS, HEADERS = "tokens", "token_headers"  # folders of an output
HEADER_ENDING = ".json"
STEM = ".tokens"  # before the ending of every name that ulmo chooses
_MOST = 16  # folders of one name above a file that may be that of an output

# Characters of names that have a special meaning to programs that read a folder. pandas and pyarrow
# skip names that begin with _ or a dot; key=value is a column; in datasets, :: chains addresses and
# $ begins a name of the environment; DuckDB takes a backslash for a slash, and ".gz?" for a
# compressed file; it and Polars refuse bytes that are not UTF-8. A % that looks like an escape is
# one, so that no two names become one.
_MEANT = re.compile(r"\A[_.]|:{2,}|[=$?\\\udc80-\udcff]|%(?=[0-9A-Fa-f]{2})")
_UTF8 = ("utf-8", "surrogateescape")


def table_path(path: Path) -> Path:
    """The path of a table that programs are to read as one of a folder; `path` is relative to it.

    In each part, characters that mean something to such programs are percent-encoded. Most names
    have none. `urllib.parse.unquote(part, errors="surrogateescape")` undoes it.

    >>> table_path(Path("site=7/_x.tokens.csv")).as_posix()
    'site%3D7/%5Fx.tokens.csv'
    """
    return Path(*map(_percent_encoded, path.parts))


def _percent_encoded(name: str) -> str:
    # The bytes of a name are UTF-8 whatever the locale says: Python decodes them by the locale.
    text = _MEANT.sub(_escape, os.fsencode(name).decode(*_UTF8))
    return os.fsdecode(text.encode(*_UTF8))


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode(*_UTF8))


def header_path(stem: Path) -> Path:
    """The header of files of tokens whose names are `stem` and an ending.

    It lies below HEADERS if the files lie below the folder TOKENS of an output.
    """
    found = _in_output(stem, TOKENS, HEADERS) or stem
    return found.with_name(f"{stem.name}{HEADER_ENDING}")


def tokens_path(header: Path) -> Path:
    """The stem of the files of tokens that a header belongs to: the inverse of `header_path`."""
    stem = header.with_name(header.name.removesuffix(HEADER_ENDING))
    return _in_output(stem, HEADERS, TOKENS) or stem


def refuse_linked_folders(header: Path) -> None:
    """Raise LinkError if a folder of headers, or one below it, is a link that leads elsewhere."""
    names = [folder.name for folder in header.parents]
    if HEADERS in names:
        for folder in header.parents[: names.index(HEADERS) + 1]:
            if folder.is_symlink():
                raise LinkError(folder)


def _in_output(path: Path, there: str, other: str) -> Path | None:
    """The same place below `other` for a path below the folder `there` of an output.

    A folder of recordings may be called so, too, and its tokens then lie in one. That of an output
    has a manifest beside it, or, in a copy that lost it, lies above all others. Of many folders
    called so, one in another, the uppermost are looked at: the time for a file has a bound.
    """
    around = _around(path.parent, there, other, None if path.is_absolute() else Path.cwd())
    found = [each for each in around if each.headers.is_dir()]
    if not found:
        return None
    managed = (each for each in found if each.manifest.is_file())
    return next(managed, found[-1]).place / path.name


class _Around(NamedTuple):
    """A folder of the name that is asked for, above a file."""

    headers: Path  # beside it, if it is that of an output
    manifest: Path
    place: Path  # where the file would lie below the other folder


@lru_cache(maxsize=64)  # a folder has many files, and nothing is looked up on the disk
def _around(folder: Path, there: str, other: str, cwd: Path | None) -> list[_Around]:
    """The uppermost of those folders, from the lowest on; `cwd` if the path is a relative one."""
    whole = folder if cwd is None else cwd / folder
    called = [depth for depth, name in enumerate(reversed(whole.parts)) if name == there]
    found = []
    for depth in called[-_MOST:]:
        known = folder if depth < len(folder.parts) - folder.is_absolute() else whole
        root = (known, *known.parents)[depth]
        top = (whole, *whole.parents)[depth]
        place = root.with_name(other) / known.relative_to(root)
        found.append(_Around(top.with_name(HEADERS), top.with_name(MANIFEST), place))
    return found
