"""A trained model becomes a bundle, and the bundle is proved against the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle import build_bundle, write_bundle
from ulmo.card import Card
from ulmo.config import JobError, ModelSettings
from ulmo.pipelines.data import Indices, batches
from ulmo.pipelines.measure import Model
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

TIE = 3e-6
"""Of a squared distance, for each dimension of the embedding.

What float32 sums in another order may differ by: 1e-4 at 32 dimensions (1e-6 was seen).
"""
CHECK_TILES = 64
SHORT_TILES = 16
"""More of those with the fewest frames of sound."""
CHECK_BATCH = 16

Tiles = NDArray[np.float32]
Frames = NDArray[np.int32]


class Agreement(NamedTuple):
    """Tokens of the bundle beside those of the model, on real tiles."""

    tokens: int
    differing: int
    """All of them ties: both codes are equally near, up to TIE."""


class ExportError(JobError):
    """The bundle does not give the model's tokens."""


def export(
    folder: Path,
    model: Model,
    weights: dict[str, NDArray[np.float32]],
    settings: ModelSettings,
    store: TileStore,
    rows: Indices,
    card: Card,
) -> Agreement:
    """Build the bundle, compare its tokens with the model's, and write it.

    Compared are CHECK_TILES of the rows, evenly spread, those with the least sound in them, and
    made ones of pure silence. Raises ExportError, and writes nothing, if any token differs that
    is not a tie, or a weight is not finite.
    """
    try:
        built = build_bundle(
            prep=store.manifest.settings,
            normalization=store.manifest.normalization,
            model=settings,
            weights=weights,
            card=card,
        )
    except ValueError as error:
        raise ExportError(f"{folder}: {error}") from None
    tokenizer = Tokenizer(built.at(folder))
    tokens = differing = wrong = 0
    for tiles, valid in _check_tiles(store, rows):
        expected = model(tiles, valid)
        got = tokenizer.encode_tiles(tiles, valid)
        differs = expected.ids != got.ids
        far = np.abs(expected.distances - got.distances) >= TIE * settings.embedding_dim
        tokens += differs.size
        differing += int(differs.sum())
        wrong += int((differs & far).sum())
    if wrong:
        raise ExportError(f"{folder}: {wrong} of {tokens} tokens are not the model's")
    write_bundle(folder, built)
    return Agreement(tokens, differing)


def check_rows(store: TileStore, rows: Indices) -> Indices:
    """Rows to compare: spread over all of them, and those with the fewest frames of sound."""
    spread = np.linspace(0, len(rows) - 1, min(len(rows), CHECK_TILES)).astype(np.int64)
    shortest = np.argsort(store.valid_frames[rows], kind="stable")[:SHORT_TILES]
    return rows[np.union1d(spread, shortest)]


def _check_tiles(store: TileStore, rows: Indices) -> Iterator[tuple[Tiles, Frames]]:
    """Batches of tiles (n, M, M, 1), and how many of their frames are sound."""
    for part in batches(check_rows(store, rows), CHECK_BATCH):
        yield store.read(part), store.valid_frames[part]
    size = store.tile_size
    constants = store.manifest.normalization or Normalization(offset=0.0, scale=1.0)
    level = quiet_level(store.manifest.settings)
    valid = np.array([1, size // 2, size], np.int32)
    yield constants.apply(np.full((len(valid), size, size, 1), level, np.float32)), valid
