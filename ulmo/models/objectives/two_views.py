"""The base of objectives over two views: draws moments, and finds their latents."""

import math
from typing import Any, NamedTuple

from keras import ops

from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective
from ulmo.models.objectives.info_nce import Choice, choose
from ulmo.models.objectives.moments import SharedMoments, columns_of, shared_moments

NEPER_A_DB = math.log(10) / 10  # natural logarithm of the power of a decibel
# Natural logarithm of power per standard deviation of tiles: 14 dB in field recordings.
NEPERS = 14 * NEPER_A_DB


class Background(NamedTuple):
    """Gives each tile a background, as powers add: another tile of the batch, or steady noise.

    Another tile is fainter than it was by `other_db`, drawn evenly for each tile: mixing in the
    linear domain, as log-mixup-exp does (Niizumi et al. 2021, arXiv:2103.06695, section III-B), but
    never so loud that it is heard as much as the tile's own sound.

    Steady noise has the power of an exponential distribution in each cell, as Gaussian noise has,
    `noise_db` below the loudest cell of the tile on the middle bin, and a slope over the bins of up
    to `slope_db` from the first to the last. White noise 20 dB below a sound is 41 dB below its
    loudest cell for spoken digits, and 48 dB for ESC-10 (medians). More noise keeps more ids where
    there is noise, but teaches that rain and surf are no sounds: hence the quarter.
    """

    other_db: tuple[float, float] = (5.0, 40.0)
    noise_share: float = 0.25  # of the tiles
    noise_db: tuple[float, float] = (25.0, 55.0)
    slope_db: float = 20.0

    def __call__(self, tiles: Any, draws: Draws) -> Any:
        """Return tiles (B, M, frames, 1) with a background; one tile alone is its own."""
        batch, bins = ops.shape(tiles)[0], ops.shape(tiles)[1]
        each = (batch, 1, 1, 1)
        others = draws.uniform((), 1, ops.cast(batch, "float32"))
        which = (ops.arange(batch) + ops.cast(ops.floor(others), "int32")) % batch
        sound = NEPERS * tiles
        other = ops.take(sound, which, axis=0) - NEPER_A_DB * draws.uniform(each, *self.other_db)
        below = draws.uniform(each, *self.noise_db)
        slope = draws.uniform(each, -self.slope_db, self.slope_db)
        ramp = ops.reshape(ops.linspace(-0.5, 0.5, bins), (1, bins, 1, 1))
        level = ops.max(sound, axis=(1, 2, 3), keepdims=True) + NEPER_A_DB * (slope * ramp - below)
        noise = level + draws.log_exponential(ops.shape(tiles))
        is_noise = draws.uniform(each) < self.noise_share
        return ops.logaddexp(sound, ops.where(is_noise, noise, other)) / NEPERS


class Seen(NamedTuple):
    """Moments of a batch, in its tiles and in the other view."""

    moments: SharedMoments
    tiles: Any  # (B, M, frames, 1) of the other view, with a background
    valid_frames: Any  # (B,) of the other view
    latents: Any  # (B, columns, bands, EMB) of the other view

    def here(self, latents: Any) -> Any:
        """(A, bands EMB): the moments, from latents of `TrainingBatch.tiles`."""
        return columns_of(latents, self.moments.tile, self.moments.column)

    def there(self, latents: Any) -> Any:
        """(A, bands EMB): the moments, from latents of the other view."""
        return columns_of(latents, self.moments.tile, self.moments.other_column)


class TwoViews(Objective):
    """Moments in two views, `TrainingBatch.tiles` and `TrainingBatch.other`.

    The other view also gets a background. The tiles are encoded unchanged, once for all objectives.
    """

    # Moments per batch, at least: SimCLR's smallest batch. Their cost is negligible beside the
    # encoder's; with more per tile, more pairs sound alike yet count as different.
    anchors = 256
    anchors_per_tile = 16
    # Frames of view 0: 200 ms, longer than most phones. Nearer moments of a tile do not count as
    # different.
    apart = 20.0
    background = Background()

    def seen(self, encoded: EncodedBatch) -> Seen:
        """Draw the moments of this step; ValueError if the batch has no other view."""
        draws = Draws(self.seed, encoded.step)
        other = encoded.batch.other
        if other is None:
            raise ValueError("the batch has no other view: the objective wants views")
        tiles = self.background(other.tiles, draws)
        latents = encoded.model.encode(tiles, other.valid_frames)
        count = ops.maximum(self.anchors, self.anchors_per_tile * ops.shape(tiles)[0])
        moments = shared_moments(encoded, other, latents, count, draws)
        return Seen(moments, tiles, other.valid_frames, latents)


def among_others(first: Any, second: Any, negative: Any) -> Choice:
    """Choose, for each vector of `first` (A, D), its partner among the vectors of `second`."""
    return choose(first, second, negative, ops.ones_like(first[:, 0]))
