"""A hidden folder in which it is tried what a file system takes."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import lock_descriptor

from ulmo.storage.open_folder import IS_POSIX, NO_LINK
from ulmo.storage.removal import remove_if_possible, remove_tree
from ulmo.storage.walk import paths_in

_NAME = re.compile(r"\.ulmo-names\.[0-9a-f]{16}\.tmp")
_DAY = 86400  # seconds


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
            path = parent / f".ulmo-names.{secrets.token_hex(8)}.tmp"
            path.mkdir()
            stack.callback(remove_if_possible, path)
            if stack.enter_context(_claimed(path)) is not False:
                break
        yield path


def is_left_probe(path: Path) -> bool:
    """Whether a killed job left this folder, and no living one uses it."""
    if not is_probe(path) or path.is_symlink() or not path.is_dir():
        return False
    with _claimed(path) as claimed:
        return _is_left(path, claimed)


def remove_left_probes(parent: Path) -> None:
    """Remove the folders that killed jobs left in `parent`."""
    for path in filter(is_left_probe, paths_in(parent)):
        with _claimed(path) as claimed:
            if _is_left(path, claimed):
                remove_tree(path)


def _is_left(path: Path, claimed: bool | None) -> bool:
    if claimed is None:
        return time.time() - path.lstat().st_mtime > _DAY
    return claimed


@contextmanager
def _claimed(path: Path) -> Iterator[bool | None]:
    """Lock a folder: True if nobody else has it locked; None if folders cannot be locked here."""
    with ExitStack() as stack:
        claimed = None
        if IS_POSIX:
            try:
                descriptor = os.open(path, NO_LINK)
                stack.callback(os.close, descriptor)
                claimed = lock_descriptor(descriptor, blocking=False) and path.exists()
            except FileNotFoundError:
                claimed = False
            except OSError:
                claimed = None
        yield claimed
