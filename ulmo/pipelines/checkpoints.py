"""Checkpoints of a training run: written beside their place, moved there, and read back whole.

ckpt-7.data-00000-of-00001    all variables
ckpt-7.index                  where each lies, and its checksum: moved last, removed first

TensorFlow's CheckpointManager writes the index in place, syncs nothing, and knows its checkpoints
from one file; here a checkpoint is there when its index is, a power cut does not undo it, and where
the latest is damaged the one before it is taken.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from ulmo.config import UserError
from ulmo.preprocessing.atomic import sync_folder

INDEX = re.compile(r"ckpt-(\d+)\.index")
PREFIX = "ckpt"
NEW = ".new"
"""Folder of the checkpoint that is being written."""


class Checkpoints:
    """The latest few checkpoints of some tracked objects, in one folder."""

    def __init__(self, folder: Path, *, keep: int, **tracked: Any) -> None:
        self._folder = folder
        self._keep = keep
        self._tracked = tf.train.Checkpoint(**tracked)

    @property
    def numbers(self) -> list[int]:
        """Of those that are there, the latest last."""
        names = (INDEX.fullmatch(path.name) for path in self._folder.glob("*.index"))
        return sorted(int(match[1]) for match in names if match)

    def save(self) -> None:
        """Write one more, and remove the oldest; a kill leaves all that were there."""
        new = self._folder / NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        number = max(self.numbers, default=0) + 1
        self._tracked.write(str(new / f"{PREFIX}-{number}"))
        parts = sorted(new.iterdir(), key=lambda path: path.suffix == ".index")
        for part in parts:
            _sync(part)
        for part in parts:
            part.replace(self._folder / part.name)
            sync_folder(self._folder)
        self.tidy()

    def restore(self) -> list[int]:
        """Read the latest that is whole; the numbers of damaged ones that were passed over.

        UserError where there are some, and all are damaged.
        """
        damaged = []
        for number in reversed(self.numbers):
            try:
                self._read(number)
            except (tf.errors.OpError, ValueError, AssertionError):
                damaged.append(number)
            else:
                return damaged
        raise UserError(f"{self._folder} has no checkpoint that is whole: begin a new run")

    def tidy(self) -> None:
        """Remove what is old, and what a killed `save` left."""
        numbers = self.numbers[-self._keep :]
        for index in self._folder.glob("*.index"):
            if not _is_of(index, numbers):
                index.unlink()
        for path in self._folder.glob(f"{PREFIX}-*"):
            if not _is_of(path, numbers):
                path.unlink()
        shutil.rmtree(self._folder / NEW, ignore_errors=True)

    def _read(self, number: int) -> None:
        status = self._tracked.read(str(self._folder / f"{PREFIX}-{number}"))
        status.assert_existing_objects_matched()


def _is_of(path: Path, numbers: list[int]) -> bool:
    return any(path.name.startswith(f"{PREFIX}-{number}.") for number in numbers)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
