"""The denoising autoencoder: what is shown is damaged, and is to be given back whole.

Vincent et al. 2008 (ICML, "Extracting and composing robust features with denoising
autoencoders"). Damage is noise and masks, drawn anew at each step.
"""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops


class Denoising(NamedTuple):
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
    seed: int = 0

    def shown(self, tiles: Any, step: Any) -> Any:
        """Tiles (B, M, frames, 1), damaged: a function of the seed, the step and the tiles."""
        draws = _Draws(self.seed, step)
        batch, bins, frames, _ = ops.shape(tiles)
        level = draws.uniform((batch, 1, 1, 1), self.quietest, self.loudest)
        noise = level + self.ripple * draws.normal((batch, bins, frames, 1))
        noisy = ops.maximum(tiles, noise)
        for axis, length in ((1, bins), (2, frames)):
            noisy = ops.where(self._hidden(draws, batch, axis, length), 0.0, noisy)
        return noisy

    def _hidden(self, draws: "_Draws", batch: Any, axis: int, length: Any) -> Any:
        """Where one axis of tiles is masked: one stretch of it a tile."""
        size = ops.cast(length, "float32")
        width = draws.uniform((batch, 1), 0, self.masked) * size
        start = draws.uniform((batch, 1), 0, 1) * (size - width)
        place = ops.cast(ops.arange(length), "float32")[None]
        hidden = ops.logical_and(place >= start, place < start + width)
        return ops.reshape(hidden, (batch, *(length if i == axis else 1 for i in (1, 2, 3))))


class _Draws:
    """Random numbers that a seed and a step decide, each draw its own."""

    def __init__(self, seed: int, step: Any) -> None:
        self._seed = seed
        self._step = ops.cast(step, "int32")
        self._count = 0

    def uniform(self, shape: tuple[Any, ...], least: float, most: float) -> Any:
        return tf.random.stateless_uniform(shape, self._next(), least, most, alg="philox")

    def normal(self, shape: tuple[Any, ...]) -> Any:
        return tf.random.stateless_normal(shape, self._next(), alg="philox")

    def _next(self) -> Any:
        self._count += 1
        return tf.stack([self._seed + 65_537 * self._count, self._step])
