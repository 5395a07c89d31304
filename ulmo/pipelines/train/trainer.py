"""One training run as it stands: model, optimizer, data order, logs.

All that decides how it goes on is in `State` or in the model, and both are in every checkpoint:
a run that was stopped and resumed does what the run that was never stopped does.
"""

import time
from collections.abc import Callable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import ModelSettings, PrepSettings, TrainSettings, UserError
from ulmo.evaluation.tally import Metrics
from ulmo.models.learner import Learner
from ulmo.models.objectives import OBJECTIVES
from ulmo.models.vqvae import VQVAE, build_vqvae, set_weights_of, weights_of
from ulmo.pipelines.dataset import Loudness, Split, batches, shuffled, split_by_recording
from ulmo.pipelines.measure import Model, Passed, tallies
from ulmo.pipelines.train.checkpoints import Checkpoints
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.init_encoder import init_encoder
from ulmo.pipelines.train.own_tasks import OwnTasks, own_tasks
from ulmo.pipelines.train.pictures import draw_reconstructions, spread_rows
from ulmo.pipelines.train.reporter import End, Reporter
from ulmo.pipelines.train.run_log import RunLog
from ulmo.pipelines.train.schedule import plan
from ulmo.preprocessing.store import TileStore
from ulmo.storage.checkpoint_files import numbers

START_TILES = 256
"""Tiles whose latents start the codebook: 50 000 vectors at the defaults."""
START_EPOCH = 2**31 - 1
"""The shuffle that chooses them is no epoch's."""


class State(NamedTuple):
    """Where a run stands."""

    step: tf.Variable
    epoch: tf.Variable
    """Epochs that are finished, validation included."""
    sums: tf.Variable
    """Losses of the epoch so far, added up."""
    best: tf.Variable
    """Lowest validation reconstruction of an epoch."""
    stale: tf.Variable
    """Epochs since then."""
    seconds: tf.Variable
    """Time spent in steps so far, in all sessions."""

    @classmethod
    def new(cls, losses: int) -> "State":
        """The state before the first step; a step has so many losses."""
        return cls(
            step=tf.Variable(0, dtype=tf.int64),
            epoch=tf.Variable(0, dtype=tf.int64),
            sums=tf.Variable(tf.zeros(losses, tf.float64)),
            best=tf.Variable(np.inf, dtype=tf.float64),
            stale=tf.Variable(0, dtype=tf.int64),
            seconds=tf.Variable(0.0, dtype=tf.float64),
        )


class Trainer:
    """Trains until it has a reason to end; `interrupted` is one that others may set."""

    def __init__(
        self,
        store: TileStore,
        folder: Path,
        model_settings: ModelSettings,
        settings: TrainSettings,
        reporter: Reporter,
    ) -> None:
        self.store = store
        self.settings = settings
        self.model_settings = model_settings
        self.interrupted = False
        self.loudness = Loudness(store, model_settings)
        begun = bool(numbers(folder))
        self.learner = _build(
            model_settings, settings, store.manifest.settings, None if begun else settings.init
        )
        self.model: VQVAE = self.learner.vqvae
        self.feed = Feed(
            store,
            self.loudness,
            wants=self.learner.wants,
            beside=tuple(map(Path, settings.beside)),
            silence_weight=settings.silence_weight,
            seed=settings.seed,
        )
        split = split_by_recording(store, settings.validation_fraction, settings.seed)
        self.split = Split(self.feed.rows(split.train), split.validation)
        self.own_tasks: OwnTasks | None = None
        self._exact = build_vqvae(model_settings) if settings.mixed_precision else self.model
        self._forward = as_function(self._exact)
        self.state = State.new(len(self.learner.names))
        self._reporter = reporter
        self._fits = False
        self._train_step = as_graph(self.learner.train_step)
        self._fit_step = as_graph(self.learner.fit_step)
        self._test_step = as_graph(self.learner.test_step)
        self._saved_at = time.monotonic()
        variables = [variable.value for variable in self.learner.variables]
        self._checkpoints = Checkpoints(
            folder,
            keep=2,
            variables=variables,
            optimizer=self.learner.optimizer,
            **self.state._asdict(),
        )
        self._best = Checkpoints(folder / "best", keep=1, variables=variables)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""
        return -(-len(self.split.train) // self.settings.batch_size)

    def begin(self) -> None:
        """Go back to the latest checkpoint, or else start the codebook and write the first."""
        for checkpoints in (self._checkpoints, self._best):
            checkpoints.tidy()
        if self._checkpoints.numbers:
            for path in self._checkpoints.restore():
                self._reporter.note(f"{path} is damaged: going on from the checkpoint before")
        else:
            if self.model.quantizer.starts_from_latents:
                self._start_codebook()
            self._checkpoints.save()

    def run(self, log: RunLog) -> End:
        """Train to the end, and say which end it was; the model is then the best epoch's, or the
        last where the encoder learns from more than reconstruction."""
        self._reporter.begin(self.settings.epochs * self.steps_per_epoch, int(self.state.step))
        self._saved_at = time.monotonic()
        end: End | None = self._end()
        while end is None:
            end = self._epoch(log) or self._end()
            if end == "max_minutes" and self.settings.autoencodes:
                self._judge(self.validate())
            self._save(log)
        if end != "interrupt" and self._best.numbers:
            self._best.restore()
        return end

    def validate(self) -> Metrics | None:
        """The figures on the held-out recordings; None where none are held out."""
        if self.model.quantizer.follows_latents:
            self._start_codebook()
        if not len(self.split.validation):
            return None
        size = self.settings.batch_size
        self.own_tasks = self.measure_tasks(self.split.validation)
        parts = tallies(
            self.forward(),
            self.store,
            self.split.validation,
            self.loudness,
            self.model_settings,
            batch_size=size,
        )
        return reduce(add, parts).metrics()

    def measure_tasks(self, rows: Indices) -> OwnTasks:
        """How well the objectives do their own tasks on some rows."""
        size = self.settings.batch_size
        return own_tasks(self._test_step, self.feed, rows, batch_size=size)

    def take_step(self, rows: Indices) -> dict[str, float]:
        """Train on some rows of the tiles, and return the losses."""
        batch = self.feed.batch(rows, int(self.state.step))
        step = self._fit_step if self._fits else self._train_step
        return {name: float(value) for name, value in step(batch).items()}

    def forward(self) -> Model:
        """The model as it stands, in float32, as a function of arrays."""
        if self._exact is not self.model:
            set_weights_of(self._exact, self.weights())
        return self._forward

    def picture(self) -> bytes:
        """Some held-out tiles beside their reconstructions, as PNG."""
        rows = self.split.validation if len(self.split.validation) else self.split.train
        return draw_reconstructions(self.store, spread_rows(self.store, rows), self.forward())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """All weights by name."""
        return weights_of(self.model)

    def _end(self) -> End | None:
        if self.interrupted:
            return "interrupt"
        if int(self.state.epoch) >= self.settings.epochs:
            return "epochs"
        if int(self.state.stale) >= self.settings.patience:
            return "patience"
        limit = self.settings.max_minutes
        if limit is not None and float(self.state.seconds) >= 60 * limit:
            return "max_minutes"
        return None

    def _epoch(self, log: RunLog) -> End | None:
        """What is left of an epoch, then validation; or why it ended before that."""
        epoch = int(self.state.epoch)
        order = shuffled(self.split.train, seed=self.settings.seed, epoch=epoch)
        done = int(self.state.step) - epoch * self.steps_per_epoch
        for rows in list(batches(order, self.settings.batch_size))[done:]:
            self._batch(rows, log)
            end = self._end()
            if end is not None:
                return end
            if time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes:
                self._save(log)
        self._close_epoch(log)
        return None

    def _batch(self, rows: Indices, log: RunLog) -> None:
        began = time.monotonic()
        step = int(self.state.step)
        self._follow_plan()
        losses = self.take_step(rows)
        if not np.isfinite([losses["total"], losses["reconstruction"]]).all():
            raise UserError(
                f"the loss is not finite at step {step}: begin a new run with a learning_rate "
                f"below {self.settings.learning_rate:g}"
            )
        self.state.step.assign_add(1)
        self.state.sums.assign_add([losses[name] for name in self.learner.names])
        self.state.seconds.assign_add(time.monotonic() - began)
        log.batch({"step": step + 1, "epoch": int(self.state.epoch), **losses})
        self._reporter.batch(losses)

    def _follow_plan(self) -> None:
        now = plan(
            self.settings,
            steps=int(self.state.step),
            all_steps=self.settings.epochs * self.steps_per_epoch,
            seconds=float(self.state.seconds),
        )
        self.learner.optimizer.learning_rate.assign(now.learning_rate)
        self.learner.progress.assign(now.progress)
        self._fits = self.learner.follows and now.fits
        self.model.quantizer.allow_revival(now.revives)

    def _close_epoch(self, log: RunLog) -> None:
        means = np.asarray(self.state.sums) / self.steps_per_epoch
        row: dict[str, Any] = {"epoch": int(self.state.epoch), "step": int(self.state.step)}
        names = self.learner.names
        row |= {f"train_{name}": float(mean) for name, mean in zip(names, means, strict=True)}
        metrics = self.validate()
        if metrics is not None and self.own_tasks is not None:
            row |= self.own_tasks.row(self.settings.objectives) | _validation_row(metrics)
        self._judge(metrics)
        self.state.sums.assign(np.zeros(len(names)))
        self.state.epoch.assign_add(1)
        log.epoch(row, self.picture())
        self._reporter.epoch(row)

    def _judge(self, metrics: Metrics | None) -> None:
        """Keep the model if it is the best so far, where its reconstruction tells that."""
        if metrics is None or not self.settings.autoencodes:
            return
        if metrics.reconstruction < float(self.state.best):
            self.state.best.assign(metrics.reconstruction)
            self.state.stale.assign(0)
            self._best.save()
        else:
            self.state.stale.assign_add(1)

    def _save(self, log: RunLog) -> None:
        """Write a checkpoint; the logs first, so that they are never behind it."""
        log.flush()
        self._checkpoints.save()
        self._saved_at = time.monotonic()

    def _start_codebook(self) -> None:
        """Begin the codebook from the latents of some training tiles, silence thinned."""
        order = shuffled(self.split.train, seed=self.settings.seed, epoch=START_EPOCH)
        rng = np.random.default_rng([self.settings.seed, 2])
        stride = self.model_settings.time_stride
        pooled = []
        for rows in batches(order[:START_TILES], self.settings.batch_size):
            tiles, valid = self.store.read(rows), self.store.valid_frames[rows]
            latents = np.asarray(self.model.encode(tiles, valid))
            sound = self.loudness.sound(tiles, rows)
            kept = sound | (rng.random(sound.shape) < self.settings.silence_weight)
            inside = np.arange(latents.shape[1]) * stride < valid[:, None]
            pooled.append(latents[kept & inside[:, :, None]])
        tokens = self.settings.batch_size * self.model_settings.columns * self.model_settings.bands
        tokens //= self.learner.one_in
        latents = np.concatenate(pooled)
        if len(latents):
            self.model.quantizer.begin(latents, tokens)


def use_threads(threads: int) -> None:
    """Set TensorFlow's threads; with one, every operation is deterministic too."""
    if threads == 0:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise UserError("TensorFlow is running already: its threads cannot change") from None
    if threads == 1:
        tf.config.experimental.enable_op_determinism()


def as_graph(step: Callable[..., Any]) -> Any:
    """A step as a graph, traced once for all sizes of batches."""
    return tf.function(step, reduce_retracing=True, autograph=False)


def as_function(model: VQVAE) -> Model:
    """A Keras model as a function of arrays."""
    graph = tf.function(lambda x, valid: model(x, valid_frames=valid), reduce_retracing=True)

    def forward(tiles: NDArray[np.float32], valid_frames: NDArray[np.int32]) -> Passed:
        output = graph(tf.constant(tiles), tf.constant(valid_frames))
        parts = (output.reconstruction, output.ids, output.distances, output.latents)
        return Passed(*(np.asarray(part) for part in parts))

    return forward


def _build(
    model_settings: ModelSettings, settings: TrainSettings, prep: PrepSettings, init: str | None
) -> Learner:
    policy = "mixed_bfloat16" if settings.mixed_precision else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_vqvae(model_settings, settings.seed)
        if init is not None:
            init_encoder(model, model_settings, prep, Path(init))
        learner = Learner(
            model,
            {
                name: (OBJECTIVES[name](model_settings, _seed(settings.seed, name)), weight)
                for name, weight in settings.objectives.items()
            },
        )
    finally:
        keras.config.set_dtype_policy(before)
    learner.compile(optimizer=keras.optimizers.Adam(settings.learning_rate))
    learner.optimizer.build(learner.trainable_variables)
    return learner


def _seed(seed: int, name: str) -> int:
    """The seed of an objective: no two draw alike."""
    words = [seed, crc32(name.encode())]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def _validation_row(metrics: Metrics) -> dict[str, float]:
    return {
        "val_reconstruction": metrics.reconstruction,
        "val_reconstruction_db": metrics.reconstruction_db,
        "val_sound_reconstruction_db": metrics.sound_reconstruction_db,
        "val_commitment": metrics.commitment,
        "val_usage": metrics.codebook.usage,
        "val_entropy": metrics.codebook.entropy,
        "val_perplexity": metrics.codebook.perplexity,
        "val_sound_usage": metrics.sound_codebook.usage,
        "val_sound_entropy": metrics.sound_codebook.entropy,
        "val_sound_perplexity": metrics.sound_codebook.perplexity,
    }
