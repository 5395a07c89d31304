"""A trained model becomes a bundle, and the bundle is proved against the model."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.bundle.bundle import build_bundle, write_bundle
from ulmo.bundle.card import Card
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import stages_of
from ulmo.config import JobError, ModelSettings
from ulmo.encoding import Columns
from ulmo.evaluation.unk import unk_thresholds
from ulmo.pipelines.dataset import batches
from ulmo.pipelines.measure import Model, Passed
from ulmo.pipelines.train.ties import TIE, is_tie
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

CHECK_TILES = 64
SHORT_TILES = 16
"""More of those with the fewest frames of sound."""
CHECK_BATCH = 16
UNK_TILES = 2000
"""Tiles whose vectors tell the thresholds of `<unk>`: 765 for each of 512 codes, in seconds."""

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
    training: Indices,
    card: Card,
) -> Agreement:
    """Build the bundle, compare its tokens with the model's, and write it.

    Compared are CHECK_TILES of the rows, evenly spread, those with the least sound in them, and
    made ones of pure silence. Raises ExportError, and writes nothing, if any token differs that
    is not a tie, or a weight is not finite. The thresholds of `<unk>` are those of the tokenizer's
    own distances on the `training` rows.
    """
    build = partial(
        build_bundle,
        prep=store.manifest.settings,
        normalization=store.manifest.normalization,
        model=settings,
        weights=weights,
        card=card,
    )
    none = np.zeros((settings.codebook_size, len(UNK_QUANTILES)), np.float32)
    try:
        tokenizer = Tokenizer(build(thresholds=none).at(folder))
    except ValueError as error:
        raise ExportError(f"{folder}: {error}") from None
    tokens = differing = wrong = 0
    for tiles, valid in _check_tiles(store, rows):
        expected = model(tiles, valid)
        got = tokenizer.encode_tiles(tiles, valid)
        tokens += got.ids.size
        differing += int((expected.ids != got.ids).sum())
        wrong += _count_wrong(expected, got, stages_of(settings, weights))
    if wrong:
        raise ExportError(f"{folder}: {wrong} of {tokens} tokens are not the model's")
    write_bundle(folder, build(thresholds=measure_thresholds(tokenizer, store, training)))
    return Agreement(tokens, differing)


def _count_wrong(expected: Passed, got: Columns, stages: list[Tiles]) -> int:
    """Tokens that differ, and are no ties. One stage's ties are told by their distances."""
    differs = expected.ids != got.ids
    if len(stages) == 1:
        far = np.abs(expected.distances - got.distances) >= TIE * stages[0].shape[1]
        return int((differs & far).sum())
    if expected.latents is None:
        return int(differs.sum())
    pairs = zip(expected.latents[differs], expected.ids[differs], got.ids[differs], strict=True)
    return sum(not is_tie(latent, stages, one, other) for latent, one, other in pairs)


def measure_thresholds(tokenizer: Tokenizer, store: TileStore, rows: Indices) -> Tiles:
    """Thresholds of `<unk>` (CB, levels), from at most UNK_TILES of the rows, evenly spread.

    A tie's width lies over them: the vectors of digital silence are all one, and no other
    processor's rounding may put them beyond their own distance.
    """
    model = tokenizer.manifest.model
    ids, distances = [], []
    for part in batches(_spread(rows, UNK_TILES), CHECK_BATCH):
        valid = store.valid_frames[part]
        columns = tokenizer.encode_tiles(store.read(part), valid)
        inside = np.arange(model.columns) * model.time_stride < valid[:, None]
        ids.append(columns.ids[inside].ravel())
        distances.append(columns.distances[inside].ravel())
    exact = unk_thresholds(
        np.concatenate(ids), np.concatenate(distances), model.codebook_size, UNK_QUANTILES
    )
    return exact + np.float32(TIE * model.embedding_dim)


def check_rows(store: TileStore, rows: Indices) -> Indices:
    """Rows to compare: spread over all of them, and those with the fewest frames of sound."""
    shortest = np.argsort(store.valid_frames[rows], kind="stable")[:SHORT_TILES]
    return np.union1d(_spread(rows, CHECK_TILES), rows[shortest])


def _spread(rows: Indices, most: int) -> Indices:
    """At most so many of the rows, evenly spread over them."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def _check_tiles(store: TileStore, rows: Indices) -> Iterator[tuple[Tiles, Frames]]:
    """Batches of tiles (n, M, M, 1), and how many of their frames are sound."""
    for part in batches(check_rows(store, rows), CHECK_BATCH):
        yield store.read(part), store.valid_frames[part]
    size = store.tile_size
    constants = store.manifest.normalization or Normalization(offset=0.0, scale=1.0)
    level = quiet_level(store.manifest.settings)
    valid = np.array([1, size // 2, size], np.int32)
    yield constants.apply(np.full((len(valid), size, size, 1), level, np.float32)), valid
