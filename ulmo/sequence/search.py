"""For each window of a stream, the windows elsewhere that are most like it: an exact search.

The evidence that two windows are alike is the sum along a diagonal of the evidence of their
columns. A table of CB rows gives that of one column with a block of columns. So a row of the
diagonals is the sum of a few rows of a table, and windows of twice the length are the sum of two.
All sums are of whole numbers: the size of the blocks does not change them.
"""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.evidence import Evidence

_ROWS = 256  # windows that are compared at once, with
_COLUMNS = 2048  # as many others: their sums stay in the cache
_SEGMENT = 256  # columns of the stream, of which each window gets its one best match
_SAMPLE = 8  # every so many windows tell the mean and spread of a window's evidence
_NONE = np.iinfo(np.int16).min


class Matches(NamedTuple):
    """The best matches of the windows of one length."""

    length: int  # columns
    units: NDArray[np.int32]  # (windows, best); the least int16 where there is none
    usual: NDArray[np.int32]  # (windows, best): mean units with the windows around the match
    places: Indices  # (windows, best): first columns of the matches
    mean: NDArray[np.float64]  # (windows,) of the units with all windows of the stream
    spread: NDArray[np.float64]  # (windows,): their standard deviation


def find_matches(
    evidence: Evidence,
    whole: Sequence[Mask],
    lengths: Sequence[int],
    *,
    apart: int,
    best: int = 4,
    queries: NDArray[np.int64] | None = None,
    rows_at_once: int = _ROWS,
    columns_at_once: int = _COLUMNS,
) -> list[Matches]:
    """The `best` matches of each window in different segments of the stream, for each length.

    whole: for each length, (time - length + 1,): whether a window is within one recording.
    lengths: columns; each is a multiple of the one before.
    apart: columns between a window and its match, at least.
    queries: rows (m, bands) of another stream to search for; None: those of the stream itself.

    Time grows with the product of both lengths: 0.5 ns or so for each pair of columns and length.
    """
    itself = queries is None
    asked = evidence.rows if queries is None else queries
    time, longest = len(evidence.rows), lengths[-1]
    columns_at_once = -(-columns_at_once // _SEGMENT) * _SEGMENT
    found = [_Best.empty(max(len(asked) - length + 1, 0), best, length) for length in lengths]

    def compare(strip: list[NDArray[np.int16]], left: int, top: int) -> None:
        """Compare some rows, which no other call touches, with a strip of columns."""
        rows = asked[top : top + rows_at_once + longest - 1]
        sums = strip[0][rows[:, 0]]
        for band in range(1, rows.shape[1]):
            sums += strip[band][rows[:, band]]
        width = 1
        for length, kept, inside in zip(lengths, found, whole, strict=True):
            sums = _lengthen(sums, width, length // width)
            width = length
            if 0 in sums.shape:
                break
            block = sums[:rows_at_once, :columns_at_once].copy()
            usual = kept.sample(block[:, ::_SAMPLE], top)
            block[:, ~inside[left : left + block.shape[1]]] = _NONE
            if itself:
                _blank_diagonal(block, top - left, max(apart, length))
            kept.add(block, usual, top, left)

    with ThreadPoolExecutor(os.cpu_count()) as executor:  # NumPy adds outside of Python's lock
        for left in range(0, time, columns_at_once):
            right = min(left + columns_at_once + longest - 1, time)
            strip = _strip(evidence, left, right)
            tops = range(0, len(asked), rows_at_once)
            deque(executor.map(partial(compare, strip, left), tops), maxlen=0)
    return [kept.matches() for kept in found]


def _strip(evidence: Evidence, left: int, right: int) -> list[NDArray[np.int16]]:
    """(CB + 1, columns) of each band: the evidence of each row with some columns of the stream."""
    rows = evidence.rows[left:right]
    return [np.take(table, rows[:, band], axis=1) for band, table in enumerate(evidence.table)]


def _lengthen(sums: NDArray[np.int16], width: int, times: int) -> NDArray[np.int16]:
    """Sums along diagonals over `times` windows of `width` columns, each after the other."""
    reach = (times - 1) * width
    rows, columns = (max(size - reach, 0) for size in sums.shape)
    longer = sums[:rows, :columns].copy()
    for step in range(width, reach + 1, width):
        longer += sums[step : step + rows, step : step + columns]
    return longer


def _blank_diagonal(block: NDArray[np.int16], offset: int, apart: int) -> None:
    """Blank what is fewer than `apart` columns from row + offset."""
    rows, columns = block.shape
    if rows + offset + apart <= 1 or offset - apart + 1 >= columns:
        return
    for row in range(rows):
        near = row + offset
        block[row, max(near - apart + 1, 0) : max(near + apart, 0)] = _NONE


class _Best(NamedTuple):
    """The best matches so far."""

    length: int
    units: NDArray[np.int32]  # (windows, best)
    usual: NDArray[np.int32]  # (windows, best)
    places: Indices  # (windows, best)
    moments: NDArray[np.float64]  # (3, windows): number, sum and sum of squares of samples

    @classmethod
    def empty(cls, windows: int, best: int, length: int) -> "_Best":
        units = np.full((windows, best), _NONE, np.int32)
        places = np.zeros((windows, best), np.int64)
        return cls(length, units, np.zeros_like(units), places, np.zeros((3, windows)))

    def sample(self, block: NDArray[np.int16], top: int) -> NDArray[np.int32]:
        """Count some of the units (rows, columns); the mean of each row in each segment."""
        values = block.astype(np.float32)  # exact, and so are the sums in float64
        moments = self.moments[:, top : top + len(block)]
        moments[0] += values.shape[1]
        moments[1] += values.sum(axis=1, dtype=np.float64)
        moments[2] += np.einsum("ij,ij->i", values, values, dtype=np.float64)
        first = np.arange(0, values.shape[1], _SEGMENT // _SAMPLE)
        size = np.diff(np.append(first, values.shape[1]))
        sums = np.add.reduceat(block, first, axis=1, dtype=np.int32)
        return sums // size.astype(np.int32)

    def add(self, block: NDArray[np.int16], usual: NDArray[np.int32], top: int, left: int) -> None:
        """Take the best of each segment of the units (rows, columns), above what is usual there."""
        rows, columns = block.shape
        segments = -(-columns // _SEGMENT)
        if columns % _SEGMENT:
            padding = ((0, 0), (0, segments * _SEGMENT - columns))
            block = np.pad(block, padding, constant_values=_NONE)
        parts = block.reshape(rows, segments, _SEGMENT)
        places = parts.argmax(axis=2)
        units = np.take_along_axis(parts, places[:, :, None], axis=2)[:, :, 0]
        window = slice(top, top + rows)
        units = np.concatenate([self.units[window], units], axis=1, dtype=np.int32)
        usual = np.concatenate([self.usual[window], usual], axis=1)
        places += left + _SEGMENT * np.arange(segments)
        places = np.concatenate([self.places[window], places], axis=1)
        order = np.argsort(usual - units, axis=1, kind="stable")[:, : self.units.shape[1]]
        self.units[window] = np.take_along_axis(units, order, axis=1)
        self.usual[window] = np.take_along_axis(usual, order, axis=1)
        self.places[window] = np.take_along_axis(places, order, axis=1)

    def matches(self) -> Matches:
        number, total, squares = self.moments
        number = np.maximum(number, 1)
        mean = total / number
        spread = np.sqrt(np.maximum(squares / number - mean * mean, 0))
        return Matches(self.length, self.units, self.usual, self.places, mean, spread)
