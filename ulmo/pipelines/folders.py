"""Folders to write to."""

import os
from pathlib import Path

from ulmo.config import UserError


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it; UserError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}: set --out") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: set --out")
