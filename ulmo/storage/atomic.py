"""Files that are there whole, or not at all."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.tmp", re.DOTALL)


@contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, and move it there once it is complete and on the disk.

    Nobody ever sees a part of it: not after an error, a kill or a power cut.
    """
    with publish_together([path]) as (file,):
        yield file


@contextmanager
def publish_together(
    paths: Sequence[Path], before_moves: Callable[[], None] | None = None
) -> Iterator[Sequence[BinaryIO]]:
    """The same of several files: none is moved before all are complete and on the disk.

    Between the moves a kill leaves some old and some new: `before_moves` is called when the first
    is about to be moved, to remove what says that they belong together.
    """
    temporaries = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    with ExitStack() as cleaning:
        for temporary in temporaries:
            cleaning.callback(temporary.unlink, missing_ok=True)
        with ExitStack() as opened:
            files = [opened.enter_context(temporary.open("wb")) for temporary in temporaries]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
            if before_moves is not None:
                before_moves()
            for temporary, path in zip(temporaries, paths, strict=True):
                temporary.replace(path)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def remove(path: Path) -> None:
    """Remove a file, if it is there, so that no power cut brings it back."""
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


def is_temporary(path: Path) -> bool:
    """True of what a killed `publish` left."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove what a killed `publish` left in a folder, of the files whose names are ours."""
    for path in folder.iterdir():
        match = TEMPORARY.fullmatch(path.name)
        if match and is_ours(match["name"]) and is_left(path):
            path.unlink(missing_ok=True)


def is_left(path: Path) -> bool:
    """False of a temporary file that a process of this machine is still writing.

    It is open until it is moved. Where that cannot be told, a process that lives is believed.
    """
    match = TEMPORARY.fullmatch(path.name)
    pid = int(match["pid"]) if match else 0
    if not 0 < pid < 1 << 31:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return Path("/proc/self/fd").exists()
    except OSError:
        return False
    return not any(_is_open_as(descriptor, path) for descriptor in descriptors)


def _is_open_as(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.samefile(path)
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
