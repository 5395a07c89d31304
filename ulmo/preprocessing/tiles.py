"""Frames to tiles, and back.

A tile is [bin, frame], bin 0 the lowest frequency. Tile i starts at frame
i * (tile_size - overlap); the last one is filled up, and its valid frames are noted.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Tile(NamedTuple):
    """One square of a spectrogram."""

    values: Array  # (M, M)
    start_frame: int
    valid_frames: int
    """Frames from the left that are sound; what follows is filling."""


def count_tiles(frames: int, tile_size: int, overlap: int = 0) -> int:
    """Tiles that cover so many frames: no frame is left out, no tile is only repetition."""
    if frames <= 0:
        return 0
    return 1 + max(0, -(-(frames - tile_size) // (tile_size - overlap)))


def cut_tiles(
    blocks: Iterable[Array], *, tile_size: int, overlap: int = 0, fill: float
) -> Iterator[Tile]:
    """Cut blocks (M, n) of a spectrogram into tiles (M, M); hold no more than a tile and a block.

    `fill` is the value of the frames behind the end: the floor, which is silence.
    """
    held = np.empty((tile_size, 0), np.float32)
    start = 0
    fresh = 0  # frames in `held` that no tile has shown yet
    for block in blocks:
        held = np.concatenate([held, block], axis=1)
        fresh += block.shape[1]
        while held.shape[1] >= tile_size:
            yield Tile(np.ascontiguousarray(held[:, :tile_size]), start, tile_size)
            start += tile_size - overlap
            held = held[:, tile_size - overlap :]
            fresh = held.shape[1] - overlap
    if fresh > 0:
        valid = held.shape[1]
        values = np.full((tile_size, tile_size), fill, np.float32)
        values[:, :valid] = held
        yield Tile(values, start, valid)


def cut_tiles_at(
    blocks: Iterable[Array], starts: Iterable[int], *, tile_size: int, fill: float
) -> Iterator[Tile]:
    """Cut tiles (M, M) that begin at given frames, in rising order, out of blocks (M, n).

    One that would begin behind the end begins at the last frame. Where there is no frame at all
    (of a few samples, nothing may be left at a lower rate), there is no tile.
    """
    stream = iter(blocks)
    held = np.empty((tile_size, 0), np.float32)
    first = 0  # the frame that `held` begins with
    for start in starts:
        while first + held.shape[1] < start + tile_size:
            block = next(stream, None)
            if block is None:
                break
            skipped = max(min(start - first, held.shape[1] - 1), 0)
            held = np.concatenate([held[:, skipped:], block], axis=1)
            first += skipped
        if not held.shape[1]:
            return
        begin = min(start - first, held.shape[1] - 1)
        found = held[:, begin : begin + tile_size]
        values = np.full((tile_size, tile_size), fill, np.float32)
        values[:, : found.shape[1]] = found
        yield Tile(values, first + begin, found.shape[1])


def join_tiles(tiles: Iterable[Tile], *, overlap: int = 0) -> Array:
    """The spectrogram (M, frames) that was cut: overlaps shown once, filling dropped."""
    pieces = [
        tile.values[:, (overlap if tile.start_frame else 0) : tile.valid_frames] for tile in tiles
    ]
    return np.concatenate(pieces, axis=1)
