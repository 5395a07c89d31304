"""Frames to columns of tokens, in windows that lie at fixed columns of the recording.

    levels (M, n), as they come -> windows of WINDOW_COLUMNS columns and their halo -> ids

Every window has the same shape and begins at the same column, however the frames come: what is not
there yet is zeros, and only columns that cannot see it are given. A column is therefore computed
from the same numbers in the same order, whether its recording is read whole or arrives live. The
last columns, which see the recording's end, come from one window that ends there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array, Ids
from ulmo.config import ModelSettings

WINDOW_COLUMNS = 30
"""Token columns that are encoded or decoded at once: 4.8 s at the defaults.

The certain columns of clips of 5 and of 10 s, of which many corpora are made, are 29 and 60: one
window and two. More columns would let live sound wait for the computing of a longer window; fewer
would be wasted on the halo of four.
"""


class Columns(NamedTuple):
    """Some columns of a recording's tokens."""

    ids: Ids  # (n, band)
    distances: Array  # (n, band)
    latents: Array | None = None  # (n, band, EMB), of a run that tells them


Run = Callable[[Array], Columns]
"""Tiles (batch, M, frames, 1) to ids and distances (batch, columns, bands), perhaps latents."""


def ready_frames(model: ModelSettings) -> Callable[[int], int]:
    """How many of the frames that are certain an eager encoder has use for, rounded down."""
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

    `eager`: as soon as the column itself is certain; its window is then computed again and again.
    `batch_size` windows are encoded at once. With an `executor`, `run` is called in its threads,
    for up to `ahead` batches while later blocks are awaited. Nothing of this changes a bit.
    """
    pending: deque[_Pending] = deque()
    for work in _works(blocks, _Windows(model), batch_size=batch_size, eager=eager):
        pending.append(_Pending(work, executor.submit(run, work.tiles) if executor else None))
        while len(pending) > ahead:
            yield from _columns(pending.popleft(), run)
    while pending:
        yield from _columns(pending.popleft(), run)


class _Work(NamedTuple):
    """Windows to encode, and what is wanted of each."""

    tiles: Array  # (batch, M, frames, 1)
    kept: list[slice]  # columns of each window


class _Pending(NamedTuple):
    work: _Work
    future: Future[Columns] | None


def _columns(pending: _Pending, run: Run) -> Iterator[Columns]:
    work, future = pending
    encoded = future.result() if future else run(work.tiles)
    for index, kept in enumerate(work.kept):
        latents = None if encoded.latents is None else encoded.latents[index, kept]
        yield Columns(encoded.ids[index, kept], encoded.distances[index, kept], latents)


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
    """The frames that are still needed, and how many columns were given of them."""

    def __init__(self, model: ModelSettings) -> None:
        self._stride = model.time_stride
        self._after_frames = model.time_context[1]
        context = (-(-frames // self._stride) for frames in model.time_context)
        self._before, self._after = context
        self._width = WINDOW_COLUMNS
        self._length = (self._before + self._width + self._after) * self._stride
        self._held = np.empty((model.tile_size, 0), np.float32)
        self._first = 0  # frame that `held` begins with
        self.given = 0
        """Columns that were given."""

    @property
    def _frames(self) -> int:
        return self._first + self._held.shape[1]

    @property
    def columns(self) -> int:
        """Columns that the frames fill, the last one perhaps not wholly."""
        return -(-self._frames // self._stride)

    @property
    def certain(self) -> int:
        """Columns that no later frame can change."""
        return max((self._frames - self._after_frames) // self._stride, 0)

    @property
    def complete(self) -> int:
        """Windows that are certain from their first column that was not given to their last."""
        return self.certain // self._width - self.given // self._width

    def add(self, block: Array) -> None:
        """Take some more frames."""
        self._held = np.concatenate([self._held, block], axis=1)

    def take(self, count: int) -> _Work:
        """What is certain and was not given, of so many windows."""
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
        """The last columns, which see zeros behind the recording's end, as in a tile."""
        start = max(self.given - self._before, 0)
        frames = (self.columns + self._after - start) * self._stride
        kept = slice(self.given - start, self.columns - start)
        self.given = self.columns
        return _Work(self._tile(start * self._stride, frames)[None], [kept])

    def _start(self, window: int) -> int:
        return max(window * self._width - self._before, 0)

    def _tile(self, start: int, frames: int) -> Array:
        """(M, frames, 1) from a frame on; zeros where there is nothing yet."""
        tile = np.zeros((len(self._held), frames, 1), np.float32)
        held = self._held[:, start - self._first : start - self._first + frames]
        tile[:, : held.shape[1], 0] = held
        return tile

    def _forget(self) -> None:
        """Drop the frames that no window to come begins with."""
        needed = self._start(self.given // self._width) * self._stride
        self._held = self._held[:, needed - self._first :]
        self._first = needed
