"""Tiles through a model, tallied: the same figures in training and in `ulmo eval`."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.config import ModelSettings
from ulmo.evaluation.tally import Batch, Tally
from ulmo.pipelines.dataset import Loudness, batches
from ulmo.preprocessing.store import TileStore


class Passed(NamedTuple):
    """What a model made of tiles (n, M, M, 1)."""

    reconstructions: Array  # (n, M, M, 1)
    ids: NDArray[np.int32]  # (n, columns, bands)
    distances: Array  # (n, columns, bands)
    latents: Array | None = None  # (n, columns, bands, EMB), where the model tells them


Model = Callable[[Array, NDArray[np.int32]], Passed]
"""Tiles (n, M, M, 1) and their valid frames (n,), through encoder, codebook and decoder."""


def measured(
    model: Model,
    store: TileStore,
    indices: Indices,
    loudness: Loudness,
    *,
    batch_size: int,
) -> Iterator[Batch]:
    """Batches of tiles, and what the model made of them."""
    for rows in batches(indices, batch_size):
        tiles, valid = store.read(rows), store.valid_frames[rows]
        passed = model(tiles, valid)
        yield Batch(
            tiles=tiles,
            reconstructions=passed.reconstructions,
            ids=passed.ids,
            distances=passed.distances,
            valid_frames=valid,
            scales_db=store.scales_db[rows],
            sound=loudness.sound(tiles, rows),
        )


def tallies(
    model: Model,
    store: TileStore,
    indices: Indices,
    loudness: Loudness,
    settings: ModelSettings,
    *,
    batch_size: int,
) -> Iterator[Tally]:
    """One tally a batch."""
    for batch in measured(model, store, indices, loudness, batch_size=batch_size):
        yield Tally.of(batch, settings)
