"""Checkpoints of a training run: written beside their place, moved there, and read back whole.

TensorFlow's CheckpointManager writes the index of a checkpoint in place, syncs nothing, and knows
its checkpoints from one file; here a kill leaves all that were there, a power cut does not undo
what was saved, and where the latest is damaged the one before it is taken.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from ulmo.config import UserError
from ulmo.pipelines.train.tf_errors import writing
from ulmo.storage.atomic import sync_folder
from ulmo.storage.checkpoint_files import (
    PREFIX,
    damaged_files,
    files_of,
    numbers,
    remove_others,
    write_digests,
)

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
        return numbers(self._folder)

    def save(self) -> None:
        """Write one more, and remove the oldest."""
        new = self._folder / NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        number = max(self.numbers, default=0) + 1
        with writing(new):
            self._tracked.write(str(new / f"{PREFIX}-{number}"))
        write_digests(new, number)
        parts = files_of(new, number)
        for part in parts:
            _sync(part)
        for part in parts:
            part.replace(self._folder / part.name)
            sync_folder(self._folder)
        self.tidy()

    def restore(self) -> list[Path]:
        """Read the latest that is whole; damaged files of those that were passed over.

        UserError where there are some, and all are damaged; where one cannot be read, which may
        be whole; and where a newer ulmo wrote it.
        """
        damaged: list[Path] = []
        for number in reversed(self.numbers):
            wrong = self._damaged(number)
            if not wrong:
                path = self._folder / f"{PREFIX}-{number}"
                self._tracked.read(str(path)).assert_existing_objects_matched()
                return damaged
            damaged += wrong
        raise UserError(f"{damaged[0]} is damaged, and no checkpoint is whole: begin a new run")

    def _damaged(self, number: int) -> list[Path]:
        try:
            return damaged_files(self._folder, number)
        except OSError as error:
            path = error.filename or self._folder / f"{PREFIX}-{number}"
            remedy = f"let yourself read it, or move {PREFIX}-{number}.* away to go on without"
            raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None

    def tidy(self) -> None:
        """Remove what is old, and what a killed `save` left."""
        remove_others(self._folder, self.numbers[-self._keep :])
        shutil.rmtree(self._folder / NEW, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
