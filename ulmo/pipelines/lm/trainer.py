"""A training run of the token model: model, optimizer, streams, and what it knows of each."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ulmo.arrays import Array, Ids
from ulmo.bundle.token_weights import weight_shapes
from ulmo.config.token_model import TokenModelSettings, TokenTrainSettings
from ulmo.models.devices import spread_rows
from ulmo.models.token_model.model import ModelState, TokenModel
from ulmo.pipelines.hosts import note_shared, use_devices
from ulmo.pipelines.lm.streams import Streams, TokenCorpus, split_tokens
from ulmo.pipelines.loading import use_threads
from ulmo.pipelines.run_loop import Reporter, RunLoop, Taken
from ulmo.pipelines.schedule import StepSettings
from ulmo.sequence.network import attention_bias
from ulmo.storage.csv_log import LogColumns
from ulmo.vocabulary import Vocabulary

LOG_COLUMNS = LogColumns(("step", "epoch", "bits"), ("epoch", "step", "train_bits", "val_bits"))
_CLIP = 1.0  # norm of the gradient of a step, at most
_UNDECAYED = ["norm", "bias", "decay", "bands"]  # weights that weight decay leaves alone
_BITS = 1 / np.log(2)


class TokenTrainer(RunLoop):
    """Trains a token model on streams of tokens, whose state is carried from step to step."""

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
        self._devices = use_devices(settings.devices)
        note_shared(self._devices, reporter.note)
        keras.utils.set_random_seed(settings.seed)
        self.corpus, self.settings = corpus, settings
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
        self._streams = self._laid_out(0)
        self._train_step = tf.function(self._learn, autograph=False)
        self._test_step = tf.function(self._measure, autograph=False)
        self._known = tf.nest.map_structure(tf.Variable, self.model.begin(settings.streams))
        super().__init__(
            folder,
            settings,
            reporter,
            steps_per_epoch=self._streams.steps,
            sums=2,  # bits, tokens
            variables=[variable.value for variable in self.model.variables],
            dropout=[variable.value for variable in self.model.non_trainable_variables],
            optimizer=self._optimizer,
            known=tf.nest.flatten(self._known),
        )

    @property
    def tokens_per_second(self) -> float:
        """Training speed, validation left out; 0 before the first step."""
        steps, seconds = int(self.state.step), float(self.state.step_seconds)
        tokens = sum(self.corpus.ids[place].size for place in self.split.train)
        return steps * tokens / self.steps_per_epoch / seconds if seconds else 0.0

    def begin(self) -> None:
        """Restore the latest checkpoint, or write the first one."""
        super().begin()
        self._streams = self._laid_out(int(self.state.epoch))

    def judge(self) -> float | None:
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
            planted=0.0 if held_out else settings.planted,
        )

    def _bits(self, ids: Any, known: Any, *, training: bool) -> tuple[Any, Any, Any]:
        """Sums of the bits and of the tokens, and what is known after them.

        Special tokens are not predicted. Each device computes some streams.
        """

        def of_streams(ids: Any, *parts: Any) -> tuple[Any, Any, Any]:
            before = tf.nest.pack_sequence_as(known, parts)
            logits, after = self.model(ids, before, training=training)
            ids = ids[:, 1:]
            counted = tf.cast(ids < self._codes, tf.float32)
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.minimum(ids, self._codes - 1), logits
            )
            sums = (tf.reduce_sum(each, axis=(1, 2)) for each in (nats * counted, counted))
            return *sums, after

        streams = [ids, *tf.nest.flatten(known)]
        bits, tokens, after = spread_rows(of_streams, streams, self._devices)
        return tf.reduce_sum(bits) * _BITS, tf.reduce_sum(tokens), after

    def _learn(self, ids: Any, known: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            bits, tokens, after = self._bits(ids, known, training=True)
            loss = bits / tf.maximum(tokens, 1.0)
        variables = self.model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return bits, tokens, after

    def _measure(self, ids: Any, known: Any) -> tuple[Any, Any, Any]:
        return self._bits(ids, known, training=False)

    def _start(self) -> None:
        """All that the first step needs is there from the beginning."""

    def _batches(self, epoch: int, done: int) -> Generator[Ids, None, None]:
        if not done:
            self._streams = self._laid_out(epoch)
            self._know(self.model.begin(self.settings.streams))
        yield from self._streams.from_step(done)

    def _take(self, batch: Ids, now: StepSettings) -> Taken:
        self._optimizer.learning_rate.assign(now.learning_rate)
        known = tf.nest.map_structure(tf.convert_to_tensor, self._known)
        bits, tokens, after = self._train_step(tf.constant(batch), known)
        mean = float(bits) / max(float(tokens), 1.0)
        self._refuse([mean])
        self._know(after)
        return Taken({"bits": mean}, [float(bits), float(tokens)])

    def _figures(self) -> tuple[dict[str, Any], float | None]:
        bits, tokens = (float(each) for each in np.asarray(self.state.sums))
        row = {"train_bits": bits / max(tokens, 1.0)}
        held_out = self.judge()
        return row if held_out is None else row | {"val_bits": held_out}, held_out

    def _kept(self) -> Iterable[Any]:
        return self.model.trainable_variables

    def _know(self, state: ModelState) -> None:
        """Keep what the model knows of each stream."""
        for variable, value in zip(
            tf.nest.flatten(self._known), tf.nest.flatten(state), strict=True
        ):
            variable.assign(value)
