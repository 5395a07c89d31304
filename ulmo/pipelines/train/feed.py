"""Rows of tiles as the batches that objectives learn from: views, and pairs of front ends."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.config import TrainSettings, UserError
from ulmo.dataset import Loudness
from ulmo.models.objectives.base import Side, TrainingBatch
from ulmo.preprocessing.store import TileStore
from ulmo.storage.names import path_of

_Key = tuple[str, int, int]
# Settings that tiles of several front ends must share to show the same moments.
_SHARED = (
    *("sample_rate", "time_expansion", "full_scale", "hop_length", "tile_size", "overlap"),
    "channels",
)


class Feed:
    """Batches of a store's tiles; random choices depend on the seed and the batch number alone.

    `wants` contains `views` if an objective compares two views of a tile, and `frontends` if one
    compares front ends: those of the store, and of the stores of the same recordings in
    `settings.beside`.
    """

    def __init__(
        self, loudness: Loudness, settings: TrainSettings, *, wants: frozenset[str]
    ) -> None:
        self._store = store = loudness.store
        self._loudness = loudness
        self._settings = settings
        self._paces = _paces(store)
        self._views = _views(store) if "views" in wants else None  # for each row, all its views
        self._stores = [store]
        self._places: list[dict[_Key, int]] = []
        if "frontends" in wants:
            self._stores += [_open_beside(store, path_of(folder)) for folder in settings.beside]
            self._places = [_plain_rows(one) for one in self._stores]
            if len(self.frontends) < 2:
                raise UserError(
                    "the objective compares front ends: name tiles of the same recordings through "
                    "other front ends with --beside TILES_DIR, once for each"
                )
            if twice := [name for name, count in Counter(self.frontends).items() if count > 1]:
                raise UserError(
                    f"the front end {twice[0]} is there twice: leave one of its folders out"
                )

    @property
    def frontends(self) -> list[str]:
        """Names of the front ends, in the order of their numbers in a batch."""
        return [store.manifest.settings.frontend for store in self._stores]

    def rows(self, rows: Indices) -> Indices:
        """The rows of an epoch: view 0 only, if another view is drawn for each tile."""
        return rows if self._views is None else rows[self._store.views[rows] == 0]

    def batch(self, rows: Indices, number: int) -> TrainingBatch:
        """The batch of some rows; `number` is that of the step, or of a held-out batch."""
        rng = np.random.default_rng([self._settings.seed, 3, number])
        other = None
        if self._views is not None:
            pairs = [rng.permutation(self._views[int(row)])[[0, -1]] for row in rows]
            rows, others = np.array(pairs, np.int64).reshape(-1, 2).T  # one view twice if alone
            tiles, frontends = self._store.read(others), np.zeros(len(others), np.int32)
            other = _side(tiles, self._store.valid_frames[others], self._paces[others], frontends)
        tiles, valid = self._store.read(rows), self._store.valid_frames[rows]
        sound = self._loudness.sound(tiles, rows)
        weights = np.where(sound, 1, self._settings.silence_weight).astype(np.float32)
        return TrainingBatch(
            tiles=tf.constant(tiles),
            valid_frames=tf.constant(valid),
            token_weights=tf.constant(weights),
            pace=tf.constant(self._paces[rows]),
            other=other,
            pair=self._pair(rows, rng) if self._places else None,
        )

    def _pair(self, rows: Indices, rng: np.random.Generator) -> tuple[Side, Side]:
        """Each tile through two different front ends."""
        drawn = np.argsort(rng.random((len(rows), len(self._stores))), axis=1)[:, :2]
        keys = _keys(self._store, rows)
        return self._through(keys, drawn[:, 0]), self._through(keys, drawn[:, 1])

    def _through(self, keys: list[_Key], frontends: NDArray[np.int64]) -> Side:
        """Tiles, each through its own front end."""
        found = [
            (self._stores[number], self._places[number][key])
            for number, key in zip(frontends, keys, strict=True)
        ]
        tiles = np.concatenate([store.read([row]) for store, row in found])
        valid = np.array([store.valid_frames[row] for store, row in found], np.int32)
        return _side(tiles, valid, np.ones(len(keys), np.float32), frontends.astype(np.int32))


def _side(*parts: NDArray[Any]) -> Side:
    return Side(*map(tf.constant, parts))


def _views(store: TileStore) -> dict[int, list[int]]:
    """The rows of all views of the tile of each row; UserError if no tile has two."""
    groups: dict[_Key, list[int]] = {}
    for row, key in enumerate(_keys(store, np.arange(len(store)))):
        groups.setdefault(key, []).append(row)
    if all(len(group) == 1 for group in groups.values()):
        raise UserError(
            f"{store.folder} has no views, which the objective compares: prepare the tiles "
            "with --views 3, say"
        )
    return {row: group for group in groups.values() for row in group}


def _keys(store: TileStore, rows: Indices) -> list[_Key]:
    """What identifies a tile: recording, channel (-1 for the mean of all) and number."""
    table = store.table.select(["channel", "tile"]).take(rows)
    channels, tiles = table["channel"].fill_null(-1).to_pylist(), table["tile"].to_pylist()
    return list(zip(store.recordings[rows].tolist(), channels, tiles, strict=True))


def _plain_rows(store: TileStore) -> dict[_Key, int]:
    rows = np.flatnonzero(store.views == 0)
    return dict(zip(_keys(store, rows), rows.tolist(), strict=True))


def _paces(store: TileStore) -> Array:
    """For each row, the duration of one of its frames in frames of view 0."""
    settings = store.manifest.settings
    paces = np.ones(len(store), np.float32)
    for row in np.flatnonzero(store.views):
        view: dict[str, Any] = json.loads(store.table["augmentation"][int(row)].as_py())
        hop, rate = float(view["hop_length"]), float(view["sample_rate"])
        paces[row] = hop / settings.hop_length * settings.sample_rate / rate
    return paces


def _open_beside(store: TileStore, folder: Path) -> TileStore:
    """Tiles of the same recordings through another front end; UserError if they do not match."""
    other = TileStore(folder)
    mine, its = store.manifest.settings, other.manifest.settings
    if differing := [name for name in _SHARED if getattr(mine, name) != getattr(its, name)]:
        raise UserError(
            f"{folder} was prepared with another {differing[0]} than {store.folder}: "
            "only the front end may differ"
        )
    if missing := _plain_rows(store).keys() - _plain_rows(other).keys():
        recording, _, tile = min(missing)
        raise UserError(f"{folder} has no tile {tile} of {recording}: prepare the same recordings")
    return other
