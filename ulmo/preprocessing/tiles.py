"""Cut frames into tiles.

A tile is [bin, frame], bin 0 the lowest frequency. Tile i starts at frame
i * (tile_size - overlap). The last one is filled up; `valid_frames` says from where.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array


class Tile(NamedTuple):
    """One square of a spectrogram."""

    values: Array  # (M, M)
    start_frame: int
    valid_frames: int  # from the left; the frames after them are filling


def cut_tiles(
    blocks: Iterable[Array], *, tile_size: int, overlap: int = 0, fill: float
) -> Iterator[Tile]:
    """Cut blocks (M, n) of a spectrogram into tiles (M, M), holding one tile and one block.

    `fill` is the value of the frames after the end: the level of silence. The caller may change a
    yielded tile.
    """
    tile = np.empty((tile_size, tile_size), np.float32)
    start = filled = 0
    for block in blocks:
        taken = 0
        while taken < block.shape[1]:
            count = min(block.shape[1] - taken, tile_size - filled)
            tile[:, filled : filled + count] = block[:, taken : taken + count]
            taken, filled = taken + count, filled + count
            if filled == tile_size:
                following = np.empty_like(tile)
                following[:, :overlap] = tile[:, tile_size - overlap :]
                yield Tile(tile, start, tile_size)
                tile, filled = following, overlap
                start += tile_size - overlap
    if filled > (overlap if start else 0):
        tile[:, filled:] = fill
        yield Tile(tile, start, filled)


def cut_tiles_at(
    blocks: Iterable[Array], starts: Iterable[int], *, tile_size: int, fill: float
) -> Iterator[Tile]:
    """Cut tiles (M, M) that begin at the given frames, in rising order, out of blocks (M, n).

    A tile that would begin after the end begins at the last frame. Without any frame (a few
    samples may vanish at a lower rate), there is no tile.
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
