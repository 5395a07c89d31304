"""Soft copying: what followed the moments of the past that were most like the present.

    last 5 columns -> the 16 nearest windows of the past -> the columns after them -> spread

A window is compared by the codes of its ids, so from ids alone: an encoder's vectors have seen the
sound after them. Distances are whole numbers, so that the search is exact and its result is the
same however it is divided. Only columns of chunks that have ended are searched: a chunk is CHUNK
columns, on a grid that begins with the recording.

The last hour (EXACT) is searched exactly, 1 ns for each pair of columns; what was before by words
that it shares with the present (seeds.py). Memory: ids, and an index of the words of the far past,
24 bytes a column of four bands.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices
from ulmo.config.token_model import CHUNK
from ulmo.sequence.neighbours import (
    FAR,
    NEAREST,
    NONE,
    WINDOW,
    Keys,
    Searcher,
    distances_of,
    places_of,
)
from ulmo.sequence.seeds import Followed, Seeds

EXACT = 1536 * CHUNK  # the last windows, which are all compared: 65 minutes, at 25 columns a second
_SHARP = 2.0  # power of the probabilities that substitution scores give: alone, they are too flat
_SAME = 0.3  # share of a copy's vote that is for its very ids
_TEMPER = 0.03  # distance of a window, in those of codes that are drawn, at which a weight is 1/e
# Distances of the nearest window, in the same measure, that part the gates of the mixture.
_GATES = (0.03, 0.01, 0.0006)


class CopyTables(NamedTuple):
    """What copying needs to know of the codes; id CB stands for all special tokens.

    distance: (CB + 1, CB + 1) int16, squared distances of codes in units.
    likely: (bands, CB + 1, CB) float32, the probability of each id where another copy of a sound
        has an id. After a special token, it is `usual`.
    usual_distance: mean distance of windows of codes that are drawn at random.
    """

    distance: NDArray[np.int16]
    likely: Array
    usual_distance: float

    @classmethod
    def of(cls, codes: Array, scores: Array, usual: Array) -> "CopyTables":
        """From codes (CB, EMB), substitution scores in bits (bands, CB, CB) and usual ids.

        usual: (bands, CB), the probability of each id.
        """
        bands, size = usual.shape
        vectors = codes.astype(np.float64)
        squares = np.square(vectors).sum(axis=1)
        apart = np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0)
        np.fill_diagonal(apart, 0)
        most = FAR // (WINDOW * bands)
        unit = max(float(apart.max()), 1e-9) / most
        distance = np.full((size + 1, size + 1), most, np.int16)
        distance[:size, :size] = np.rint(apart / unit)
        likely = np.empty((bands, size + 1, size), np.float64)
        likely[:, :size] = np.exp2(scores.astype(np.float64)) * usual[:, None]
        likely[:, :size] **= _SHARP
        likely[:, :size] *= (1 - _SAME) / likely[:, :size].sum(axis=2, keepdims=True)
        likely[:, range(size), range(size)] += _SAME
        likely[:, size] = usual / usual.sum(axis=1, keepdims=True)
        usual_distance = WINDOW * bands * float(distance[:size, :size].mean())
        return cls(distance, likely.astype(np.float32), max(usual_distance, 1.0))

    @property
    def codes(self) -> int:
        """CB."""
        return int(self.likely.shape[2])


class Copies(NamedTuple):
    """What the past says of a chunk of columns."""

    probabilities: Array  # (bands, CHUNK, CB)
    places: Indices  # (CHUNK,): the column that was most like it, once it is known; -1: none
    distances: NDArray[np.int64]  # (CHUNK,): of the nearest window, in units; -1: there is none
    gates: Indices  # (CHUNK,): 0 if nothing is near, up to GATES - 1 if the same was there


class Past:
    """The columns of one recording, in the order in which their chunks end."""

    def __init__(self, tables: CopyTables, *, columns: int | None = None) -> None:
        """`columns`: how many of the last ones are remembered, a multiple of CHUNK; None: all."""
        self._tables = tables
        self._searcher = Searcher(tables.distance)
        self._exact = EXACT if columns is None else columns
        self._seeds = Seeds(len(tables.likely))
        self._followed = self._next = Followed()
        self._most = columns
        bands = len(tables.likely)
        self._held = np.full((WINDOW - 1 + 4 * CHUNK, bands), tables.codes, np.int16)
        self._count = 0  # columns that are held
        self._first = 0  # the first of them, in the recording

    def add(self, ids: Ids) -> None:
        """Remember a chunk (CHUNK, bands) that has ended."""
        if self._most is not None and self._count + len(ids) > self._most:
            gone = self._count + len(ids) - self._most
            kept = self._held[gone : WINDOW - 1 + self._count].copy()
            kept[: WINDOW - 1] = self._tables.codes  # what was before is not known any more
            self._held[: len(kept)] = kept
            self._count -= gone
            self._first += gone
        end = WINDOW - 1 + self._count + len(ids)
        if end > len(self._held):
            longer = np.full((2 * end, self._held.shape[1]), self._tables.codes, np.int16)
            longer[: len(self._held)] = self._held
            self._held = longer
        self._held[end - len(ids) : end] = np.minimum(ids, self._tables.codes)
        self._count += len(ids)
        far = self._count - 1 - self._exact  # windows that are not searched any more
        if far > self._seeds.count:
            self._seeds.add(self._held[self._seeds.count : far + WINDOW - 1])
        self._followed = self._next if self._next.column == self._count - 1 else Followed()

    def recall(self, ids: Ids) -> Copies:
        """What is remembered of the chunk (CHUNK, bands) that follows.

        The probabilities of a token depend on the past, the columns before it and the lower bands
        of its own column.
        """
        codes = self._tables.codes
        known = np.minimum(ids, codes)
        held = self._held[: WINDOW - 1 + self._count]
        before = held[-WINDOW:]
        if len(before) < WINDOW:
            before = np.concatenate([np.full((1, ids.shape[1]), codes), before])
        asked = np.concatenate([before, known[:-1]]).astype(np.int64)  # from WINDOW before on
        return self._spread(self._nearest(held[:-1], asked), known)  # each has a successor

    def _nearest(self, held: NDArray[np.int16], asked: Indices) -> Keys:
        """(NEAREST, CHUNK): the nearest of all windows, exactly within the last EXACT."""
        near = max(len(held) - WINDOW + 1 - self._exact, 0)  # the first that is searched exactly
        found = self._searcher.nearest(held[near:], asked)
        if not near:
            return found
        found = np.where(found < NONE, found - near, NONE)
        far, self._next = self._seeds.nearest(
            held, asked, self._tables.distance, self._count, self._followed
        )
        return np.sort(np.concatenate([found, far]), axis=0)[:NEAREST]

    def _spread(self, found: Keys, known: Ids) -> Copies:
        """The distribution of each band, as the bands below it become known."""
        is_there = found < NONE
        distances = np.where(is_there, distances_of(found), 0)
        ends = np.where(is_there, places_of(found), 0)
        late = (distances - distances[:1]) / (_TEMPER * self._tables.usual_distance)
        shares = np.where(is_there, np.exp(-late), 0).astype(np.float32).T  # (CHUNK, NEAREST)
        shares[~is_there[0], 0] = 1
        after = self._held[WINDOW - 1 + ends.T + 1].astype(np.intp)  # (CHUNK, NEAREST, bands)
        after[~is_there.T] = self._tables.codes
        size = self._tables.codes
        probabilities = np.empty((known.shape[1], len(known), size), np.float32)
        rows = np.empty((*shares.shape, size), np.float32)
        for band, likely in enumerate(self._tables.likely):
            shares /= shares.sum(axis=1, keepdims=True)
            np.take(likely, after[:, :, band], axis=0, out=rows, mode="clip")
            np.matmul(shares[:, None], rows, out=probabilities[band][:, None])
            right = np.minimum(known[:, band], size - 1)
            fit = likely[after[:, :, band], right[:, None]]
            shares = shares * np.where((known[:, band] < size)[:, None], fit, 1)
            shares = np.maximum(shares, np.float32(1e-30))
        chosen = shares.argmax(axis=1)
        place = np.take_along_axis(ends.T, chosen[:, None], axis=1)[:, 0] + 1 + self._first
        some = is_there[0]
        near = np.where(some, distances[0], FAR)
        gates = sum((near < gate * self._tables.usual_distance).astype(np.int64) for gate in _GATES)
        return Copies(
            probabilities,
            np.where(some, place, -1),
            np.where(some, distances[0], -1),
            np.asarray(gates),
        )
