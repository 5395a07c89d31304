"""Rows of tiles as the batches that objectives learn from: crops, views, pairs.

rows -> a crop of each tile -> the same moments in another view, recording or front end
"""

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import TrainSettings, UserError
from ulmo.dataset import Loudness
from ulmo.models.objectives.base import Side, TrainingBatch
from ulmo.pipelines.train.crops import Crop, Crops, Seconds, TileKey, keys_of, rows_of, views_of
from ulmo.pipelines.train.pairs import Pairs, Partners
from ulmo.preprocessing.distort import Distortion
from ulmo.preprocessing.store import TileStore
from ulmo.storage.names import path_of

# Settings that tiles of several front ends must share to show the same moments.
_SHARED = (
    *("sample_rate", "time_expansion", "full_scale", "hop_length", "tile_size", "overlap"),
    "channels",
)


class Feed:
    """Batches of a store's tiles; random choices depend on the seed and the batch number alone.

    `wants` contains `views` if an objective compares two views of a tile, and `frontends` if one
    compares front ends: those of the store, and of the stores of the same recordings in
    `settings.beside`. With `pairs`, some of the other views are of a paired recording: tiles of the
    rows `training` are compared with each other, and so are the rest.
    """

    def __init__(
        self,
        loudness: Loudness,
        settings: TrainSettings,
        *,
        wants: frozenset[str],
        pairs: Pairs | None = None,
        training: Indices | None = None,
    ) -> None:
        self._store = store = loudness.store
        self.loudness = loudness
        self.settings = settings
        frames, stride = settings.frames_of(loudness.model), loudness.model.time_stride
        self._crops = Crops(store, frames, stride)
        self._distortion = Distortion(store, settings.warp_spread, settings.tilt_db)
        self._views = _all_views(store)  # for each row, all its views
        self._compares = "views" in wants
        if self._compares and all(len(views) == 1 for views in self._views.values()):
            raise UserError(
                f"{store.folder} has no views, which the objective compares: prepare the tiles "
                "with --views 3, say"
            )
        self._partners = Partners(store, pairs, training) if pairs is not None else None
        self._stores = [store]
        self._places: list[dict[TileKey, list[int]]] = []
        if "frontends" in wants:
            self._stores += [_open_beside(store, path_of(folder)) for folder in settings.beside]
            self._places = [views_of(one) for one in self._stores]
            self._beside = [Crops(one, frames, stride) for one in self._stores]
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
        return rows[self._store.views[rows] == 0] if self._compares else rows

    def batches(
        self, rows: Sequence[Indices], first: int, *, compares: bool = False
    ) -> Generator[TrainingBatch]:
        """The batches of some rows each, numbered from `first` on; `compares` as in `batch`.

        A thread makes the next batch while the caller uses one. Close the iterator to stop it.
        """
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = None
            for number, some in enumerate(rows, first):
                ready, coming = coming, thread.submit(self.batch, some, number, compares=compares)
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()

    def batch(self, rows: Indices, number: int, *, compares: bool = False) -> TrainingBatch:
        """The batch of some rows; `number` is that of the step, or of a held-out batch.

        With `compares` it has other views even if no objective compares them.
        """
        choices, places = (
            np.random.default_rng([self.settings.seed, stream, number]) for stream in (3, 4)
        )
        others = None
        if compares or self._compares:
            pairs = [choices.permutation(self._views[int(row)])[[0, -1]] for row in rows]
            rows, others = np.array(pairs, np.int64).reshape(-1, 2).T  # one view twice if alone
        shares = places.random(len(rows))
        crops = [self._crops.at(int(row), share) for row, share in zip(rows, shares, strict=True)]
        tiles, valid = self._crops.read(crops)
        sound = self.loudness.sound(tiles, rows)
        weights = np.where(sound, 1, self.settings.silence_weight).astype(np.float32)
        return TrainingBatch(
            tiles=tf.constant(tiles),
            valid_frames=tf.constant(valid),
            token_weights=tf.constant(weights),
            edges=self._on_clocks(crops, [self._crops.edges(crop) for crop in crops]),
            other=None if others is None else self._other(crops, others, places),
            pair=self._pair(crops, choices) if self._places else None,
        )

    def _on_clocks(self, crops: Sequence[Crop], edges: Sequence[Seconds]) -> Any:
        """(n, columns + 1) float32: seconds as frames of view 0 from the beginning of each crop."""
        begun = np.array([[self._crops.span(crop)[0]] for crop in crops])
        frame_s = self._store.manifest.settings.frame_s
        return tf.constant((np.stack(edges) - begun) / frame_s, tf.float32)

    def _other(self, crops: Sequence[Crop], views: Indices, rng: np.random.Generator) -> Side:
        """For each crop, the same moments in a paired recording, or in another view of its tile."""
        found = []
        for crop, view in zip(crops, views, strict=True):
            paired = None
            if self._partners is not None and rng.random() < self.settings.pair_share:
                paired = self._partners.find(crop, self._crops, rng)
            found.append(paired or self._same(crop, int(view), rng))
        others, edges = zip(*found, strict=True)
        tiles, valid = self._crops.read(others)
        tiles = self._distortion(tiles, valid, rows_of(others), rng)
        return Side(
            tiles=tf.constant(tiles),
            valid_frames=tf.constant(valid),
            edges=self._on_clocks(crops, edges),
            frontend=tf.zeros(len(crops), tf.int32),
        )

    def _same(self, crop: Crop, view: int, rng: np.random.Generator) -> tuple[Crop, Seconds]:
        """The same moments in a view of a crop's tile, and the edges of its columns.

        Its columns begin elsewhere: up to half a column earlier or later.
        """
        begin, *_, end = edges = self._crops.edges(crop)
        shift = rng.uniform(-0.5, 0.5) * (end - begin) / (len(edges) - 1)
        other = self._crops.around(view, self._crops.middle(crop) + shift)
        return other, self._crops.edges(other)

    def _pair(self, crops: Sequence[Crop], rng: np.random.Generator) -> tuple[Side, Side]:
        """The same moments through two different front ends."""
        drawn = np.argsort(rng.random((len(crops), len(self._stores))), axis=1)[:, :2]
        return self._through(crops, drawn[:, 0]), self._through(crops, drawn[:, 1])

    def _through(self, crops: Sequence[Crop], frontends: NDArray[np.int64]) -> Side:
        """The moments of each crop through a front end of its own."""
        parts, edges = [], []
        keys = keys_of(self._store, rows_of(crops))
        for crop, key, number in zip(crops, keys, frontends, strict=True):
            own = self._beside[number]
            other = own.around(self._places[number][key][0], self._crops.middle(crop))
            parts.append(own.read([other]))
            edges.append(own.edges(other))
        tiles, valid = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Side(
            tiles=tf.constant(tiles),
            valid_frames=tf.constant(valid),
            edges=self._on_clocks(crops, edges),
            frontend=tf.constant(frontends, tf.int32),
        )


def _all_views(store: TileStore) -> dict[int, list[int]]:
    """The rows of all views of the tile of each row."""
    return {row: rows for rows in views_of(store).values() for row in rows}


def _open_beside(store: TileStore, folder: Path) -> TileStore:
    """Tiles of the same recordings through another front end; UserError if they do not match."""
    other = TileStore(folder)
    mine, its = store.manifest.settings, other.manifest.settings
    if differing := [name for name in _SHARED if getattr(mine, name) != getattr(its, name)]:
        raise UserError(
            f"{folder} was prepared with another {differing[0]} than {store.folder}: "
            "only the front end may differ"
        )
    if missing := views_of(store).keys() - views_of(other).keys():
        recording, _, tile = min(missing)
        raise UserError(f"{folder} has no tile {tile} of {recording}: prepare the same recordings")
    return other
