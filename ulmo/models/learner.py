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
"""A decoder that only follows learns from one tile in so many: it is no part of the task, and
takes most of a step's time otherwise."""


class Learner(keras.Model):
    """Trains a VQ-VAE by objectives of weights above 0; the loss is their weighted sum.

    Where none of them teaches the codebook, or the decoder, these follow: they learn in the same
    steps from latents, or codes, that no gradient passes, so that every run ends in a whole
    tokenizer whose encoder only its objectives have shaped.

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
    def autoencodes(self) -> bool:
        """True where reconstruction shapes the encoder."""
        return any(task.teaches_decoder for task in self.tasks.values())

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """One step of the optimizer, the codebook and what follows; scalars of this batch."""
        with tf.GradientTape() as tape:
            total, losses, _ = self._measure(batch, self.optimizer.iterations, training=True)
            loss = self.optimizer.scale_loss(total)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply(gradients, variables)
        for task in self.tasks.values():
            task.after_step(self.vqvae, self.progress)
        return losses

    def test_step(self, batch: Batch, step: Any = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """The scalars of `train_step`, and the tallies of objectives; changes nothing."""
        _, losses, tallies = self._measure(batch, step, training=False)
        return losses, tallies

    def _measure(
        self, batch: Batch, step: Any, training: bool
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """What is minimised, the scalars, and the tallies."""
        encoded = Encoded(self.vqvae, batch, step, training)
        outcomes = {name: task.measure(encoded) for name, task in self.tasks.items()}
        total = sum(self.task_weights[name] * outcome.loss for name, outcome in outcomes.items())
        some = _some(encoded)
        told = [outcome.figures for outcome in outcomes.values() if outcome.figures is not None]
        minimised = total
        if not told:
            told = [self._follow(encoded, *some)]
            minimised = total + told[0]["total"]
        losses = {"total": total, **{name: told[0][name] for name in AUTOENCODED}}
        latents, weights = some
        losses |= zip(SPREAD, spread_of(latents, weights), strict=True)
        for name, outcome in outcomes.items():
            losses[f"{name}_loss"] = outcome.loss
            losses[f"{name}_score"] = outcome.score
            losses[f"{name}_chance"] = outcome.chance
        tallies = {name: one.tally for name, one in outcomes.items() if one.tally is not None}
        return minimised, losses, tallies

    def _follow(self, encoded: Encoded, latents: Any, _: Any) -> dict[str, Any]:
        """Codebook and decoder learn from some latents as they are."""
        batch, count = encoded.batch, ops.shape(latents)[0]
        taught = any(task.teaches_codebook for task in self.tasks.values())
        return self.vqvae.autoencode(
            batch.tiles[:count],
            latents,
            batch.valid_frames[:count],
            batch.token_weights[:count],
            training=encoded.training and not taught,
        )


def _some(encoded: Encoded) -> tuple[Any, Any]:
    """Latents, which no gradient passes, and their weights, of one tile in FOLLOWED."""
    batch, model = encoded.batch, encoded.model
    count = -(-ops.shape(batch.tiles)[0] // FOLLOWED)
    valid = batch.valid_frames[:count]
    if encoded.has_latents:
        latents = encoded.latents[:count]
    else:
        latents = model.encode(batch.tiles[:count], valid)
    weights = model.inside(latents, valid) * ops.cast(batch.token_weights[:count], "float32")
    return ops.stop_gradient(latents), weights
