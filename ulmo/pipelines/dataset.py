"""Tiles for training and evaluation: split by recording, drawn in a reproducible order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.config import ModelSettings
from ulmo.evaluation.silence import is_sound, patch_levels
from ulmo.preprocessing.normalize import quiet_level
from ulmo.preprocessing.store import TileStore


class Split(NamedTuple):
    """Rows of tiles.parquet; no recording is on both sides."""

    train: Indices
    """With every view of a tile."""
    validation: Indices
    """The tiles themselves alone."""


def split_by_recording(store: TileStore, fraction: float, seed: int) -> Split:
    """Hold out a share of the recordings: at least one, if a share is asked, but never all."""
    names = np.unique(store.recordings)
    held_out = 0
    if fraction > 0 and len(names) > 1:
        held_out = min(max(round(len(names) * fraction), 1), len(names) - 1)
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    chosen = np.isin(store.recordings, names[order[:held_out]])
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen & (store.views == 0)))


def shuffled(indices: Indices, *, seed: int, epoch: int) -> Indices:
    """The order of one epoch: a function of the seed and the epoch, so that it can be resumed."""
    order: Indices = np.random.default_rng([seed, 1, epoch]).permutation(indices)
    return order


def batches(indices: Indices, batch_size: int) -> Iterator[Indices]:
    """Consecutive pieces; the last may be smaller."""
    for start in range(0, len(indices), batch_size):
        yield indices[start : start + batch_size]


class Loudness:
    """Which tokens of a store's tiles are sound, by the loudest cell of each recording."""

    def __init__(self, store: TileStore, model: ModelSettings) -> None:
        self._store = store
        self._model = model
        names, recording = np.unique(store.recordings, return_inverse=True)
        loudest = np.full(len(names), -np.inf, np.float32)
        if store.in_decibels:
            plain = store.views == 0
            np.maximum.at(loudest, recording[plain], store.peaks_db[plain])
        self._peaks = loudest[recording]

    def sound(self, tiles: Array, rows: Indices) -> NDArray[np.bool_]:
        """True for each token (n, columns, bands) of tiles (n, M, M, 1) that is not silent.

        PCEN has lost the levels that silence is told by: all of its tokens count as sound. In the
        mode `level` they are those re the followed level.
        """
        model = self._model
        if not self._store.in_decibels:
            return np.ones((len(tiles), model.columns, model.bands), bool)
        patches = patch_levels(
            self._levels(tiles, rows),
            bands=model.bands,
            columns=model.columns,
            strides=(model.frequency_stride, model.time_stride),
        )
        return is_sound(patches, self._peaks[rows], quiet_level(self._store.manifest.settings))

    def _levels(self, tiles: Array, rows: Indices) -> Array:
        store = self._store
        levels: Array = tiles[..., 0] * store.scales_db[rows, None, None]
        levels += store.offsets_db[rows, None, None]
        return levels
