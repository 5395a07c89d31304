"""Checkpoints of a training run: written aside, moved into place, and read back whole.

TensorFlow's CheckpointManager writes the index of a checkpoint in place, syncs nothing, and knows
its checkpoints from one file. Here a kill leaves all earlier checkpoints intact, a power cut does
not undo a save, and if the latest checkpoint is damaged, the one before it is read.
"""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ulmo.config import UserError
from ulmo.pipelines.train.run_log import writing
from ulmo.storage.atomic import sync_folder
from ulmo.storage.checkpoint_files import (
    PREFIX,
    damaged_files,
    files_of,
    numbers,
    remove_others,
    write_digests,
)

_NEW = ".new"  # folder of the checkpoint that is being written


class State(NamedTuple):
    """The position of a run: what a checkpoint holds beside the model and the optimizer."""

    step: tf.Variable
    epoch: tf.Variable  # finished epochs, validation included
    sums: tf.Variable  # sums of the losses of the current epoch
    best: tf.Variable  # lowest validation reconstruction of an epoch
    stale: tf.Variable  # epochs since the best one
    seconds: tf.Variable  # time spent in steps, in all sessions

    @classmethod
    def new(cls, losses: int) -> "State":
        """The state before the first step; `losses` is the number of losses of a step."""
        return cls(
            step=tf.Variable(0, dtype=tf.int64),
            epoch=tf.Variable(0, dtype=tf.int64),
            sums=tf.Variable(tf.zeros(losses, tf.float64)),
            best=tf.Variable(np.inf, dtype=tf.float64),
            stale=tf.Variable(0, dtype=tf.int64),
            seconds=tf.Variable(0.0, dtype=tf.float64),
        )


class Checkpoints:
    """The latest `keep` checkpoints of some tracked objects, in one folder."""

    def __init__(self, folder: Path, *, keep: int, **tracked: Any) -> None:
        self._folder = folder
        self._keep = keep
        self._tracked = tf.train.Checkpoint(**tracked)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the existing checkpoints, the latest last."""
        return numbers(self._folder)

    def save(self) -> None:
        """Write a checkpoint, and remove the oldest."""
        new = self._folder / _NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        number = max(self.numbers, default=0) + 1
        with writing(new):
            self._tracked.write(str(new / f"{PREFIX}-{number}"))
        write_digests(new, number)
        parts = files_of(new, number)
        for part in parts:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        for part in parts:
            part.replace(self._folder / part.name)
            sync_folder(self._folder)
        self.tidy()

    def restore(self) -> list[Path]:
        """Read the latest whole checkpoint; returns the damaged files of later ones.

        Raises UserError if all are damaged, if one cannot be read (it may be whole), or if a newer
        ulmo wrote one.
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

    def tidy(self) -> None:
        """Remove old checkpoints, and what a killed `save` left behind."""
        remove_others(self._folder, self.numbers[-self._keep :])
        shutil.rmtree(self._folder / _NEW, ignore_errors=True)

    def _damaged(self, number: int) -> list[Path]:
        try:
            return damaged_files(self._folder, number)
        except OSError as error:
            path = error.filename or self._folder / f"{PREFIX}-{number}"
            raise UserError(
                f"{path} cannot be read ({error.strerror}): change its permissions, or move "
                f"{PREFIX}-{number}.* away to use an earlier checkpoint"
            ) from None
