"""Changes of finished tiles that cost little, so that training can draw them anew in each step."""

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import quiet_level
from ulmo.preprocessing.store import TileStore


class Distortion:
    """Warps the frequency axis of tiles, and tilts their spectrum, each tile by its own draw.

    A warp multiplies all frequencies by a factor, as a longer or shorter vocal tract does with its
    resonances (Jaitly and Hinton 2013: vocal tract length perturbation). A tilt adds decibels per
    octave, as distance and microphones do; in PCEN, which has no decibels, there is none.
    """

    def __init__(self, store: TileStore, warp_spread: float, tilt_db: float) -> None:
        """Draw factors from 1 - warp_spread to 1 + warp_spread, tilts from -tilt_db to tilt_db."""
        settings = store.manifest.settings
        self._store = store
        self._warp_spread = warp_spread
        self._tilt_db = tilt_db if store.in_decibels else 0.0
        self._quiet = quiet_level(settings)
        self._hertz = build_frontend(settings).frequencies if warp_spread or tilt_db else None

    def __call__(
        self, tiles: Array, valid: NDArray[np.int32], rows: Indices, rng: np.random.Generator
    ) -> Array:
        """Tiles (n, M, frames, 1) of some rows of the store, with `valid` frames (n,), changed."""
        factors = rng.uniform(1 - self._warp_spread, 1 + self._warp_spread, len(tiles))
        slopes = rng.uniform(-self._tilt_db, self._tilt_db, len(tiles))
        if self._hertz is None:
            return tiles
        if self._warp_spread:
            tiles = warped(tiles, self._hertz, factors)
        if self._tilt_db:
            scales = self._store.scales_db[rows]
            floors = (np.float32(self._quiet) - self._store.offsets_db[rows]) / scales
            tiles = tilted(tiles, valid, self._hertz, slopes / scales, floors)
        return tiles


def warped(tiles: Array, hertz: NDArray[np.float64], factors: NDArray[np.float64]) -> Array:
    """Tiles (n, M, frames, 1) whose frequencies are multiplied by factors (n,).

    `hertz` (M,) are the centres of the bins. A bin shows what was at its frequency over the factor,
    between the two nearest bins in proportion; at the ends, the first or last bin.
    """
    bins = np.arange(len(hertz))
    changed = np.empty_like(tiles)
    for tile, factor, out in zip(tiles, factors, changed, strict=True):
        place = np.interp(hertz / factor, hertz, bins)
        below = np.minimum(place.astype(np.int64), len(bins) - 2)
        share = (place - below).astype(np.float32)[:, None, None]
        out[:] = tile[below] * (1 - share) + tile[below + 1] * share
    return changed


def tilted(
    tiles: Array,
    valid: NDArray[np.int32],
    hertz: NDArray[np.float64],
    slopes: NDArray[np.float64],
    floors: Array,
) -> Array:
    """Tiles (n, M, frames, 1) with slopes (n,) per octave added, which are 0 on the mean over bins.

    Values at the floors (n,), where sound was clipped, and frames that are not `valid` stay; none
    falls below its floor.
    """
    octaves = np.log2(hertz)
    ramp = (octaves - octaves.mean())[None, :, None, None]
    added = (slopes[:, None, None, None] * ramp).astype(np.float32)
    floor = floors[:, None, None, None]
    inside = np.arange(tiles.shape[2]) < valid[:, None]
    heard = (tiles > floor) & inside[:, None, :, None]
    changed: Array = np.where(heard, np.maximum(tiles + added, floor), tiles)
    return changed
