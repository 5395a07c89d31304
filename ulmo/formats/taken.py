"""Which files in the places of an output may be replaced or removed.

ulmo chooses names with `.tokens` before the ending. The user chooses all others, as in `--out
data.csv`, and there a header proves nothing about who wrote the file beside it: anyone can seal a
header. So such a file is replaced or removed only if it is as its header says, or if nothing is
lost with it.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ulmo.config import UserError
from ulmo.formats.header import MAX_CORPUS_BYTES, is_header, recorded_hashes
from ulmo.formats.places import STEM
from ulmo.formats.vocabulary import is_vocabulary
from ulmo.storage.plain_file import file_hash, read_unlinked

_CHOOSE = "choose another --out"
_DELETE = f"delete it, or {_CHOOSE}"


class TakenError(UserError, FileExistsError):
    """A file in the place of an output that must not be replaced."""

    def __init__(self, path: Path, why: str, remedy: str = _CHOOSE) -> None:
        self._given = path, why, remedy
        FileExistsError.__init__(self, errno.EEXIST, f"{why}: {remedy}", str(path))

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"

    def __reduce__(self) -> tuple[type[Self], tuple[Path, str, str]]:
        return type(self), self._given


def is_ulmos_name(stem: str) -> bool:
    """Whether ulmo chose the name of an output; `stem` is that name without its ending."""
    return stem.endswith(STEM)


def is_as_recorded(path: Path, header: Path) -> bool:
    """Whether a file has the hash in its header, or is a header whose checksum fits.

    Raises OSError if one of them cannot be read.
    """
    hashes = recorded_hashes(header)
    if hashes is None or path == header:
        return hashes is not None
    recorded = hashes.get(path.name.removeprefix(header.stem))
    return recorded is not None and recorded == file_hash(path)


def may_remove(files: Sequence[Path], header: Path) -> bool:
    """Whether the files of an output and their header are ulmo's, as far as they exist."""
    there = [path for path in (header, *files) if path.exists()]
    return is_ulmos_name(header.stem) or all(is_as_recorded(path, header) for path in there)


def refuse_foreign_header(header: Path) -> None:
    """Raise TakenError for a file in the place of a header, unless it is one or holds nothing.

    A damaged header counts as one if ulmo chose its name.
    """
    if not is_header(header):
        raise TakenError(header, "a file that ulmo did not write has this name")
    if is_ulmos_name(header.stem) or not header.is_file():
        return
    is_whole = recorded_hashes(header) is not None
    if not is_whole and read_unlinked(header, MAX_CORPUS_BYTES).strip(b"\0 \n"):
        raise TakenError(header, "it is damaged, or ulmo did not write it", _DELETE)


def refuse_foreign(path: Path, header: Path, written: str) -> None:
    """Raise TakenError for a file of tokens that the user named and that ulmo may not have written.

    A killed job may leave a file that its header does not name, or names with an older hash: it is
    the same as the new one, whose hash is `written`.
    """
    if is_ulmos_name(header.stem) or not path.exists() or is_as_recorded(path, header):
        return
    if file_hash(path) == written:
        return
    if path.name.removeprefix(header.stem) not in (recorded_hashes(header) or {}):
        raise TakenError(path, "no header beside it says that ulmo wrote it")
    why = f"it has another hash than {header.name} says, so it is damaged or ulmo did not write it"
    raise TakenError(path, why, _DELETE)


def refuse_foreign_vocabulary(path: Path, header: Path) -> None:
    """Raise TakenError for a file in the place of a vocabulary, unless it is one."""
    if not is_ulmos_name(header.stem) and path.exists() and not is_vocabulary(path):
        raise TakenError(path, "it is no vocabulary that ulmo wrote, or is damaged", _DELETE)
