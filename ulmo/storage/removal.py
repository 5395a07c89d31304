"""Folders that are removed with all that is in them, at any depth."""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from ulmo.storage.open_folder import IS_POSIX, NO_LINK, open_folder


def remove_tree(folder: Path, *, below: Path | None = None) -> None:
    """Remove a folder and all below it. Links are not followed. Raises OSError.

    `below` as in `open_folder`.

    Files go before folders, and manifests (`.json`) before all: what a kill leaves is no output. A
    folder inside that is not empty is moved up to `folder` first: no path grows, nothing recurses,
    and two folders are open at most.
    """
    if not IS_POSIX:
        shutil.rmtree(folder)
        return
    with open_folder(folder.parent, below=below) as parent:
        top = parent.open(folder.name, NO_LINK)
        try:
            left = _empty(top, top)
            while left:
                name = left.pop()
                here = os.open(name, NO_LINK, dir_fd=top)
                try:
                    left += _empty(here, top)
                finally:
                    os.close(here)
                os.rmdir(name, dir_fd=top)
        finally:
            os.close(top)
        parent.remove_folder(folder.name)


def _empty(here: int, top: int) -> list[str]:
    """Remove what is in an open folder, or move it up; the names there of what was moved."""
    moved = []
    with os.scandir(here) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    found.sort(key=lambda each: (each[1], not each[0].endswith(".json")))
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=here)
            continue
        with suppress(OSError):  # it is not empty
            os.rmdir(name, dir_fd=here)
            continue
        new = secrets.token_hex(16)
        os.rename(name, new, src_dir_fd=here, dst_dir_fd=top)
        moved.append(new)
    return moved


def remove_if_possible(folder: Path, *, below: Path | None = None) -> None:
    """Remove a folder and all below it, if it is there and that is allowed."""
    with suppress(OSError):
        remove_tree(folder, below=below)
