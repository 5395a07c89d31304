"""Folders to write to."""

import errno
import os
from pathlib import Path

from ulmo.config import UserError
from ulmo.storage.atomic import sync_folder

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def make_folder(folder: Path, remedy: str = "set --out") -> None:
    """Make a folder, and those above it, that a power cut does not take away again.

    UserError, which ends with the remedy, where nothing can be written there; OSError where the
    disk is full.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(f"cannot make the folder {folder}: {error.strerror}: {remedy}") from None
    for each in made:
        sync_folder(each.parent)
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: {remedy}")
