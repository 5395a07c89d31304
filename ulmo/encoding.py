"""Frames to columns of tokens and back, in windows at fixed columns of the recording.

    levels (M, n), in blocks -> windows of some columns and their halo -> ids

A column is computed from the same numbers in the same order, whether its recording is read whole or
live. Frames that have not arrived are zeros, and only columns that do not depend on them are
emitted. The last columns depend on the recording's end; they come from one window that ends there.

`is_any_width` asks the machine whether the bits of a column depend on the width of its window. If
so, all windows have the same shape, and begin at the same columns however the frames arrive. If
not, a window is no wider than what is there, so that a short recording or a live column costs less.
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
# frequent in corpora, have 29 and 60 certain columns: one window and two. With more columns, few
# threads would share a short recording; with fewer, the halo would cost more.
WINDOW_COLUMNS = 30
_WINDOW_FRAMES = 16  # of each of these columns; with smaller time strides, a window has more
_MOST_WIDER = 4
_LEAST_COLUMNS = 4  # of a window, with its halo: a product of one row takes another path
_TRIED = (1, 2, 3, 5, 11)  # columns of the windows that `is_any_width` compares


class Columns(NamedTuple):
    """Consecutive columns of the tokens of a recording."""

    ids: Ids  # (n, band)
    distances: Array  # (n, band)
    latents: Array | None = None  # (n, band, EMB), if the run returns them

    @classmethod
    def silent(cls, gap: int, bands: int, columns: int) -> "Columns":
        """Columns in which nothing was recorded; `gap` is the id of `<gap>`."""
        shape = (columns, bands)
        return cls(np.full(shape, gap, np.int32), np.zeros(shape, np.float32))

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


def window_columns(model: ModelSettings, *, any_width: bool) -> int:
    """Columns of a whole window, without its halo."""
    wider = _WINDOW_FRAMES // model.time_stride if any_width else 1
    return WINDOW_COLUMNS * min(max(wider, 1), _MOST_WIDER)


def encoding_cost(model: ModelSettings, frames_per_second: float, *, batch: int = 1) -> Cost:
    """What `encode_columns` costs, with `batch` windows at once."""
    before, after = halo_columns(model)
    columns = window_columns(model, any_width=True)
    return encoder_cost(
        model,
        frames=(before + columns + after) * model.time_stride,
        kept=columns,
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


def is_any_width(run: Run, model: ModelSettings) -> bool:
    """Whether the columns of windows of several widths, in several places, have equal bits.

    ONNX Runtime adds the terms of a number in one order for any width where it has kernels for
    blocks of channels (x86 with AVX), and may not elsewhere. The order does not depend on the
    terms, so noise shows it.
    """
    (before, after), stride = halo_columns(model), model.time_stride
    columns = before + window_columns(model, any_width=True) + after
    shape = (1, model.tile_size, columns * stride, 1)
    tiles = np.random.default_rng(0).standard_normal(shape, np.float32)
    whole = run(tiles)
    for start, kept in enumerate(_TRIED):
        end = min(max(start + before + kept + after, start + _LEAST_COLUMNS), columns)
        part = run(np.ascontiguousarray(tiles[:, :, start * stride : end * stride]))
        own = slice(before if start else 0, before + kept)
        there = slice(start + own.start, start + own.stop)
        for name in ("ids", "distances"):
            if not np.array_equal(getattr(part, name)[:, own], getattr(whole, name)[:, there]):
                return False
    return True


def ready_frames(model: ModelSettings) -> Callable[[int], int]:
    """A function that rounds a number of frames down to those that complete a column."""
    stride, after = model.time_stride, model.time_context[1]
    return lambda frames: max(frames - (frames - after) % stride, 0)


def encode_columns(
    blocks: Iterable[Array],
    run: Run,
    model: ModelSettings,
    *,
    any_width: bool = False,
    batch_size: int = 1,
    eager: bool = False,
    executor: Executor | None = None,
    ahead: int = 0,
) -> Iterator[Columns]:
    """Columns of blocks (M, n) of normalised levels, each as soon as its window is complete.

    any_width: what `is_any_width` says. If not, windows have one shape.
    batch_size: windows that are encoded at once.
    eager: emit each column as soon as it is certain; its halo is then computed several times.
    executor: calls `run` in its threads, for up to `ahead` batches while later blocks are awaited.

    None of them changes the result.
    """
    pending: deque[tuple[list[slice], Callable[[], Columns]]] = deque()
    windows = _Windows(model, any_width=any_width)
    for tiles, kept in _works(blocks, windows, batch_size=batch_size, eager=eager):
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
    while windows.complete or (windows.certain > windows.given and not windows.any_width):
        yield windows.take(max(min(windows.complete, batch_size), 1))
    if windows.columns > windows.given:
        yield windows.take_end()


class _Windows:
    """The frames that are still needed, and the number of columns that were emitted."""

    def __init__(self, model: ModelSettings, *, any_width: bool) -> None:
        self.any_width = any_width
        self._stride = model.time_stride
        self._after_frames = model.time_context[1]
        self._before, self._after = halo_columns(model)
        self._width = window_columns(model, any_width=any_width)
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
        """The columns of up to `count` windows that are certain and were not emitted."""
        first, within = divmod(self.given, self._width)
        if within and self.any_width:  # frames that a whole window would need are dropped
            count = 1
        starts = [self._start(window) for window in range(first, first + count)]
        columns = self._before + self._width + self._after
        if self.any_width and count == 1:
            starts = [max(self.given - self._before, 0)]
            end = min(self.certain, (first + 1) * self._width)
            columns = max(end + self._after - starts[0], _LEAST_COLUMNS)
        tiles = [self._tile(start, columns) for start in starts]
        kept = []
        for index, start in enumerate(starts):
            end = min(self.certain, (first + index + 1) * self._width)
            kept.append(slice(self.given - start, end - start))
            self.given = end
        self._forget()
        return _Work(tiles[0] if count == 1 else np.concatenate(tiles), kept)

    def take_end(self) -> _Work:
        """The last columns, with zeros behind the end of the recording, as in a tile."""
        start = max(self.given - self._before, 0)
        columns = self.columns + self._after - start
        if self.any_width:
            columns = max(columns, _LEAST_COLUMNS)
        kept = slice(self.given - start, self.columns - start)
        self.given = self.columns
        return _Work(self._tile(start, columns), [kept])

    def _start(self, window: int) -> int:
        """The first column of a window's halo."""
        return max(window * self._width - self._before, 0)

    def _tile(self, start: int, columns: int) -> Array:
        """(1, M, frames, 1) from column `start` on; zeros for frames that have not arrived."""
        tile = np.zeros((1, len(self._held), columns * self._stride, 1), np.float32)
        first = start * self._stride - self._first
        held = self._held[:, first : first + tile.shape[2]]
        tile[0, :, : held.shape[1], 0] = held
        return tile

    def _forget(self) -> None:
        """Drop the frames that no later window needs."""
        start = self._start(self.given // self._width)
        if self.any_width:
            start = max(self.given - self._before, 0)
        needed = start * self._stride
        self._held = self._held[:, needed - self._first :]
        self._first = needed
