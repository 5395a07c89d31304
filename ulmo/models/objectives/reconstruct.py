"""The VQ-VAE itself: restore a tile from its codes.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), equation 3.
"""

from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult, share_removed


class Reconstruct(Objective):
    """Encodes, quantises and decodes tiles; the score is the share of variance explained."""

    traits = OBJECTIVE_TRAITS["reconstruct"]
    draws = False

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Loss of the VQ-VAE; chance is the score of the constant 0, the mean of tiles."""
        batch = encoded.batch
        return decoded(encoded, encoded.latents, batch.valid_frames)


def decoded(encoded: EncodedBatch, latents: Any, valid_frames: Any) -> TaskResult:
    """Quantise and decode latents, and compare the result with the batch's tiles."""
    figures = encoded.model.autoencode(
        encoded.batch.tiles,
        latents,
        valid_frames,
        encoded.batch.token_weights,
        training=encoded.teach_codebook(),
    )
    power = encoded.model.power(encoded.batch.tiles, valid_frames)
    return TaskResult(
        loss=figures["total"],
        score=share_removed(figures["reconstruction"], power),
        chance=ops.zeros(()),
        figures=figures,
    )
