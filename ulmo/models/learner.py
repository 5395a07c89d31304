"""Trains the VQ-VAE by weighted objectives, in one step of one optimizer."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ulmo.config import AUTOENCODED, OWN, SPREAD, loss_names
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult, TrainingBatch
from ulmo.models.spread import spread_of
from ulmo.models.vqvae import VQVAE

# A codebook and decoder that only follow the encoder learn from one tile in this many: they are not
# part of the task, and would take most of a step's time.
FOLLOWED = 4


class Learner(keras.Model):
    """Trains a VQ-VAE by objectives; the loss is the sum of theirs, by weights above 0.

    If no objective trains the codebook, or the decoder, it follows the encoder: it learns in the
    same steps, from latents or codes that pass no gradient. At the end of training, `fit_step` fits
    it to the frozen encoder. So every run yields a complete tokenizer, and only the objectives
    shape its encoder.

    The caller sets `progress`, from 0 to 1, before each step.
    """

    def __init__(
        self, vqvae: VQVAE, objectives: Mapping[str, tuple[Objective, float]], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vqvae = vqvae
        self.tasks = {name: objective for name, (objective, _) in objectives.items()}
        self.task_weights = {name: weight for name, (_, weight) in objectives.items()}
        self.progress = self.add_weight(
            name="progress", shape=(), initializer="zeros", trainable=False
        )
        for objective in self.tasks.values():
            objective.begin(vqvae)
            objective.built = True
        self.built = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scalars returned by `train_step` and `test_step`, in order."""
        return loss_names(self.tasks)

    @property
    def wants(self) -> frozenset[str]:
        """What a batch must hold beside the tiles: `views`, `frontends`, both or neither."""
        return frozenset(task.traits.wants for task in self.tasks.values()) - {"tiles"}

    @property
    def follows(self) -> bool:
        """Whether no objective trains the decoder, so that it must be fitted at the end."""
        return not any(task.traits.teaches_decoder for task in self.tasks.values())

    @property
    def one_in(self) -> int:
        """The codebook learns from one in this many tiles of a batch."""
        return 1 if self._codebook_is_taught else FOLLOWED

    def train_step(self, batch: TrainingBatch) -> dict[str, Any]:
        """Train encoder, codebook and decoder by one step; returns the scalars of this batch."""
        encoded = EncodedBatch(self.vqvae, batch, self.optimizer.iterations, training=True)
        with tf.GradientTape() as tape:
            outcomes = self._outcomes(encoded)
            minimised = self._total(outcomes)
            latents = _some(encoded)
            figures = _figures(outcomes)
            if figures is None:
                figures = self._follow(batch, latents, training=True)
                minimised = minimised + self._followed_loss(figures)
            loss = self.optimizer.scale_loss(minimised)
        self._apply(tape, loss, self.trainable_variables)
        for task in self.tasks.values():
            task.after_step(self.vqvae, self.progress)
        return self._scalars(encoded, outcomes, figures, latents)

    def fit_step(self, batch: TrainingBatch) -> dict[str, Any]:
        """Train codebook and decoder by one step on all tiles; the encoder is frozen.

        So is the codebook if an objective trained it. Returns the scalars of `train_step`; the
        objectives are measured, but train nothing.
        """
        encoded = EncodedBatch(self.vqvae, batch, self.optimizer.iterations, training=False)
        outcomes = self._outcomes(encoded)
        latents = ops.stop_gradient(encoded.latents)
        with tf.GradientTape() as tape:
            figures = self._follow(batch, latents, training=True)
            loss = self.optimizer.scale_loss(self._followed_loss(figures))
        parts = (self.vqvae.quantizer, self.vqvae.decoder)
        self._apply(tape, loss, [one for part in parts for one in part.trainable_variables])
        return self._scalars(encoded, outcomes, figures, latents)

    def test_step(
        self, batch: TrainingBatch, step: Any = 0
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scalars of `train_step` and the tallies of the objectives; changes nothing."""
        encoded = EncodedBatch(self.vqvae, batch, step, training=False)
        outcomes, latents = self._outcomes(encoded), _some(encoded)
        figures = _figures(outcomes) or self._follow(batch, latents, training=False)
        tallies = {name: one.tally for name, one in outcomes.items() if one.tally is not None}
        return self._scalars(encoded, outcomes, figures, latents), tallies

    def _apply(self, tape: tf.GradientTape, loss: Any, variables: list[Any]) -> None:
        self.optimizer.apply(tape.gradient(loss, variables), variables)

    def _outcomes(self, encoded: EncodedBatch) -> dict[str, TaskResult]:
        return {name: task.measure(encoded) for name, task in self.tasks.items()}

    def _total(self, outcomes: Mapping[str, TaskResult]) -> Any:
        """Weighted sum of the losses."""
        return sum(self.task_weights[name] * outcome.loss for name, outcome in outcomes.items())

    def _scalars(
        self,
        encoded: EncodedBatch,
        outcomes: Mapping[str, TaskResult],
        figures: Mapping[str, Any],
        latents: Any,
    ) -> dict[str, Any]:
        """The scalars of a step by name; `latents` are those of the first tiles."""
        losses = {"total": self._total(outcomes), **{name: figures[name] for name in AUTOENCODED}}
        losses |= zip(SPREAD, spread_of(latents, _weights(encoded, latents)), strict=True)
        for name, outcome in outcomes.items():
            losses |= {f"{name}_{part}": getattr(outcome, part) for part in OWN}
        return losses

    def _follow(self, batch: TrainingBatch, latents: Any, *, training: bool) -> dict[str, Any]:
        """Train codebook and decoder on the latents of the first tiles; return their figures."""
        count = ops.shape(latents)[0]
        return self.vqvae.autoencode(
            batch.tiles[:count],
            latents,
            batch.valid_frames[:count],
            batch.token_weights[:count],
            training=training and not self._codebook_is_taught,
        )

    def _followed_loss(self, followed: Mapping[str, Any]) -> Any:
        """Loss of the parts that follow; a codebook that an objective trains is left out of it."""
        if self._codebook_is_taught and self.vqvae.quantizer.learns_by_gradient:
            return followed["total"] - followed["codebook"]
        return followed["total"]

    @property
    def _codebook_is_taught(self) -> bool:
        return any(task.traits.teaches_codebook for task in self.tasks.values())


def _figures(outcomes: Mapping[str, TaskResult]) -> Mapping[str, Any] | None:
    """Figures of the first objective that trains the decoder; None if there is none."""
    found = (outcome.figures for outcome in outcomes.values() if outcome.figures is not None)
    return next(found, None)


def _some(encoded: EncodedBatch) -> Any:
    """Latents (n, columns, bands, EMB) of one tile in FOLLOWED; they pass no gradient."""
    batch, model = encoded.batch, encoded.model
    count = -(-ops.shape(batch.tiles)[0] // FOLLOWED)
    if encoded.has_latents:
        return ops.stop_gradient(encoded.latents[:count])
    return ops.stop_gradient(model.encode(batch.tiles[:count], batch.valid_frames[:count]))


def _weights(encoded: EncodedBatch, latents: Any) -> Any:
    """Weights (n, columns, bands) of the tokens of the first n tiles."""
    batch, count = encoded.batch, ops.shape(latents)[0]
    inside = encoded.model.inside(latents, batch.valid_frames[:count])
    return inside * ops.cast(batch.token_weights[:count], "float32")
