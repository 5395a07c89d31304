"""A training run: model, optimizer, order of the data, checkpoints.

All that decides how the run continues is in `_State` or in the model, and both are in every
checkpoint: a run that was stopped and resumed gives what an uninterrupted run gives.
"""

import time
from collections.abc import Callable
from contextlib import closing
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import ModelSettings, TrainSettings, UserError
from ulmo.dataset import (
    Loudness,
    ModelOutput,
    Split,
    TileModel,
    batches,
    shuffled,
    split_by_recording,
    tallies,
)
from ulmo.evaluation.tally import Metrics, Tally
from ulmo.evaluation.verdict import Verdict
from ulmo.jobs.best_effort import BestEffort
from ulmo.models.objectives.base import TrainingBatch
from ulmo.models.vqvae import VQVAE, build_vqvae, set_weights_of, weights_of
from ulmo.pipelines.run_files import Checkpoints, RunLog
from ulmo.pipelines.schedule import Schedule
from ulmo.pipelines.train.codebook import start_codebook
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.model import build_learner
from ulmo.pipelines.train.own_tasks import OwnTasks
from ulmo.pipelines.train.pairs import Pairs
from ulmo.pipelines.train.pictures import draw_reconstructions
from ulmo.preprocessing.store import TileStore
from ulmo.storage.checkpoint_files import numbers, what_is_wrong


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


class _State(NamedTuple):
    """The position of a run: what a checkpoint holds beside the model and the optimizer."""

    step: tf.Variable
    epoch: tf.Variable  # finished epochs, validation included
    sums: tf.Variable  # sums of the losses of the current epoch
    best: tf.Variable  # lowest validation reconstruction of an epoch
    stale: tf.Variable  # epochs since the best one
    step_seconds: tf.Variable  # time spent in steps, in all sessions
    seconds: tf.Variable  # all time spent, in all sessions: what `max_minutes` counts

    @classmethod
    def new(cls, losses: int) -> "_State":
        """The state before the first step; `losses` is the number of losses of a step."""
        return cls(
            step=tf.Variable(0, dtype=tf.int64),
            epoch=tf.Variable(0, dtype=tf.int64),
            sums=tf.Variable(tf.zeros(losses, tf.float64)),
            best=tf.Variable(np.inf, dtype=tf.float64),
            stale=tf.Variable(0, dtype=tf.int64),
            step_seconds=tf.Variable(0.0, dtype=tf.float64),
            seconds=tf.Variable(0.0, dtype=tf.float64),
        )


class Trainer:
    """Trains until a reason to end; set `interrupted` to end after the current batch."""

    def __init__(
        self,
        store: TileStore,
        folder: Path,
        model_settings: ModelSettings,
        settings: TrainSettings,
        reporter: Reporter,
        pairs: Pairs | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.model_settings = model_settings
        self.interrupted = False
        self.best_effort = BestEffort(reporter.warn)
        self.loudness = Loudness(store, model_settings)
        prep, begun = store.manifest.settings, bool(numbers(folder))
        self.learner = build_learner(model_settings, settings, prep, init=not begun)
        self.model: VQVAE = self.learner.vqvae
        split = split_by_recording(store, settings.validation_fraction, settings.seed)
        self.feed = Feed(
            self.loudness,
            settings,
            wants=self.learner.wants,
            pairs=pairs,
            training=split.train,
        )
        self.split = Split(self.feed.rows(split.train), split.validation)
        self.own_tasks: OwnTasks | None = None
        self.verdict: Verdict | None = None  # on held-out recordings
        self._exact = build_vqvae(model_settings) if settings.mixed_precision else self.model
        self._forward = _as_function(self._exact)
        self.state = _State.new(len(self.learner.names))
        self._schedule = Schedule(settings, settings.epochs * self.steps_per_epoch)
        self._reporter = reporter
        self._fits = False
        self._train_step = _as_graph(self.learner.train_step)
        self._fit_step = _as_graph(self.learner.fit_step)
        self._test_step = _as_graph(self.learner.test_step)
        self._saved_at = self._counted_at = time.monotonic()
        variables = [variable.value for variable in self.learner.variables]
        self._checkpoints = Checkpoints(
            folder,
            keep=2,
            below=folder.parent,
            variables=variables,
            optimizer=self.learner.optimizer,
            **self.state._asdict(),
        )
        self._best = Checkpoints(folder / "best", keep=1, below=folder.parent, variables=variables)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""
        return -(-len(self.split.train) // self.settings.batch_size)

    @property
    def tiles_per_second(self) -> float:
        """Training speed, validation left out; 0 before the first step."""
        steps, seconds = int(self.state.step), float(self.state.step_seconds)
        tiles = steps * len(self.split.train) / self.steps_per_epoch
        return tiles / seconds if seconds else 0.0

    @property
    def shown_rows(self) -> Indices:
        """The held-out rows, or the training rows if none are held out."""
        return self.split.validation if len(self.split.validation) else self.split.train

    def begin(self) -> None:
        """Restore the latest checkpoint, or start the codebook and write the first checkpoint."""
        self._counted_at = time.monotonic()
        for checkpoints in (self._checkpoints, self._best):
            checkpoints.tidy()
        if self._checkpoints.numbers:
            for path in self._checkpoints.restore():
                line = f"{path} is {what_is_wrong(path)}: going on from the checkpoint before"
                self._reporter.warn(line)
        else:
            if self.model.quantizer.starts_from_latents:
                self._start_codebook()
            self._write_checkpoint()

    def run(self, log: RunLog) -> str:
        """Train to the end, and return why it ended.

        The model is then that of the best epoch, or of the last if the encoder learns from more
        than reconstruction.
        """
        with self.best_effort("the progress"):
            self._reporter.begin(self._schedule.all_steps, int(self.state.step))
        self._saved_at = time.monotonic()
        end = self._end()
        while end is None:
            end = self._epoch(log) or self._end()
            if end == "max_minutes" and self.settings.autoencodes:
                self._keep_if_best(self.validate())
            self._save(log)
        if end != "interrupt" and self._best.numbers:
            self._best.restore()
        return end

    def validate(self) -> Metrics | None:
        """Metrics on the held-out recordings; None if none are held out."""
        if self.model.quantizer.follows_latents:
            self._start_codebook()
        rows = self.split.validation
        if not len(rows):
            return None
        self.own_tasks = self.measure_tasks(rows)
        tally = self.measure(rows)
        self.verdict = tally.verdict()
        return tally.metrics()

    def measure(self, rows: Indices) -> Tally:
        """Sums over some rows, from which reconstruction and use of the codebook follow."""
        size = self.settings.batch_size
        return reduce(add, tallies(self.forward(), self.loudness, rows, batch_size=size))

    def measure_tasks(self, rows: Indices) -> OwnTasks:
        """Losses and scores of the objectives on some rows."""
        size = self.settings.batch_size
        return OwnTasks.measure(self._test_step, self.feed, rows, batch_size=size)

    def take_step(self, batch: TrainingBatch) -> dict[str, float]:
        """Train on a batch, and return the losses."""
        step = self._fit_step if self._fits else self._train_step
        return {name: float(value) for name, value in step(batch).items()}

    def forward(self) -> TileModel:
        """The current model, in float32, as a function of arrays."""
        if self._exact is not self.model:
            set_weights_of(self._exact, self.weights())
        return self._forward

    def picture(self) -> bytes:
        """PNG: a few held-out tiles beside their reconstructions."""
        return draw_reconstructions(self.store, self.shown_rows, self.forward())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """All weights of the model, by name."""
        return weights_of(self.model)

    def _end(self) -> str | None:
        if self.interrupted:
            return "interrupt"
        epochs, stale = int(self.state.epoch), int(self.state.stale)
        return self._schedule.end(epochs=epochs, stale=stale, seconds=float(self.state.seconds))

    def _epoch(self, log: RunLog) -> str | None:
        """Do the rest of an epoch, then validation; returns why it ended early, or None."""
        epoch = int(self.state.epoch)
        order = shuffled(self.split.train, seed=self.settings.seed, epoch=epoch)
        step = int(self.state.step)
        done = step - epoch * self.steps_per_epoch
        rows = list(batches(order, self.settings.batch_size))[done:]
        with closing(self.feed.batches(rows, step)) as coming:
            began = time.monotonic()
            for batch in coming:
                self._batch(batch, began, log)
                end = self._end()
                if end is not None:
                    return end
                if time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes:
                    self._save(log)
                began = time.monotonic()
        self._close_epoch(log)
        return None

    def _batch(self, batch: TrainingBatch, began: float, log: RunLog) -> None:
        """Take a step; its time, waiting for the batch included, counts from `began`."""
        step = int(self.state.step)
        now = self._schedule.at(step, float(self.state.seconds))
        self.learner.optimizer.learning_rate.assign(now.learning_rate)
        self.learner.progress.assign(now.progress)
        self._fits = self.learner.follows and now.fits
        self.model.quantizer.allow_revival(now.revives)
        losses = self.take_step(batch)
        if not np.isfinite([losses["total"], losses["reconstruction"]]).all():
            raise self._diverged("the loss is")
        self.state.step.assign_add(1)
        self.state.sums.assign_add([losses[name] for name in self.learner.names])
        self.state.step_seconds.assign_add(time.monotonic() - began)
        self._count_time()
        log.batch({"step": step + 1, "epoch": int(self.state.epoch), **losses})
        with self.best_effort("the progress"):
            self._reporter.batch(losses)

    def _close_epoch(self, log: RunLog) -> None:
        means = np.asarray(self.state.sums) / self.steps_per_epoch
        row: dict[str, Any] = {"epoch": int(self.state.epoch), "step": int(self.state.step)}
        names = self.learner.names
        row |= {f"train_{name}": float(mean) for name, mean in zip(names, means, strict=True)}
        metrics = self.validate()
        if metrics is not None and self.own_tasks is not None:
            row |= self.own_tasks.row(self.settings.objectives) | _validation_row(metrics)
        self._keep_if_best(metrics)
        self.state.sums.assign(np.zeros(len(names)))
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

    def _keep_if_best(self, metrics: Metrics | None) -> None:
        """Save the model if its held-out reconstruction is the best so far.

        Only if the encoder learns from reconstruction alone: else that says little about it.
        """
        if metrics is None or not self.settings.autoencodes:
            return
        if metrics.reconstruction < float(self.state.best):
            self.state.best.assign(metrics.reconstruction)
            self.state.stale.assign(0)
            self._best.save()
        else:
            self.state.stale.assign_add(1)

    def _save(self, log: RunLog) -> None:
        """Write a checkpoint, after the logs: they are never behind it."""
        log.flush()
        self._write_checkpoint()
        self._saved_at = time.monotonic()

    def _start_codebook(self) -> None:
        start_codebook(self.model, self.feed, self.split.train, one_in=self.learner.one_in)

    def _write_checkpoint(self) -> None:
        """Write a checkpoint. UserError if a weight is not finite: the checkpoints before stay."""
        variables = (*self.learner.variables, *self.learner.optimizer.variables)
        numbers_of = (np.asarray(variable) for variable in variables)
        if not all(np.isfinite(values).all() for values in numbers_of):
            raise self._diverged("a weight is")
        self._checkpoints.save()

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what} not finite at step {int(self.state.step)}: begin a new run with a "
            f"learning_rate below {self.settings.learning_rate:g}; the checkpoint before is kept"
        )


def _as_graph(step: Callable[..., Any]) -> Any:
    """A step as a graph, traced once for all batch sizes."""
    return tf.function(step, reduce_retracing=True, autograph=False)


def _as_function(model: VQVAE) -> TileModel:
    """A Keras model as a function of arrays."""
    graph = tf.function(lambda x, valid: model(x, valid_frames=valid), reduce_retracing=True)

    def forward(tiles: NDArray[np.float32], valid_frames: NDArray[np.int32]) -> ModelOutput:
        output = graph(tf.constant(tiles), tf.constant(valid_frames))
        parts = (output.reconstruction, output.ids, output.distances, output.latents)
        return ModelOutput(*(np.asarray(part) for part in parts))

    return forward


def _validation_row(metrics: Metrics) -> dict[str, float]:
    errors = ("reconstruction", "reconstruction_db", "sound_reconstruction_db", "commitment")
    row = {f"val_{name}": getattr(metrics, name) for name in errors}
    for prefix, health in (("val", metrics.codebook), ("val_sound", metrics.sound_codebook)):
        row |= {
            f"{prefix}_{name}": getattr(health, name) for name in ("usage", "entropy", "perplexity")
        }
    return row
