"""A training run of the token model: model, optimizer, streams, checkpoints.

All that decides how the run continues is in `_State`, in the model or in what the model knows of
each stream, and all are in every checkpoint: a run that was stopped and resumed gives what an
uninterrupted run gives.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from ulmo.arrays import Array
from ulmo.bundle.token_weights import weight_shapes
from ulmo.config import UserError
from ulmo.config.token_model import TokenModelSettings, TokenTrainSettings
from ulmo.jobs.best_effort import BestEffort
from ulmo.models.token_model.model import ModelState, TokenModel
from ulmo.pipelines.lm.streams import Streams, TokenCorpus, split_tokens
from ulmo.pipelines.loading import use_threads
from ulmo.pipelines.run_files import Checkpoints, RunLog
from ulmo.pipelines.schedule import Schedule
from ulmo.sequence.network import attention_bias
from ulmo.storage.checkpoint_files import what_is_wrong
from ulmo.storage.csv_log import LogColumns
from ulmo.vocabulary import Vocabulary

LOG_COLUMNS = LogColumns(("step", "epoch", "bits"), ("epoch", "step", "train_bits", "val_bits"))
_CLIP = 1.0  # norm of the gradient of a step, at most
_UNDECAYED = ["norm", "bias", "decay", "bands"]  # weights that weight decay leaves alone
_BITS = 1 / np.log(2)


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
    bits: tf.Variable  # sums of the bits and of the tokens of the current epoch
    best: tf.Variable  # fewest held-out bits of an epoch
    stale: tf.Variable  # epochs since the best one
    step_seconds: tf.Variable  # time spent in steps, in all sessions
    seconds: tf.Variable  # all time spent, in all sessions: what `max_minutes` counts

    @classmethod
    def new(cls) -> "_State":
        """The state before the first step."""
        return cls(
            step=tf.Variable(0, dtype=tf.int64),
            epoch=tf.Variable(0, dtype=tf.int64),
            bits=tf.Variable(tf.zeros(2, tf.float64)),
            best=tf.Variable(np.inf, dtype=tf.float64),
            stale=tf.Variable(0, dtype=tf.int64),
            step_seconds=tf.Variable(0.0, dtype=tf.float64),
            seconds=tf.Variable(0.0, dtype=tf.float64),
        )


class TokenTrainer:
    """Trains until a reason to end; set `interrupted` to end after the current step."""

    def __init__(
        self,
        corpus: TokenCorpus,
        codes: Array,
        folder: Path,
        model: TokenModelSettings,
        settings: TokenTrainSettings,
        reporter: Reporter,
    ) -> None:
        if settings.threads:
            use_threads(settings.threads)
        keras.utils.set_random_seed(settings.seed)
        self.corpus, self.settings, self.interrupted = corpus, settings, False
        self.best_effort = BestEffort(reporter.warn)
        self.split = split_tokens(corpus, settings.validation_fraction, settings.seed)
        self._vocabulary = Vocabulary(model.codebook_size)
        self.model = TokenModel(
            *(model, weight_shapes(model), codes, attention_bias(model.heads)),
            dropout=settings.dropout,
            seed=settings.seed,
        )
        self._optimizer = keras.optimizers.AdamW(
            settings.learning_rate, weight_decay=settings.weight_decay, clipnorm=_CLIP
        )
        self._optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
        self._optimizer.build(self.model.trainable_variables)
        self._codes = model.codebook_size
        self.state = _State.new()
        self._streams = self._laid_out(0)
        self.steps_per_epoch = self._streams.steps
        self._schedule = Schedule(settings, settings.epochs * self.steps_per_epoch)
        self._reporter = reporter
        self._train_step = tf.function(self._learn, autograph=False)
        self._test_step = tf.function(self._measure, autograph=False)
        self._known = tf.nest.map_structure(tf.Variable, self.model.begin(settings.streams))
        self._saved_at = self._counted_at = time.monotonic()
        variables = [variable.value for variable in self.model.variables]
        dropout = [variable.value for variable in self.model.non_trainable_variables]
        self._checkpoints = Checkpoints(
            folder,
            keep=2,
            below=folder.parent,
            variables=variables,
            dropout=dropout,
            optimizer=self._optimizer,
            known=tf.nest.flatten(self._known),
            **self.state._asdict(),
        )
        self._best = Checkpoints(folder / "best", keep=1, below=folder.parent, variables=variables)

    @property
    def tokens_per_second(self) -> float:
        """Training speed, validation left out; 0 before the first step."""
        steps, seconds = int(self.state.step), float(self.state.step_seconds)
        tokens = sum(self.corpus.ids[place].size for place in self.split.train)
        return steps * tokens / self.steps_per_epoch / seconds if seconds else 0.0

    def begin(self) -> None:
        """Restore the latest checkpoint, or write the first one."""
        self._counted_at = time.monotonic()
        for checkpoints in (self._checkpoints, self._best):
            checkpoints.tidy()
        if not self._checkpoints.numbers:
            self._write_checkpoint()
            return
        for path in self._checkpoints.restore():
            line = f"{path} is {what_is_wrong(path)}: going on from the checkpoint before"
            self._reporter.warn(line)
        self._streams = self._laid_out(int(self.state.epoch))

    def run(self, log: RunLog) -> str:
        """Train to the end, and return why it ended; the model is then that of the best epoch."""
        with self.best_effort("the progress"):
            self._reporter.begin(self._schedule.all_steps, int(self.state.step))
        self._saved_at = time.monotonic()
        end = self._end()
        while end is None:
            end = self._epoch(log) or self._end()
            if end == "max_minutes":
                self._keep_if_best(self.validate())
            self._save(log)
        if end != "interrupt" and self._best.numbers:
            self._best.restore()
        return end

    def validate(self) -> float | None:
        """Bits a token of the held-out recordings; None if none are held out."""
        if not self.split.validation:
            return None
        bits = tokens = 0.0
        known = self.model.begin(self.settings.streams)
        for ids in self._laid_out(0, held_out=True).from_step(0):
            some, counted, known = self._test_step(tf.constant(ids), known)
            bits, tokens = bits + float(some), tokens + float(counted)
        return bits / max(tokens, 1.0)

    def weights(self) -> dict[str, Array]:
        """All weights of the model, by name."""
        return self.model.weights_of()

    def _laid_out(self, epoch: int, *, held_out: bool = False) -> Streams:
        settings = self.settings
        return Streams.of(
            *(self.corpus, self.split.validation if held_out else self.split.train),
            self._vocabulary,
            streams=settings.streams,
            columns=settings.columns,
            seed=None if held_out else settings.seed,
            epoch=epoch,
        )

    def _bits(self, logits: Any, ids: Any) -> tuple[Any, Any]:
        """Sums of the bits and of the tokens: special tokens are not predicted."""
        counted = tf.cast(ids < self._codes, tf.float32)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.minimum(ids, self._codes - 1), logits
        )
        return tf.reduce_sum(nats * counted) * _BITS, tf.reduce_sum(counted)

    def _learn(self, ids: Any, known: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            logits, after = self.model(ids, known, training=True)
            bits, tokens = self._bits(logits, ids[:, 1:])
            loss = bits / tf.maximum(tokens, 1.0)
        variables = self.model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return bits, tokens, after

    def _measure(self, ids: Any, known: Any) -> tuple[Any, Any, Any]:
        logits, after = self.model(ids, known, training=False)
        return *self._bits(logits, ids[:, 1:]), after

    def _end(self) -> str | None:
        if self.interrupted:
            return "interrupt"
        epochs, stale = int(self.state.epoch), int(self.state.stale)
        return self._schedule.end(epochs=epochs, stale=stale, seconds=float(self.state.seconds))

    def _epoch(self, log: RunLog) -> str | None:
        """Do the rest of an epoch, then validation; returns why it ended early, or None."""
        epoch = int(self.state.epoch)
        done = int(self.state.step) - epoch * self.steps_per_epoch
        if not done:
            self._streams = self._laid_out(epoch)
            self._know(self.model.begin(self.settings.streams))
        began = time.monotonic()
        for ids in self._streams.from_step(done):
            self._step(ids, began, log)
            end = self._end()
            if end is not None:
                return end
            if time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes:
                self._save(log)
            began = time.monotonic()
        self._close_epoch(log)
        return None

    def _step(self, ids: Any, began: float, log: RunLog) -> None:
        step = int(self.state.step)
        now = self._schedule.at(step, float(self.state.seconds))
        self._optimizer.learning_rate.assign(now.learning_rate)
        known = tf.nest.map_structure(tf.convert_to_tensor, self._known)
        bits, tokens, after = self._train_step(tf.constant(ids), known)
        mean = float(bits) / max(float(tokens), 1.0)
        if not np.isfinite(mean):
            raise self._diverged("the loss is")
        self._know(after)
        self.state.step.assign_add(1)
        self.state.bits.assign_add([float(bits), float(tokens)])
        self.state.step_seconds.assign_add(time.monotonic() - began)
        self._count_time()
        log.batch({"step": step + 1, "epoch": int(self.state.epoch), "bits": mean})
        with self.best_effort("the progress"):
            self._reporter.batch({"bits": mean})

    def _know(self, state: ModelState) -> None:
        """Keep what the model knows of each stream."""
        for variable, value in zip(
            tf.nest.flatten(self._known), tf.nest.flatten(state), strict=True
        ):
            variable.assign(value)

    def _close_epoch(self, log: RunLog) -> None:
        bits, tokens = (float(each) for each in np.asarray(self.state.bits))
        row: dict[str, Any] = {"epoch": int(self.state.epoch), "step": int(self.state.step)}
        row["train_bits"] = bits / max(tokens, 1.0)
        held_out = self.validate()
        if held_out is not None:
            row["val_bits"] = held_out
        self._keep_if_best(held_out)
        self.state.bits.assign(np.zeros(2))
        self.state.epoch.assign_add(1)
        log.epoch(row, None)
        with self.best_effort("the progress"):
            self._reporter.epoch(row)
        self._count_time()

    def _count_time(self) -> None:
        """Add the time since the last call to that of the run, whatever it was spent on."""
        now = time.monotonic()
        self.state.seconds.assign_add(now - self._counted_at)
        self._counted_at = now

    def _keep_if_best(self, bits: float | None) -> None:
        """Save the model if its held-out bits are the fewest so far."""
        if bits is None:
            return
        if bits < float(self.state.best):
            self.state.best.assign(bits)
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
        if not all(np.isfinite(np.asarray(each)).all() for each in self.model.trainable_variables):
            raise self._diverged("a weight is")
        self._checkpoints.save()

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what} not finite at step {int(self.state.step)}: begin a new run with a "
            f"learning_rate below {self.settings.learning_rate:g}; the checkpoint before is kept"
        )
