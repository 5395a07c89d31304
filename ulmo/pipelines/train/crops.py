"""Crops of tiles: some consecutive frames, and when their columns begin and end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.preprocessing.augment import paces
from ulmo.preprocessing.store import TileStore

Seconds = NDArray[np.float64]
TileKey = tuple[str, int, int]  # recording, channel (-1 for the mean of all) and number of a tile


class Crop(NamedTuple):
    """Frames of a tile, from `first` on."""

    row: int  # of the tile in tiles.parquet
    first: int  # frame of the tile


class Crops:
    """Crops of `frames` frames of a store's tiles, cut into columns of `time_stride` frames.

    A tile with fewer valid frames is cropped from its first frame on. Other crops have no padding.
    """

    def __init__(self, store: TileStore, frames: int, time_stride: int) -> None:
        self._store = store
        self.frames = frames
        self._time_stride = time_stride
        self._starts: Seconds = store.table["start_s"].to_numpy()
        settings = store.manifest.settings
        # (n,) of each row
        self._frame_s = paces(store.table["augmentation"], settings) * settings.frame_s

    def at(self, row: int, share: float) -> Crop:
        """The crop at a share of all places in a tile: 0 is the first, and 1 is not reached."""
        return Crop(row, int(share * (self._last(row) + 1)))

    def around(self, row: int, second: float) -> Crop:
        """The crop of a tile whose middle is as near as can be to a second of its recording."""
        middle = (second - self._starts[row]) / self._frame_s[row]
        return Crop(row, min(max(round(middle - self.frames / 2), 0), self._last(row)))

    def valid_frames(self, crop: Crop) -> int:
        """Frames of a crop that are no filling."""
        return min(max(int(self._store.valid_frames[crop.row]) - crop.first, 0), self.frames)

    def edges(self, crop: Crop) -> Seconds:
        """(columns + 1,): seconds of the recording at which columns begin, and the last ends."""
        columns = -(-self.frames // self._time_stride)
        frames = crop.first + self._time_stride * np.arange(columns + 1)
        seconds: Seconds = self._starts[crop.row] + frames * self._frame_s[crop.row]
        return seconds

    def middle(self, crop: Crop) -> float:
        """The second of the recording in the middle of a crop."""
        middle = (crop.first + self.frames / 2) * self._frame_s[crop.row]
        return float(self._starts[crop.row] + middle)

    def span(self, crop: Crop) -> tuple[float, float]:
        """Seconds of the recording at which a crop begins, and at which its valid frames end."""
        begin = self._starts[crop.row] + crop.first * self._frame_s[crop.row]
        return float(begin), float(begin + self.valid_frames(crop) * self._frame_s[crop.row])

    def read(self, crops: Sequence[Crop]) -> tuple[Array, NDArray[np.int32]]:
        """Their values (n, M, frames, 1), and their valid frames (n,)."""
        tiles = self._store.read(crop.row for crop in crops)
        cut = [
            tile[:, crop.first : crop.first + self.frames]
            for tile, crop in zip(tiles, crops, strict=True)
        ]
        return np.stack(cut), np.array([self.valid_frames(crop) for crop in crops], np.int32)

    def _last(self, row: int) -> int:
        return max(int(self._store.valid_frames[row]) - self.frames, 0)


def rows_of(crops: Sequence[Crop]) -> Indices:
    """The rows of the tiles of some crops."""
    return np.array([crop.row for crop in crops], np.int64)


def keys_of(store: TileStore, rows: Indices) -> list[TileKey]:
    """The tiles that some rows are views of."""
    table = store.table.select(["channel", "tile"]).take(rows)
    channels, tiles = table["channel"].fill_null(-1).to_pylist(), table["tile"].to_pylist()
    return list(zip(store.recordings[rows].tolist(), channels, tiles, strict=True))


def views_of(store: TileStore) -> dict[TileKey, list[int]]:
    """The rows of all views of each tile, in the order of the views: the tile itself is first."""
    order = np.argsort(store.views, kind="stable")
    views: dict[TileKey, list[int]] = {}
    for row, key in zip(order.tolist(), keys_of(store, order), strict=True):
        views.setdefault(key, []).append(row)
    return views
