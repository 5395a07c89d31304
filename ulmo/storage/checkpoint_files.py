"""The files of a run's checkpoints, known without TensorFlow.

checkpoints/ckpt-7.json                    SHA-256 of the other two
checkpoints/ckpt-7.data-00000-of-00001     all variables
checkpoints/ckpt-7.index                   where each lies: moved last, removed first
checkpoints/best/                          the same of the best epoch

A checkpoint is there when its index is, and whole when all its files are what its hashes say.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ulmo.config import NewerError, Settings, UserError
from ulmo.storage.atomic import publish
from ulmo.storage.faults import reading_error
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import fingerprint, read_json

PREFIX = "ckpt"
INDEX = re.compile(rf"{PREFIX}-(\d{{1,18}})\.index")
OURS = re.compile(rf"{PREFIX}-(\d{{1,18}})\.(index|json|data-\d{{5}}-of-\d{{5}})")
Name = Annotated[str, Field(pattern=rf"^{PREFIX}-\d{{1,18}}\.(index|data-\d{{5}}-of-\d{{5}})$")]
AGAIN = "go on with --resume, from the checkpoint before"


class Digests(Settings):
    """ckpt-7.json."""

    schema_version: Literal[1] = 1
    files: Annotated[dict[Name, str], Field(min_length=2, max_length=64)]
    """SHA-256 of each file, in hexadecimal."""
    fingerprint: str
    """Hash over them."""

    def to_bytes(self) -> bytes:
        """The file, to the last byte."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def numbers(folder: Path) -> list[int]:
    """Of the checkpoints that are there, the latest last."""
    names = (INDEX.fullmatch(path.name) for path in folder.glob("*.index"))
    return sorted(int(match[1]) for match in names if match)


def files_of(folder: Path, number: int) -> list[Path]:
    """The files of a checkpoint that are there, the index last."""
    found = [path for path in folder.glob(f"{PREFIX}-{number}.*") if OURS.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.suffix == ".index", path.name))


def write_digests(folder: Path, number: int) -> None:
    """Write ckpt-7.json beside the files of a checkpoint."""
    files = {path.name: _hash(path) for path in files_of(folder, number)}
    with publish(digests_path(folder, number)) as file:
        file.write(Digests(files=files, fingerprint=fingerprint(files)).to_bytes())


def digests_path(folder: Path, number: int) -> Path:
    """Where the hashes of a checkpoint lie."""
    return folder / f"{PREFIX}-{number}.json"


def damaged_files(folder: Path, number: int) -> list[Path]:
    """Files of a checkpoint that are missing, or not what its hashes say; none where it is whole.

    Where the hashes themselves are not as they were written, they are what is damaged. Raises
    NewerError where a newer ulmo wrote them, OSError where something cannot be read.
    """
    path = digests_path(folder, number)
    try:
        digests = read_json(path, Digests, newest=1, remedy=AGAIN)
        changed = path.read_bytes() != digests.to_bytes()
    except NewerError:
        raise
    except (UserError, OSError) as error:
        if denied := reading_error(error):
            raise denied from None
        return [path]
    if changed or digests.fingerprint != fingerprint(digests.files):
        return [path]
    return [folder / name for name, value in digests.files.items() if _hash(folder / name) != value]


def remove_others(folder: Path, kept: list[int]) -> None:
    """Remove all checkpoints but some, each index first, and what a kill left of others."""
    for path in sorted(folder.glob(f"{PREFIX}-*"), key=lambda path: path.suffix != ".index"):
        match = OURS.fullmatch(path.name)
        if match and int(match[1]) not in kept:
            path.unlink()


def _hash(path: Path) -> str:
    """SHA-256 of a plain file, in hexadecimal; nothing of what is none: a pipe would never end."""
    return file_hash(path) or ""
