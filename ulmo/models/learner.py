"""The VQ-VAE and what it learns from: weighted objectives in one step of one optimizer."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ulmo.config import AUTOENCODED, SPREAD, loss_names
from ulmo.models.collapse import spread_of
from ulmo.models.objectives.base import Batch, Encoded, Objective
from ulmo.models.vqvae import VQVAE

FOLLOWED = 4
"""Codebook and decoder that only follow learn from one tile in so many: they are no part of the
task, and would take most of a step's time."""


class Learner(keras.Model):
    """Trains a VQ-VAE by objectives of weights above 0; the loss is their weighted sum.

    Where none of them teaches the codebook, or the decoder, these follow: they learn in the same
    steps from latents, or codes, that no gradient passes. At the end of training `fit_step` fits
    them to the encoder as it then stands. So every run ends in a whole tokenizer whose encoder
    only its objectives have shaped.

    `progress`, from 0 to 1, is set by whoever knows how long training takes.
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
        """Of the scalars of `train_step` and `test_step`, in order."""
        return loss_names(self.tasks)

    @property
    def wants(self) -> frozenset[str]:
        """What a batch must hold beside tiles: `views`, `frontends`."""
        return frozenset(task.wants for task in self.tasks.values()) - {"tiles"}

    @property
    def follows(self) -> bool:
        """True where the decoder learns of no objective, and has to be fitted at the end."""
        return not any(task.teaches_decoder for task in self.tasks.values())

    @property
    def one_in(self) -> int:
        """The codebook learns from one tile of a batch in so many."""
        return 1 if self._teach_codebook else FOLLOWED

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """One step of the optimizer, the codebook and what follows; scalars of this batch."""
        with tf.GradientTape() as tape:
            minimised, losses, _ = self._measure(batch, self.optimizer.iterations, training=True)
            loss = self.optimizer.scale_loss(minimised)
        self._apply(tape, loss, self.trainable_variables)
        for task in self.tasks.values():
            task.after_step(self.vqvae, self.progress)
        return losses

    def fit_step(self, batch: Batch) -> dict[str, Any]:
        """One step of codebook and decoder alone, on all tiles; the encoder stays as it is.

        A codebook that its objective taught stays too. Scalars as of `train_step`; objectives are
        measured, and teach nothing.
        """
        encoded = Encoded(self.vqvae, batch, self.optimizer.iterations, training=True)
        _, losses, _ = self._measure(batch, self.optimizer.iterations, training=False)
        with tf.GradientTape() as tape:
            latents = ops.stop_gradient(encoded.latents)
            followed = self._follow(encoded, latents)
            loss = self.optimizer.scale_loss(self._followed_loss(followed))
        parts = (self.vqvae.quantizer, self.vqvae.decoder)
        variables = [variable for part in parts for variable in part.trainable_variables]
        self._apply(tape, loss, variables)
        return {**losses, **{name: followed[name] for name in AUTOENCODED}}

    def test_step(self, batch: Batch, step: Any = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """The scalars of `train_step`, and the tallies of objectives; changes nothing."""
        _, losses, tallies = self._measure(batch, step, training=False)
        return losses, tallies

    def _apply(self, tape: tf.GradientTape, loss: Any, variables: list[Any]) -> None:
        self.optimizer.apply(tape.gradient(loss, variables), variables)

    def _measure(
        self, batch: Batch, step: Any, training: bool
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """What is minimised, the scalars, and the tallies."""
        encoded = Encoded(self.vqvae, batch, step, training)
        outcomes = {name: task.measure(encoded) for name, task in self.tasks.items()}
        total = sum(self.task_weights[name] * outcome.loss for name, outcome in outcomes.items())
        latents = _some(encoded)
        told = [outcome.figures for outcome in outcomes.values() if outcome.figures is not None]
        minimised = total
        if not told:
            told = [self._follow(encoded, latents)]
            minimised = total + self._followed_loss(told[0])
        losses = {"total": total, **{name: told[0][name] for name in AUTOENCODED}}
        losses |= zip(SPREAD, spread_of(latents, _weights(encoded, latents)), strict=True)
        for name, outcome in outcomes.items():
            losses[f"{name}_loss"] = outcome.loss
            losses[f"{name}_score"] = outcome.score
            losses[f"{name}_chance"] = outcome.chance
        tallies = {name: one.tally for name, one in outcomes.items() if one.tally is not None}
        return minimised, losses, tallies

    def _follow(self, encoded: Encoded, latents: Any) -> dict[str, Any]:
        """Codebook and decoder learn from the latents of the first tiles as they are."""
        batch, count = encoded.batch, ops.shape(latents)[0]
        return self.vqvae.autoencode(
            batch.tiles[:count],
            latents,
            batch.valid_frames[:count],
            batch.token_weights[:count],
            training=encoded.training and not self._teach_codebook,
        )

    def _followed_loss(self, followed: dict[str, Any]) -> Any:
        """Of what follows: a codebook that is taught does not learn by gradient here too."""
        if self._teach_codebook and self.vqvae.quantizer.learns_by_gradient:
            return followed["total"] - followed["codebook"]
        return followed["total"]

    @property
    def _teach_codebook(self) -> bool:
        return any(task.teaches_codebook for task in self.tasks.values())


def _some(encoded: Encoded) -> Any:
    """Latents (n, columns, bands, EMB), which no gradient passes, of one tile in FOLLOWED."""
    batch, model = encoded.batch, encoded.model
    count = -(-ops.shape(batch.tiles)[0] // FOLLOWED)
    if encoded.has_latents:
        return ops.stop_gradient(encoded.latents[:count])
    return ops.stop_gradient(model.encode(batch.tiles[:count], batch.valid_frames[:count]))


def _weights(encoded: Encoded, latents: Any) -> Any:
    """(n, columns, bands): those of the tokens of the first n tiles."""
    batch, count = encoded.batch, ops.shape(latents)[0]
    inside = encoded.model.inside(latents, batch.valid_frames[:count])
    return inside * ops.cast(batch.token_weights[:count], "float32")
