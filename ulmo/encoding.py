"""Frames to columns of tokens and back, in windows at fixed columns of the recording.

    levels (M, n), in blocks -> windows of WINDOW_COLUMNS columns and their halo -> ids

All windows have the same shape, and begin at the same columns however the frames arrive. Frames
that have not arrived are zeros, and only columns that do not depend on them are emitted. So a
column is computed from the same numbers in the same order, whether its recording is read whole or
live. The last columns depend on the recording's end; they come from one window that ends there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array, Ids
from ulmo.config import Cost, ModelSettings, decoder_cost, encoder_cost

# Token columns that are encoded or decoded at once: 4.8 s with the defaults. Clips of 5 and 10 s,
# frequent in corpora, have 29 and 60 certain columns: one window and two. With more columns, live
# sound would wait for a longer window; with fewer, the halo of four would cost more.
WINDOW_COLUMNS = 30


class Columns(NamedTuple):
    """Consecutive columns of the tokens of a recording."""

    ids: Ids  # (n, band)
    distances: Array  # (n, band)
    latents: Array | None = None  # (n, band, EMB), if the run returns them

    @classmethod
    def joined(cls, parts: Iterable["Columns"]) -> "Columns":
        """Ids and distances of parts, of which there is at least one, as one."""
        ids, distances, _ = zip(*parts, strict=True)
        return cls(np.concatenate(ids), np.concatenate(distances))


class EncodedStretch:
    """The columns of a stretch of sound, which are computed as they are read, and their place.

    column: the first one; the column nearest to the true time of the stretch.
    gap: columns between it and the stretch before, in which nothing was recorded.
    start: true time of the first sample, in seconds from the recording's first sample.
    columns, samples: their numbers; final when all columns were read.
    """

    def __init__(self, start: Fraction, column: int, gap: int) -> None:
        self.start, self.column, self.gap = start, column, gap
        self.columns = self.samples = 0
        self.parts: Iterator[Columns] = iter(())

    def count(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Pass on blocks (n,) of the samples, and count them."""
        for block in blocks:
            self.samples += len(block)
            yield block

    def __iter__(self) -> Iterator[Columns]:
        for part in self.parts:
            self.columns += len(part.ids)
            yield part


def encoding_cost(model: ModelSettings, frames_per_second: float, *, batch: int = 1) -> Cost:
    """What `encode_columns` costs, with `batch` windows at once."""
    before, after = halo_columns(model)
    frames = (before + WINDOW_COLUMNS + after) * model.time_stride
    return encoder_cost(
        model,
        frames=frames,
        kept=WINDOW_COLUMNS,
        frames_per_second=frames_per_second,
        batch=batch,
    )


def decoding_cost(model: ModelSettings, frames_per_second: float) -> Cost:
    """What `decode_stretches` costs, with one window at once."""
    columns = sum(model.decoder_time_context) + WINDOW_COLUMNS
    return decoder_cost(
        model, columns=columns, kept=WINDOW_COLUMNS, frames_per_second=frames_per_second
    )


def halo_columns(model: ModelSettings) -> tuple[int, int]:
    """Columns before and after a window that its own columns see."""
    before, after = (-(-frames // model.time_stride) for frames in model.time_context)
    return before, after


# Tiles (batch, M, frames, 1) to ids and distances (batch, columns, bands), and perhaps latents.
Run = Callable[[Array], Columns]


def ready_frames(model: ModelSettings) -> Callable[[int], int]:
    """A function that rounds a number of frames down to those that complete a column."""
    stride, after = model.time_stride, model.time_context[1]
    return lambda frames: max(frames - (frames - after) % stride, 0)


def encode_columns(
    blocks: Iterable[Array],
    run: Run,
    model: ModelSettings,
    *,
    batch_size: int = 1,
    eager: bool = False,
    executor: Executor | None = None,
    ahead: int = 0,
) -> Iterator[Columns]:
    """Columns of blocks (M, n) of normalised levels, each as soon as its window is complete.

    eager: emit each column as soon as it is certain; its window is then computed several times.
    batch_size: windows that are encoded at once.
    executor: calls `run` in its threads, for up to `ahead` batches while later blocks are awaited.

    None of the three changes the result.
    """
    pending: deque[tuple[list[slice], Callable[[], Columns]]] = deque()
    for tiles, kept in _works(blocks, _Windows(model), batch_size=batch_size, eager=eager):
        encoded = executor.submit(run, tiles).result if executor else partial(run, tiles)
        pending.append((kept, encoded))
        while len(pending) > ahead:
            yield from _columns(*pending.popleft())
    while pending:
        yield from _columns(*pending.popleft())


# A map over the first columns of windows, which may use threads.
Each = Callable[[Callable[[int], Array], Iterable[int]], Iterator[Array]]


def decode_stretches(
    ids: Ids,
    frames: int,
    gap: int,
    decode: Callable[[Ids], Array],
    model: ModelSettings,
    each: Each = map,
) -> Iterator[Array | int]:
    """Normalised levels (M, n) of each stretch of ids (time, band); for a gap, its frames.

    frames: of all ids; those of the last column may be fewer than the stride.
    gap: the id of `<gap>`.
    decode: tiles (1, M, frames, 1) of ids (1, columns, bands).
    each: `map`, or a map that uses threads.
    """
    is_gap = (ids == gap).all(axis=1)
    borders = np.flatnonzero(np.diff(is_gap)) + 1
    for first, last in pairwise([0, *borders.tolist(), len(ids)]):
        count = min(last * model.time_stride, frames) - first * model.time_stride
        if first < last and is_gap[first]:
            yield count
        elif first < last:
            blocks = _decode_columns(ids[first:last], decode, model, each)
            yield np.concatenate(list(blocks), axis=1)[:, :count]


def _decode_columns(
    ids: Ids,
    decode: Callable[[Ids], Array],
    model: ModelSettings,
    each: Each,
) -> Iterator[Array]:
    """Normalised levels of ids (time, band) of one stretch, in blocks (M, n)."""
    before, after = model.decoder_time_context

    def block(start: int) -> Array:
        first = max(start - before, 0)
        skipped = (start - first) * model.time_stride
        columns = min(WINDOW_COLUMNS, len(ids) - start)
        levels = decode(ids[None, first : start + WINDOW_COLUMNS + after])[0, :, skipped:, 0]
        return levels[:, : columns * model.time_stride]

    return each(block, range(0, len(ids), WINDOW_COLUMNS))


class _Work(NamedTuple):
    """Windows to encode, and the columns to keep of each."""

    tiles: Array  # (batch, M, frames, 1)
    kept: list[slice]  # columns, one slice for each window


def _columns(kept: list[slice], encoded: Callable[[], Columns]) -> Iterator[Columns]:
    """The columns to keep of each window."""
    ids, distances, latents = encoded()
    for index, part in enumerate(kept):
        some = None if latents is None else latents[index, part]
        yield Columns(ids[index, part], distances[index, part], some)


def _works(
    blocks: Iterable[Array], windows: "_Windows", *, batch_size: int, eager: bool
) -> Iterator[_Work]:
    for block in blocks:
        windows.add(block)
        while windows.complete >= batch_size:
            yield windows.take(batch_size)
        if eager and windows.certain > windows.given:
            yield windows.take(1)
    while windows.certain > windows.given:
        yield windows.take(max(min(windows.complete, batch_size), 1))
    if windows.columns > windows.given:
        yield windows.take_end()


class _Windows:
    """The frames that are still needed, and the number of columns that were emitted."""

    def __init__(self, model: ModelSettings) -> None:
        self._stride = model.time_stride
        self._after_frames = model.time_context[1]
        self._before, self._after = halo_columns(model)
        self._width = WINDOW_COLUMNS
        self._length = (self._before + self._width + self._after) * self._stride
        self._held = np.empty((model.tile_size, 0), np.float32)
        self._first = 0  # index of the first frame in `_held`
        self.given = 0  # columns that were emitted

    @property
    def _frames(self) -> int:
        return self._first + self._held.shape[1]

    @property
    def columns(self) -> int:
        """Columns that the frames fill; the last one may be partly filled."""
        return -(-self._frames // self._stride)

    @property
    def certain(self) -> int:
        """Columns that no later frame can change."""
        return max((self._frames - self._after_frames) // self._stride, 0)

    @property
    def complete(self) -> int:
        """Windows whose remaining columns are all certain."""
        return self.certain // self._width - self.given // self._width

    def add(self, block: Array) -> None:
        """Append frames (M, n)."""
        self._held = np.concatenate([self._held, block], axis=1)

    def take(self, count: int) -> _Work:
        """The columns of `count` windows that are certain and were not emitted."""
        first = self.given // self._width
        starts = [self._start(window) for window in range(first, first + count)]
        tiles = np.stack([self._tile(start * self._stride, self._length) for start in starts])
        kept = []
        for index, start in enumerate(starts):
            end = min(self.certain, (first + index + 1) * self._width)
            kept.append(slice(self.given - start, end - start))
            self.given = end
        self._forget()
        return _Work(tiles, kept)

    def take_end(self) -> _Work:
        """The last columns, with zeros behind the end of the recording, as in a tile."""
        start = max(self.given - self._before, 0)
        frames = (self.columns + self._after - start) * self._stride
        kept = slice(self.given - start, self.columns - start)
        self.given = self.columns
        return _Work(self._tile(start * self._stride, frames)[None], [kept])

    def _start(self, window: int) -> int:
        return max(window * self._width - self._before, 0)

    def _tile(self, start: int, frames: int) -> Array:
        """(M, frames, 1) from frame `start` on; zeros for frames that have not arrived."""
        tile = np.zeros((len(self._held), frames, 1), np.float32)
        held = self._held[:, start - self._first : start - self._first + frames]
        tile[:, : held.shape[1], 0] = held
        return tile

    def _forget(self) -> None:
        """Drop the frames that no later window needs."""
        needed = self._start(self.given // self._width) * self._stride
        self._held = self._held[:, needed - self._first :]
        self._first = needed
