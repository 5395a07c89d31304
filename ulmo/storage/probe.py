"""A hidden folder in which it is tried what a file system takes."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ulmo.storage.atomic import claimed, random_name, try_lock
from ulmo.storage.open_folder import IS_POSIX, NO_LINK, open_folder
from ulmo.storage.removal import remove_if_possible, remove_tree
from ulmo.storage.walk import hidden_in

_NAME = re.compile(r"\.ulmo-names\.[0-9a-f]{24}\.tmp")


def is_probe(path: Path) -> bool:
    """Whether a folder has the name of one that `probe_folder` makes."""
    return _NAME.fullmatch(path.name) is not None


@contextmanager
def probe_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent`, which goes when the block ends.

    It is locked meanwhile: what a killed job leaves is known by its name, and by no lock.
    """
    with ExitStack() as stack:
        while True:
            path = parent / f".ulmo-names.{random_name()}.tmp"
            path.mkdir()
            stack.callback(remove_if_possible, path)
            if not IS_POSIX:
                break
            with suppress(FileNotFoundError):  # `remove_left_probes` of another job was faster
                descriptor = os.open(path, NO_LINK)
                stack.callback(os.close, descriptor)
                if try_lock(descriptor) is not False and path.exists():
                    break
        yield path


def is_left_probe(path: Path) -> bool:
    """Whether a killed job left this folder, and no living one uses it."""
    with _left(path) as left:
        return left


def remove_left_probes(parent: Path) -> None:
    """Remove the folders that killed jobs left in `parent`."""
    for path in hidden_in(parent):
        with _left(path) as left:
            if left:
                remove_tree(path)


@contextmanager
def _left(path: Path) -> Iterator[bool]:
    """Whether a killed job left this folder; if so it is locked."""
    if not is_probe(path) or path.is_symlink() or not path.is_dir():
        yield False
        return
    with open_folder(path.parent) as parent, claimed(parent, path.name, NO_LINK) as left:
        yield left
