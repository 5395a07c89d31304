"""Files that are there whole, or not at all."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+\.tmp", re.DOTALL)


@contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, and move it there once it is complete and on the disk.

    Nobody ever sees a part of it: not after an error, a kill or a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def is_temporary(path: Path) -> bool:
    """True of what a killed `publish` left."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove what a killed `publish` left in a folder, of the files whose names are ours."""
    for path in folder.iterdir():
        match = TEMPORARY.fullmatch(path.name)
        if match and is_ours(match["name"]):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
