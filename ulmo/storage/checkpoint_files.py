"""The files of a run's checkpoints, known without TensorFlow.

checkpoints/ckpt-7.json                    SHA-256 of the other two files
checkpoints/ckpt-7.data-00000-of-00001     all variables
checkpoints/ckpt-7.index                   the place of each variable: moved last, removed first
checkpoints/best/                          the checkpoint of the best epoch

A checkpoint exists if its index does, and is whole if all its files match their hashes.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ulmo.config import NewerError, Settings, UserError
from ulmo.storage.atomic import publish
from ulmo.storage.faults import reading_error
from ulmo.storage.open_folder import open_folder
from ulmo.storage.plain_file import file_hash, read_unlinked
from ulmo.storage.sealed import MAX_JSON_BYTES, fingerprint, read_json

PREFIX = "ckpt"
_INDEX = re.compile(rf"{PREFIX}-(\d{{1,18}})\.index")
OURS = re.compile(rf"{PREFIX}-(\d{{1,18}})\.(index|json|data-\d{{5}}-of-\d{{5}})")
_Name = Annotated[str, Field(pattern=rf"^{PREFIX}-\d{{1,18}}\.(index|data-\d{{5}}-of-\d{{5}})$")]
_AGAIN = "go on with --resume, from the checkpoint before"


class _Digests(Settings):
    """ckpt-7.json."""

    schema_version: Literal[1] = 1
    files: Annotated[dict[_Name, str], Field(min_length=2, max_length=64)]  # SHA-256, hexadecimal
    fingerprint: str  # hash over `files`

    def to_bytes(self) -> bytes:
        """The exact content of the file."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def numbers(folder: Path) -> list[int]:
    """Numbers of the existing checkpoints, the latest last."""
    names = (_INDEX.fullmatch(path.name) for path in folder.glob("*.index"))
    return sorted(int(match[1]) for match in names if match)


def files_of(folder: Path, number: int) -> list[Path]:
    """The existing files of a checkpoint, the index last."""
    found = [path for path in folder.glob(f"{PREFIX}-{number}.*") if OURS.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.suffix == ".index", path.name))


def write_digests(folder: Path, number: int) -> None:
    """Write the hashes of a checkpoint beside its files."""
    files = {path.name: file_hash(path) or "" for path in files_of(folder, number)}
    with publish(digests_path(folder, number)) as file:
        file.write(_Digests(files=files, fingerprint=fingerprint(files)).to_bytes())


def digests_path(folder: Path, number: int) -> Path:
    """The path of the hashes of a checkpoint."""
    return folder / f"{PREFIX}-{number}.json"


def damaged_files(folder: Path, number: int) -> list[Path]:
    """Files of a checkpoint that are missing or do not match their hashes; none if it is whole.

    If the file of hashes itself was changed or is gone, it is named alone: whether the others are
    as they were written is then not known. Raises NewerError if a newer
    ulmo wrote it, OSError if a file cannot be read.
    """
    path = digests_path(folder, number)
    try:
        content = read_unlinked(path, MAX_JSON_BYTES)
        digests = read_json(path, _Digests, newest=1, remedy=_AGAIN, content=content)
        changed = content != digests.to_bytes()
    except NewerError:
        raise
    except (UserError, OSError) as error:
        if denied := reading_error(error):
            raise denied from None
        return [path]
    if changed or digests.fingerprint != fingerprint(digests.files):
        return [path]
    paths = {folder / name: digest for name, digest in digests.files.items()}
    return [path for path, digest in paths.items() if file_hash(path) != digest]


def what_is_wrong(path: Path) -> Literal["damaged", "missing"]:
    """What is wrong with a file that `damaged_files` names."""
    return "damaged" if path.exists() else "missing"


def may_be_whole(folder: Path, number: int) -> bool:
    """Whether no file of a checkpoint is known to be missing or to differ from its hash.

    True also if a checkpoint cannot be read or has no hashes, since it may be undamaged. A
    checkpoint without an index was left by a killed save, unless all indices are gone. Raises
    NewerError as `damaged_files`.
    """
    if number not in (existing := numbers(folder)):
        return not existing
    try:
        damaged = damaged_files(folder, number)
    except OSError:
        return True
    return all(path == digests_path(folder, number) for path in damaged)


def remove_others(folder: Path, kept: list[int], *, below: Path | None = None) -> None:
    """Remove all checkpoints but `kept`, each index first, and remains of killed saves.

    `below` as in `open_folder`.
    """
    with suppress(FileNotFoundError), open_folder(folder, below=below) as opened:
        for name in sorted(opened.names(), key=lambda name: not name.endswith(".index")):
            match = OURS.fullmatch(name)
            if match and int(match[1]) not in kept:
                opened.remove(name)
