"""A training run of a tokenizer: model, optimizer, order of the data, validation."""

from collections.abc import Callable, Generator, Iterable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import ModelSettings, TrainSettings
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
from ulmo.models.objectives.base import TrainingBatch
from ulmo.models.vqvae import VQVAE, build_vqvae, set_weights_of, weights_of
from ulmo.pipelines.hosts import note_shared
from ulmo.pipelines.run_loop import Reporter, RunLoop, Taken
from ulmo.pipelines.schedule import StepSettings
from ulmo.pipelines.train.codebook import start_codebook
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.model import build_learner
from ulmo.pipelines.train.own_tasks import OwnTasks
from ulmo.pipelines.train.pairs import Pairs
from ulmo.pipelines.train.pictures import draw_reconstructions
from ulmo.preprocessing.store import TileStore
from ulmo.storage.checkpoint_files import numbers


class Trainer(RunLoop):
    """Trains a VQ-VAE on tiles."""

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
        note_shared(self.model.encoder.devices, reporter.note)
        self._exact = self.model
        if settings.mixed_precision:
            self._exact = build_vqvae(model_settings, devices=self.model.encoder.devices)
        self._forward = _as_function(self._exact)
        self._fits = False
        self._train_step = _as_graph(self.learner.train_step)
        self._fit_step = _as_graph(self.learner.fit_step)
        self._test_step = _as_graph(self.learner.test_step)
        super().__init__(
            folder,
            settings,
            reporter,
            steps_per_epoch=-(-len(self.split.train) // settings.batch_size),
            sums=len(self.learner.names),
            variables=[variable.value for variable in self.learner.variables],
            optimizer=self.learner.optimizer,
        )

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

    def judge(self) -> float | None:
        """Held-out reconstruction, if the encoder learns from reconstruction alone.

        Else it says little about the encoder, and None is returned.
        """
        return self._judged(self.validate()) if self.settings.autoencodes else None

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

    def _start(self) -> None:
        if self.model.quantizer.starts_from_latents:
            self._start_codebook()

    def _batches(self, epoch: int, done: int) -> Generator[TrainingBatch, None, None]:
        order = shuffled(self.split.train, seed=self.settings.seed, epoch=epoch)
        rows = list(batches(order, self.settings.batch_size))[done:]
        return self.feed.batches(rows, epoch * self.steps_per_epoch + done)

    def _take(self, batch: TrainingBatch, now: StepSettings) -> Taken:
        self.learner.optimizer.learning_rate.assign(now.learning_rate)
        self.learner.progress.assign(now.progress)
        self._fits = self.learner.follows and now.fits
        self.model.quantizer.allow_revival(now.revives)
        losses = self.take_step(batch)
        self._refuse([losses["total"], losses["reconstruction"]])
        return Taken(losses, [losses[name] for name in self.learner.names])

    def _figures(self) -> tuple[dict[str, Any], float | None]:
        means = np.asarray(self.state.sums) / self.steps_per_epoch
        names = self.learner.names
        row = {f"train_{name}": float(mean) for name, mean in zip(names, means, strict=True)}
        metrics = self.validate()
        if metrics is not None and self.own_tasks is not None:
            row |= self.own_tasks.row(self.settings.objectives) | _validation_row(metrics)
        return row, self._judged(metrics)

    def _judged(self, metrics: Metrics | None) -> float | None:
        if metrics is None or not self.settings.autoencodes:
            return None
        return metrics.reconstruction

    def _kept(self) -> Iterable[Any]:
        return (*self.learner.variables, *self.learner.optimizer.variables)

    def _start_codebook(self) -> None:
        start_codebook(self.model, self.feed, self.split.train, one_in=self.learner.one_in)


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
