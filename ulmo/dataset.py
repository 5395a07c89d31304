"""Tiles for training and evaluation: split by recording, in reproducible order, and measured.

rows of tiles.parquet -> batches of tiles -> model -> Tally
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.config import ModelSettings
from ulmo.evaluation.silence import FLOOR_MARGIN_DB, is_sound, patch_levels
from ulmo.evaluation.tally import MeasuredBatch, Tally
from ulmo.preprocessing.normalize import quiet_level
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer


class Split(NamedTuple):
    """Rows of tiles.parquet; no recording is on both sides."""

    train: Indices  # all views of a tile
    validation: Indices  # view 0 only: the tiles themselves


def held_out(recordings: Iterable[str], fraction: float, seed: int) -> set[str]:
    """A fraction of the different recordings: at least one if it is above 0, but never all."""
    names = sorted(set(recordings))
    count = 0
    if fraction > 0 and len(names) > 1:
        count = min(max(round(len(names) * fraction), 1), len(names) - 1)
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    return {names[place] for place in order[:count]}


def split_by_recording(store: TileStore, fraction: float, seed: int) -> Split:
    """Hold out a fraction of the recordings, with all of their tiles."""
    chosen = np.isin(store.recordings, sorted(held_out(store.recordings, fraction, seed)))
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen & (store.views == 0)))


def has_sound(store: TileStore, rows: Indices) -> bool:
    """Whether any cell of some tiles is louder than digital silence.

    PCEN keeps no levels, but makes of silence tiles of one value.
    """
    if not store.in_decibels:
        return any(np.ptp(store.read([row])) > 0 for row in rows)
    least = quiet_level(store.manifest.settings) + FLOOR_MARGIN_DB
    return bool((store.peaks_db[rows] > least).any())


def shuffled(indices: Indices, *, seed: int, epoch: int) -> Indices:
    """The order of one epoch. It depends on the seed and the epoch alone: a run can be resumed."""
    order: Indices = np.random.default_rng([seed, 1, epoch]).permutation(indices)
    return order


def batches(indices: Indices, batch_size: int) -> Iterator[Indices]:
    """Consecutive pieces; the last may be smaller."""
    for start in range(0, len(indices), batch_size):
        yield indices[start : start + batch_size]


class Loudness:
    """Finds the tokens of a store's tiles that are sound, relative to each recording's peak."""

    def __init__(self, store: TileStore, model: ModelSettings) -> None:
        self.store = store
        self.model = model
        names, recording = np.unique(store.recordings, return_inverse=True)
        peaks = np.full(len(names), -np.inf, np.float32)
        if store.in_decibels:
            plain = store.views == 0
            np.maximum.at(peaks, recording[plain], store.peaks_db[plain])
        self._peaks = peaks[recording]

    def sound(self, tiles: Array, rows: Indices) -> NDArray[np.bool_]:
        """Whether each token (n, columns, bands) of tiles (n, M, frames, 1) is sound.

        PCEN keeps no absolute levels: there, all tokens count as sound. With the normalisation
        `level`, levels are relative to the tracked level.
        """
        model, store = self.model, self.store
        columns = -(-tiles.shape[2] // model.time_stride)
        if not store.in_decibels:
            return np.ones((len(tiles), columns, model.bands), bool)
        levels: Array = tiles[..., 0] * store.scales_db[rows, None, None]
        levels += store.offsets_db[rows, None, None]
        patches = patch_levels(
            levels,
            bands=model.bands,
            columns=columns,
            strides=(model.frequency_stride, model.time_stride),
        )
        return is_sound(patches, self._peaks[rows], quiet_level(store.manifest.settings))


class ModelOutput(NamedTuple):
    """The output of a model for tiles (n, M, M, 1)."""

    reconstructions: Array  # (n, M, M, 1)
    ids: NDArray[np.int32]  # (n, columns, bands)
    distances: Array  # (n, columns, bands)
    latents: Array | None = None  # (n, columns, bands, EMB), if the model gives them

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, tiles: Array, valid_frames: NDArray[np.int32]
    ) -> "ModelOutput":
        """Tiles through a tokenizer: encode, quantise, decode."""
        columns = tokenizer.encode_tiles(tiles, valid_frames)
        decoded = tokenizer.decode_ids(columns.ids)[:, :, : tiles.shape[2]]
        return cls(decoded, columns.ids, columns.distances)


# Tiles (n, M, M, 1) and their valid frames (n,), through encoder, codebook and decoder.
TileModel = Callable[[Array, NDArray[np.int32]], ModelOutput]


def tallies(
    model: TileModel, loudness: Loudness, indices: Indices, *, batch_size: int
) -> Iterator[Tally]:
    """A tally for each batch of tiles: the same figures in training and in `ulmo eval`."""
    store = loudness.store
    for rows in batches(indices, batch_size):
        tiles, valid = store.read(rows), store.valid_frames[rows]
        output = model(tiles, valid)
        batch = MeasuredBatch(
            tiles=tiles,
            reconstructions=output.reconstructions,
            ids=output.ids,
            distances=output.distances,
            valid_frames=valid,
            scales_db=store.scales_db[rows],
            sound=loudness.sound(tiles, rows),
        )
        yield Tally.of(batch, loudness.model)
