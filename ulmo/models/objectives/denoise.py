"""The denoising autoencoder: restore a tile from a damaged copy.

Vincent et al. 2008 (ICML, "Extracting and composing robust features with denoising
autoencoders"). Damage is noise and masks, drawn anew in each step.
"""

from typing import Any, NamedTuple

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult
from ulmo.models.objectives.reconstruct import decoded


class Damage(NamedTuple):
    """Adds noise to tiles, and masks a stretch of frames and a stretch of bins.

    Tiles are decibels normalised to mean 0 and standard deviation 1. Powers add, so the louder of
    sound and noise is kept, which is right to within 3 dB (the max approximation of Nadas et al.
    1989). The noise has one level per tile, drawn evenly from `quietest` to `loudest` standard
    deviations: from below most silence to above most sound. `ripple` is its standard deviation:
    that of the power of noise, 5.6 dB, over the 14 dB of field recordings.
    `masked` = 0.15: greatest share of the frames, and of the bins, that a mask hides, as in
    SpecAugment (Park et al. 2019). Hidden cells are 0, the mean.
    """

    quietest: float = -2.5
    loudest: float = 0.5
    ripple: float = 0.4
    masked: float = 0.15

    def __call__(self, tiles: Any, draws: Draws) -> Any:
        """Return damaged tiles (B, M, frames, 1)."""
        batch, bins, frames, _ = ops.shape(tiles)
        level = draws.uniform((batch, 1, 1, 1), self.quietest, self.loudest)
        noise = level + self.ripple * draws.normal((batch, bins, frames, 1))
        noisy = ops.maximum(tiles, noise)
        for axis, length in ((1, bins), (2, frames)):
            noisy = ops.where(self._hidden(draws, batch, axis, length), 0.0, noisy)
        return noisy

    def _hidden(self, draws: Draws, batch: Any, axis: int, length: Any) -> Any:
        """Mask of one axis of the tiles: one stretch per tile."""
        size = ops.cast(length, "float32")
        width = draws.uniform((batch, 1), 0, self.masked) * size
        start = draws.uniform((batch, 1)) * (size - width)
        place = ops.cast(ops.arange(length), "float32")[None]
        hidden = ops.logical_and(place >= start, place < start + width)
        return ops.reshape(hidden, (batch, *(length if i == axis else 1 for i in (1, 2, 3))))


class Denoise(Objective):
    """Trains the VQ-VAE on damaged tiles; validation damages them, too."""

    traits = OBJECTIVE_TRAITS["denoise"]
    damage = Damage()

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Loss of the VQ-VAE against the undamaged tiles."""
        batch = encoded.batch
        shown = self.damage(batch.tiles, Draws(self.seed, encoded.step))
        latents = encoded.model.encode(shown, batch.valid_frames)
        return decoded(encoded, latents, batch.valid_frames)
