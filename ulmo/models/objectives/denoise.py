"""The denoising autoencoder: what is shown is damaged, and is to be given back whole.

Vincent et al. 2008 (ICML, "Extracting and composing robust features with denoising
autoencoders"). Damage is noise and masks, drawn anew at each step.
"""

from typing import Any, NamedTuple

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import Encoded, Objective, Outcome
from ulmo.models.objectives.reconstruct import decoded


class Damage(NamedTuple):
    """Adds noise to tiles, and masks stretches of frames and of bins.

    Tiles are decibels that were normalised to mean 0 and spread 1, so noise is added as powers
    add: the louder one of sound and noise is heard, to within 3 dB (the max approximation of
    Nadas et al. 1989). Its level is one number a tile, evenly drawn from `quietest` to `loudest`
    spreads about the mean: below most silence to over most sound. Its own spread, `ripple`, is
    that of the power of noise (5.6 dB) at the 14 dB that a spread of field recordings has.
    `masked` = 0.15: longest share of the frames, and of the bins, that one mask hides, as in
    SpecAugment (Park et al. 2019); what is hidden is 0, the mean.
    """

    quietest: float = -2.5
    loudest: float = 0.5
    ripple: float = 0.4
    masked: float = 0.15

    def __call__(self, tiles: Any, draws: Draws) -> Any:
        """Tiles (B, M, frames, 1), damaged."""
        batch, bins, frames, _ = ops.shape(tiles)
        level = draws.uniform((batch, 1, 1, 1), self.quietest, self.loudest)
        noise = level + self.ripple * draws.normal((batch, bins, frames, 1))
        noisy = ops.maximum(tiles, noise)
        for axis, length in ((1, bins), (2, frames)):
            noisy = ops.where(self._hidden(draws, batch, axis, length), 0.0, noisy)
        return noisy

    def _hidden(self, draws: Draws, batch: Any, axis: int, length: Any) -> Any:
        """Where one axis of tiles is masked: one stretch of it a tile."""
        size = ops.cast(length, "float32")
        width = draws.uniform((batch, 1), 0, self.masked) * size
        start = draws.uniform((batch, 1)) * (size - width)
        place = ops.cast(ops.arange(length), "float32")[None]
        hidden = ops.logical_and(place >= start, place < start + width)
        return ops.reshape(hidden, (batch, *(length if i == axis else 1 for i in (1, 2, 3))))


DAMAGE = Damage()


class Denoise(Objective):
    """The VQ-VAE on damaged tiles; out of training too, as that is its task."""

    traits = OBJECTIVE_TRAITS["denoise"]

    def __init__(
        self, settings: ModelSettings, seed: int = 0, damage: Damage = DAMAGE, **kwargs: Any
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.damage = damage

    def measure(self, encoded: Encoded) -> Outcome:
        """The loss of the VQ-VAE, told against tiles that are whole."""
        batch = encoded.batch
        shown = self.damage(batch.tiles, Draws(self.seed, encoded.step))
        latents = encoded.model.encode(shown, batch.valid_frames)
        return decoded(encoded, latents, batch.valid_frames)
