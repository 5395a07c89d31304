"""The best matches of windows, as they are found: one in each segment of a stream.

What was found is put together in any order, by any number of threads, and is the same.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.evidence import Evidence

SEGMENT = 256  # columns of the stream, of which each window gets its one best match
_SAMPLE = 8  # every so many windows tell the mean and spread of a window's evidence
NONE = np.iinfo(np.int16).min
# A match is one number: how far it is above what is usual, then its segment, then its units.
_UNITS, _SEGMENTS = 16, 24  # bits
_LAST = (1 << _SEGMENTS) - 1
_ABOVE = 1 << 17  # added, so that no number is negative

Units = NDArray[np.int16]
Real = NDArray[np.float64]


class Matches(NamedTuple):
    """The best matches of the windows of one length, each in another segment of the stream."""

    length: int  # columns
    apart: int  # columns between a window and its match, at least
    units: Units  # (windows, best); the least int16 where there is none
    usual: Units  # (windows, best): mean units with the windows of that segment
    segments: NDArray[np.int32]  # (windows, best)
    mean: Real  # (windows,) of the units with all windows of the stream
    spread: Real  # (windows,): their standard deviation

    def places(self, evidence: Evidence, window: int, inside: Mask) -> Indices:
        """First columns (best,) of the matches of one window of the stream.

        inside: (windows,), whether a window is within one recording, as it was when they were
        found. Where there is no match, the place says nothing.
        """
        rows, table = evidence.rows, evidence.table
        first = SEGMENT * self.segments[window].astype(np.int64)
        columns = first[:, None] + np.arange(SEGMENT + self.length - 1)  # (best, columns)
        others = rows[np.minimum(columns, len(rows) - 1)]
        totals = np.zeros((len(first), SEGMENT), np.int32)
        for step in range(self.length):
            for band, row in enumerate(rows[window + step]):
                totals += table[band, row][others[:, step : step + SEGMENT, band]]
        columns = columns[:, :SEGMENT]
        can = (columns < len(inside)) & (np.abs(columns - window) >= self.apart)
        can &= inside[np.minimum(columns, len(inside) - 1)]
        places: Indices = first + np.where(can, totals, np.iinfo(np.int32).min).argmax(axis=1)
        return places


class Summary(NamedTuple):
    """What some windows have in some segments."""

    highest: Units  # (windows, segments)
    usual: Units  # (windows, segments): mean of the sample, rounded down
    moments: Real  # (3, windows): number, sum and sum of squares of the sample

    @classmethod
    def empty(cls, windows: int, segments: int) -> "Summary":
        """Before anything is compared."""
        highest = np.full((windows, segments), NONE, np.int16)
        return cls(highest, np.zeros_like(highest), np.zeros((3, windows)))

    @classmethod
    def of_rows(cls, block: Units, begin: int, every: int) -> "Summary":
        """The sample of units (windows, columns) of columns from `begin` on; `highest` follows.

        every: so many segments, one counts for the moments.
        """
        windows, columns = block.shape
        count, size = -(-columns // SEGMENT), SEGMENT // _SAMPLE
        values = np.zeros((windows, count * size), np.float32)  # exact, and so are sums of 32
        values[:, : -(-columns // _SAMPLE)] = block[:, ::_SAMPLE]
        values = values.reshape(windows, count, size)
        sums = np.einsum("ijk->ij", values)
        sizes = np.full(count, size, np.float32)
        sizes[-1] = -(-columns // _SAMPLE) - (count - 1) * size
        moments = np.zeros((3, windows))
        some = np.flatnonzero((begin // SEGMENT + np.arange(count)) % every == 0)
        if len(some):
            chosen = values if every == 1 else values[:, some]
            exact = chosen.reshape(windows, -1).astype(np.float64)
            moments[0], moments[1] = sizes[some].sum(), sums[:, some].sum(axis=1, dtype=np.float64)
            moments[2] = np.vecdot(exact, exact)
        return cls(np.empty((0, 0), np.int16), np.floor(sums / sizes).astype(np.int16), moments)

    def with_highest(self, block: Units) -> "Summary":
        """With the highest of each segment of units (windows, columns)."""
        starts = np.arange(0, block.shape[1], SEGMENT)
        return self._replace(highest=np.maximum.reduceat(block, starts, axis=1))

    def sample_columns(
        self, block: Units, windows: slice, number: int, top: int, every: int
    ) -> None:
        """The sample of units (columns, windows) of one segment, which begins at `top`."""
        values = block[::_SAMPLE].astype(np.float32)
        sums = values.sum(axis=0)
        self.usual[windows, number] = np.floor(sums / np.float32(len(values)))
        if top // SEGMENT % every == 0:
            exact = values.astype(np.float64)
            self.moments[0, windows] += len(values)
            self.moments[1, windows] += sums
            self.moments[2, windows] += np.einsum("ij,ij->j", exact, exact)


class Best(NamedTuple):
    """The best matches so far."""

    matches: NDArray[np.int64]  # (windows, best) in ascending order; 0: none
    moments: Real  # (3, windows)

    @classmethod
    def empty(cls, windows: int, best: int) -> "Best":
        """Before anything is compared."""
        return cls(np.zeros((windows, best), np.int64), np.zeros((3, windows)))

    def add(self, window: int, begin: int, found: Summary) -> None:
        """Take what windows from `window` on have in segments from column `begin` on."""
        matches = self.matches[window : window + len(found.highest)]
        highest, usual = found.highest[: len(matches)], found.usual[: len(matches)]
        self.moments[:, window : window + len(matches)] += found.moments[:, : len(matches)]
        above = highest.astype(np.int32) - usual
        least = (matches[:, 0] >> (_UNITS + _SEGMENTS)) - _ABOVE
        better = (above >= least[:, None]) & (highest > NONE)
        rows = np.flatnonzero(better.any(axis=1))
        if not len(rows):
            return
        segments = _LAST - begin // SEGMENT - np.arange(highest.shape[1])
        numbers = (above[rows].astype(np.int64) + _ABOVE) << _SEGMENTS | segments
        numbers = numbers << _UNITS | (highest[rows].astype(np.int64) - NONE)
        numbers[~better[rows]] = 0
        joined = np.sort(np.concatenate([matches[rows], numbers], axis=1), axis=1)
        matches[rows] = joined[:, -matches.shape[1] :]

    def told(self, length: int, apart: int) -> Matches:
        """The matches, the best first, of windows of a length."""
        numbers = self.matches[:, ::-1]
        none = numbers == 0
        units = (numbers & ((1 << _UNITS) - 1)) + NONE
        usual = units - ((numbers >> (_UNITS + _SEGMENTS)) - _ABOVE)
        segments = _LAST - (numbers >> _UNITS & _LAST)
        number, total, squares = self.moments
        number = np.maximum(number, 1)
        mean = total / number
        return Matches(
            length,
            apart,
            np.where(none, NONE, units).astype(np.int16),
            np.where(none, 0, usual).astype(np.int16),
            np.where(none, 0, segments).astype(np.int32),
            mean,
            np.sqrt(np.maximum(squares / number - mean * mean, 0)),
        )
