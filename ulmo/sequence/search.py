"""For each window of a stream, the windows elsewhere that are most like it: an exact search.

The evidence that two windows are alike is the sum along a diagonal of the evidence of their
columns. A table of CB rows gives that of one column with a block of columns. So a row of the
diagonals is the sum of a few rows of a table, and windows of twice the length are the sum of two.
What one window has with another, the other has with it: of a stream with itself, half is computed.
All sums are of whole numbers: neither the size of the blocks nor the number of threads changes
what is found.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock, local
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Mask
from ulmo.sequence.best import NONE, SEGMENT, Best, Matches, Summary, Units
from ulmo.sequence.evidence import Evidence

_COLUMNS = 2048  # windows that a segment is compared with at once: their sums stay in the cache
_TOGETHER = 8  # segments that a thread compares before it takes others
_SAMPLED = 90_000  # columns, an hour: of longer streams, segments of so many tell mean and spread


def find_matches(
    evidence: Evidence,
    whole: Sequence[Mask],
    lengths: Sequence[int],
    *,
    apart: int,
    best: int = 4,
    queries: NDArray[np.int64] | None = None,
    columns_at_once: int = _COLUMNS,
    threads: int | None = None,
) -> list[Matches]:
    """The `best` matches of each window in different segments of the stream, for each length.

    whole: for each length, (time - length + 1,): whether a window is within one recording. Others
        have no match, and are none.
    lengths: columns; each is a multiple of the one before.
    apart: columns between a window and its match, at least.
    queries: rows (m, bands) of another stream to search for; None: those of the stream itself.
    threads: None: as many as there are processors.

    Matches are those that are furthest above what is usual in their segment; of equal ones, those
    in the first segments. Time grows with the product of both lengths: a nanosecond or so for each
    pair of columns.
    """
    columns_at_once = -(-columns_at_once // SEGMENT) * SEGMENT
    comparison = _Comparison.of(evidence, whole, lengths, apart, best, queries)
    count = len(comparison.asked)
    with ThreadPoolExecutor(threads or os.cpu_count()) as executor:  # arrays are added in parallel
        for left in range(0, len(evidence.rows), columns_at_once):
            strip = _strip(evidence, left, left + columns_at_once + lengths[-1] - 1, executor)
            tops = range(0, count if queries is not None else min(left + columns_at_once, count))
            some = [
                tops[first : first + _TOGETHER * SEGMENT : SEGMENT]
                for first in range(0, len(tops), _TOGETHER * SEGMENT)
            ]
            compare = partial(comparison.compare, strip, left, columns_at_once)
            deque(executor.map(compare, some), maxlen=0)
    found = zip(lengths, comparison.found, strict=True)
    return [kept.told(length, max(apart, length)) for length, kept in found]


def _strip(evidence: Evidence, left: int, right: int, executor: ThreadPoolExecutor) -> list[Units]:
    """(CB + 1, columns) of each band: the evidence of each row with some columns of the stream."""
    rows = evidence.rows[left:right]

    def of(band: int) -> Units:
        taken: Units = np.take(evidence.table[band], rows[:, band], axis=1)
        return taken

    return list(executor.map(of, range(rows.shape[1])))


class _Comparison(NamedTuple):
    """What is compared, and what was found so far."""

    asked: NDArray[np.int64]  # (windows, bands): rows
    itself: bool  # whether they are those of the stream
    whole: Sequence[Mask]
    lengths: Sequence[int]
    apart: int
    every: int  # of so many segments, one tells mean and spread
    found: Sequence[Best]  # for each length
    lock: Lock
    own: local  # arrays of each thread

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        whole: Sequence[Mask],
        lengths: Sequence[int],
        apart: int,
        best: int,
        queries: NDArray[np.int64] | None,
    ) -> "_Comparison":
        """Before anything is compared."""
        asked = evidence.rows if queries is None else queries
        found = [Best.empty(max(len(asked) - length + 1, 0), best) for length in lengths]
        every = max(len(evidence.rows) // _SAMPLED, 1)
        itself = queries is None
        return cls(asked, itself, whole, lengths, apart, every, found, Lock(), local())

    def compare(self, strip: list[Units], left: int, width: int, tops: Sequence[int]) -> None:
        """Compare some segments of windows with a strip of columns.

        Of a stream with itself, a segment is compared with itself and those after it, and the
        windows of both are told what they have in each other.
        """
        across = [Summary.empty(width, len(tops)) for _ in self.lengths]
        for number, top in enumerate(tops):
            begin = max(top, left) if self.itself else left
            blocks = self._blocks(strip, top, begin - left)
            ways = zip(self.lengths, self.found, self.whole, across, blocks, strict=False)
            for length, kept, inside, other, block in ways:
                block = block[:SEGMENT, : left + width - begin]
                windows, columns = block.shape
                along = Summary.of_rows(block, begin, self.every)
                block[:, ~inside[begin : begin + columns]] = NONE
                if self.itself:
                    below = block[:, SEGMENT if begin == top else 0 :]  # those of later segments
                    last = begin - left + columns
                    behind = slice(last - below.shape[1], last)
                    other.sample_columns(below, behind, number, top, self.every)
                    block[~inside[top : top + windows]] = NONE
                    _blank_diagonal(block, top - begin, max(self.apart, length))
                    other.highest[behind, number] = below.max(axis=0, initial=NONE)
                with self.lock:
                    kept.add(top, begin, along.with_highest(block))
        if self.itself:
            for kept, other in zip(self.found, across, strict=True):
                with self.lock:
                    kept.add(left, tops[0], other)

    def _blocks(self, strip: list[Units], top: int, offset: int) -> Iterator[Units]:
        """Evidence (rows, columns) of windows of each length, which may be written to."""
        rows = self.asked[top : top + SEGMENT + self.lengths[-1] - 1]
        arrays = self._arrays(len(rows), strip[0].shape[1])
        sums, more, _ = arrays
        for band, table in enumerate(strip):
            np.take(table, rows[:, band], axis=0, out=more if band else sums, mode="clip")
            if band:
                cv2.add(sums, more, dst=sums)
        arrays = [each[:, offset:] for each in arrays]
        now, width = 0, 1  # the number of the array that has the sums, and of how many columns
        sums = arrays[0]
        for length in self.lengths:
            if min(sums.shape) <= length - width:
                break
            spare = [number for number in range(3) if number != now]
            longer, taken = _lengthen(sums, width, length // width, [arrays[n] for n in spare])
            if width > 1:
                yield sums
            sums, now, width = longer, spare[taken], length
        if width > 1:
            yield sums

    def _arrays(self, rows: int, columns: int) -> list[Units]:
        """Three arrays (rows, columns), in memory that a thread uses again and again."""
        held = getattr(self.own, "held", None)
        if held is None or held.shape[1] < rows * columns:
            self.own.held = held = np.empty((3, rows * columns), np.int16)
        return [each[: rows * columns].reshape(rows, columns) for each in held]


def _lengthen(sums: Units, width: int, times: int, spare: Sequence[Units]) -> tuple[Units, int]:
    """Sums along diagonals over `times` windows of `width` columns, and which spare array has them.

    As many are added as the binary digits of `times` say: twice the sums, and one more.
    """
    total, count, free = sums, 1, 0
    for digit in f"{times:b}"[1:]:
        for more, ahead in [(total, count)] + ([(sums, 2 * count)] if digit == "1" else []):
            reach = ahead * width
            rows, columns = more.shape[0] - reach, more.shape[1] - reach
            longer = spare[free][:rows, :columns]
            cv2.add(total[:rows, :columns], more[reach:, reach:], dst=longer)
            total, free = longer, 1 - free
        count = 2 * count + int(digit)
    return total, 1 - free


def _blank_diagonal(block: Units, offset: int, apart: int) -> None:
    """Blank what is fewer than `apart` columns from row + offset."""
    rows, columns = block.shape
    if rows + offset + apart <= 1 or offset - apart + 1 >= columns:
        return
    for row in range(rows):
        near = row + offset
        block[row, max(near - apart + 1, 0) : max(near + apart, 0)] = NONE
