"""A training run as a loop: steps, epochs, checkpoints, the best model, and the end.

All that decides how a run continues is in `RunState` or in what else a run tracks, and all of it is
in every checkpoint: a run that was stopped and resumed gives what an uninterrupted run gives.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from ulmo.config import UserError
from ulmo.jobs.best_effort import BestEffort
from ulmo.pipelines.run_files import Checkpoints, RunLog
from ulmo.pipelines.schedule import Course, Schedule, StepSettings
from ulmo.storage.checkpoint_files import what_is_wrong


class Reporter(Protocol):
    """Receives the progress of a run."""

    def note(self, text: str) -> None:
        """Something takes a while."""

    def warn(self, text: str) -> None:
        """Something went wrong, and training goes on."""

    def begin(self, steps: int, done: int) -> None:
        """Training begins, with `done` of `steps` steps done before."""

    def batch(self, losses: dict[str, float]) -> None:
        """A step is done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done and validated."""


class RunSettings(Course, Protocol):
    """The settings of a training that its loop needs."""

    @property
    def checkpoint_minutes(self) -> float:
        """Minutes between checkpoints within an epoch."""


class RunState(NamedTuple):
    """The position of a run: what a checkpoint holds beside the model and the optimizer."""

    step: tf.Variable
    epoch: tf.Variable  # finished epochs, validation included
    sums: tf.Variable  # over the steps of the current epoch
    best: tf.Variable  # lowest held-out figure of an epoch
    stale: tf.Variable  # epochs since the best one
    step_seconds: tf.Variable  # time spent in steps, in all sessions
    seconds: tf.Variable  # all time spent, in all sessions: what `max_minutes` counts

    @classmethod
    def new(cls, sums: int) -> "RunState":
        """The state before the first step; `sums` is their number."""
        return cls(
            step=tf.Variable(0, dtype=tf.int64),
            epoch=tf.Variable(0, dtype=tf.int64),
            sums=tf.Variable(tf.zeros(sums, tf.float64)),
            best=tf.Variable(np.inf, dtype=tf.float64),
            stale=tf.Variable(0, dtype=tf.int64),
            step_seconds=tf.Variable(0.0, dtype=tf.float64),
            seconds=tf.Variable(0.0, dtype=tf.float64),
        )


class Taken(NamedTuple):
    """What a step gave."""

    losses: dict[str, float]  # to log and to show
    sums: Sequence[float]  # to add to those of the epoch


class RunLoop(ABC):
    """Trains until a reason to end; set `interrupted` to end after the current step."""

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        reporter: Reporter,
        *,
        steps_per_epoch: int,
        sums: int,
        variables: Sequence[Any],
        **tracked: Any,
    ) -> None:
        """folder: of the checkpoints. variables: of the model. tracked: what else is saved."""
        self.interrupted = False
        self.best_effort = BestEffort(reporter.warn)
        self.steps_per_epoch = steps_per_epoch
        self.state = RunState.new(sums)
        self._run_settings = settings
        self._reporter = reporter
        self._schedule = Schedule(settings, settings.epochs * steps_per_epoch)
        self._saved_at = self._counted_at = time.monotonic()
        self._checkpoints = Checkpoints(
            folder,
            keep=2,
            below=folder.parent,
            variables=variables,
            **tracked,
            **self.state._asdict(),
        )
        self._best = Checkpoints(folder / "best", keep=1, below=folder.parent, variables=variables)

    @abstractmethod
    def judge(self) -> float | None:
        """The held-out figure that is to be least; None if there is none."""

    @abstractmethod
    def _start(self) -> None:
        """Prepare what the first step needs, before the first checkpoint."""

    @abstractmethod
    def _batches(self, epoch: int, done: int) -> Generator[Any, None, None]:
        """What the steps of an epoch learn from, those after the `done` first ones."""

    @abstractmethod
    def _take(self, batch: Any, now: StepSettings) -> Taken:
        """Learn from a batch; `_refuse` losses that are not finite."""

    @abstractmethod
    def _figures(self) -> tuple[dict[str, Any], float | None]:
        """Figures of the epoch that ends, held-out ones too, and that of `judge`."""

    @abstractmethod
    def _kept(self) -> Iterable[Any]:
        """The variables that must be finite to be saved."""

    def picture(self) -> bytes | None:
        """PNG: what the model does now, for TensorBoard; None: there is none."""
        return None

    def begin(self) -> None:
        """Restore the latest checkpoint, or write the first one."""
        self._counted_at = time.monotonic()
        for checkpoints in (self._checkpoints, self._best):
            checkpoints.tidy()
        if self._checkpoints.numbers:
            for path in self._checkpoints.restore():
                line = f"{path} is {what_is_wrong(path)}: going on from the checkpoint before"
                self._reporter.warn(line)
        else:
            self._start()
            self._write_checkpoint()

    def run(self, log: RunLog) -> str:
        """Train to the end, and return why it ended.

        The model is then that of the best epoch, or of the last if none is judged.
        """
        with self.best_effort("the progress"):
            self._reporter.begin(self._schedule.all_steps, int(self.state.step))
        self._saved_at = time.monotonic()
        end = self._end()
        while end is None:
            end = self._epoch(log) or self._end()
            if end == "max_minutes":
                self._keep_if_best(self.judge())
            self._save(log)
        if end != "interrupt" and self._best.numbers:
            self._best.restore()
        return end

    def _end(self) -> str | None:
        if self.interrupted:
            return "interrupt"
        epochs, stale = int(self.state.epoch), int(self.state.stale)
        return self._schedule.end(epochs=epochs, stale=stale, seconds=float(self.state.seconds))

    def _epoch(self, log: RunLog) -> str | None:
        """Do the rest of an epoch, then validation; returns why it ended early, or None."""
        epoch = int(self.state.epoch)
        done = int(self.state.step) - epoch * self.steps_per_epoch
        with closing(self._batches(epoch, done)) as coming:
            began = time.monotonic()
            for batch in coming:
                self._batch(batch, began, log)
                end = self._end()
                if end is not None:
                    return end
                if time.monotonic() - self._saved_at > 60 * self._run_settings.checkpoint_minutes:
                    self._save(log)
                began = time.monotonic()
        self._close_epoch(log)
        return None

    def _batch(self, batch: Any, began: float, log: RunLog) -> None:
        """Take a step; its time, waiting for the batch included, counts from `began`."""
        step = int(self.state.step)
        taken = self._take(batch, self._schedule.at(step, float(self.state.seconds)))
        self.state.step.assign_add(1)
        self.state.sums.assign_add(list(taken.sums))
        self.state.step_seconds.assign_add(time.monotonic() - began)
        self._count_time()
        log.batch({"step": step + 1, "epoch": int(self.state.epoch), **taken.losses})
        with self.best_effort("the progress"):
            self._reporter.batch(taken.losses)

    def _close_epoch(self, log: RunLog) -> None:
        row: dict[str, Any] = {"epoch": int(self.state.epoch), "step": int(self.state.step)}
        figures, judged = self._figures()
        row |= figures
        self._keep_if_best(judged)
        self.state.sums.assign(np.zeros(self.state.sums.shape))
        self.state.epoch.assign_add(1)
        picture = None
        with self.best_effort("the picture of an epoch"):
            picture = self.picture()
        log.epoch(row, picture)
        with self.best_effort("the progress"):
            self._reporter.epoch(row)
        self._count_time()

    def _count_time(self) -> None:
        """Add the time since the last call to that of the run, whatever it was spent on."""
        now = time.monotonic()
        self.state.seconds.assign_add(now - self._counted_at)
        self._counted_at = now

    def _keep_if_best(self, judged: float | None) -> None:
        """Save the model if its held-out figure is the lowest so far."""
        if judged is None:
            return
        if judged < float(self.state.best):
            self.state.best.assign(judged)
            self.state.stale.assign(0)
            self._best.save()
        else:
            self.state.stale.assign_add(1)

    def _save(self, log: RunLog) -> None:
        """Write a checkpoint, after the logs: they are never behind it."""
        log.flush()
        self._write_checkpoint()
        self._saved_at = time.monotonic()

    def _write_checkpoint(self) -> None:
        """Write a checkpoint. UserError if a weight is not finite: the checkpoints before stay."""
        if not all(np.isfinite(np.asarray(values)).all() for values in self._kept()):
            raise self._diverged("a weight is")
        self._checkpoints.save()

    def _refuse(self, losses: Sequence[float]) -> None:
        """UserError if one of the losses of the next step is not finite."""
        if not np.isfinite(losses).all():
            raise self._diverged("the loss is")

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what} not finite at step {int(self.state.step)}: begin a new run with a "
            f"learning_rate below {self._run_settings.learning_rate:g}; the checkpoint before is "
            "kept"
        )
