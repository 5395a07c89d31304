"""Soft copying: what followed the moments of the past that were most like the present.

    last 5 columns -> the 16 nearest windows of the past -> the columns after them -> spread

A window is compared by the codes of its ids, so from ids alone: an encoder's vectors have seen the
sound after them. Distances are whole numbers, so that the search is exact and its result is the
same however it is divided. Only columns of chunks that have ended are searched: a chunk is CHUNK
columns, on a grid that begins with the recording.

The ids of the past are the only memory: 8 bytes a column of four bands. Time grows with the square
of the recording's length, 2 to 3 ns for each pair of columns.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices
from ulmo.config.token_model import CHUNK

WINDOW = 5  # columns that are compared
NEAREST = 16  # windows whose successors are taken
_BLOCK = 32  # windows of which the nearest is known first: at most NEAREST blocks hold the nearest
_STRIP = 8192  # windows that are compared at once: their distances stay in the cache
_LATER = 1 << 40  # more than all columns
_FAR = np.iinfo(np.int16).max
_NONE = np.iinfo(np.int64).max  # in place of a window that is not there
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
        most = _FAR // (WINDOW * bands)
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

    probabilities: Array  # (CHUNK, bands, CB)
    places: Indices  # (CHUNK,): the column that was most like it, once it is known; -1: none
    distances: NDArray[np.int64]  # (CHUNK,): of the nearest window, in units; -1: there is none
    gates: Indices  # (CHUNK,): 0 if nothing is near, up to GATES - 1 if the same was there


class Past:
    """The columns of one recording, in the order in which their chunks end."""

    def __init__(self, tables: CopyTables, *, columns: int | None = None) -> None:
        """`columns`: how many of the last ones are remembered, a multiple of CHUNK; None: all."""
        self._tables = tables
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

    def recall(self, ids: Ids) -> Copies:
        """What is remembered of the chunk (CHUNK, bands) that follows.

        The probabilities of a token depend on the past, the columns before it and the lower bands
        of its own column.
        """
        codes = self._tables.codes
        known = np.minimum(ids, codes)
        before = self._held[: WINDOW - 1 + self._count][-(WINDOW - 1) - 1 :]
        if len(before) < WINDOW:
            before = np.concatenate([np.full((1, ids.shape[1]), codes), before])
        asked = np.concatenate([before, known[:-1]]).astype(np.int64)  # from WINDOW before on
        found = self._search(asked)
        return self._spread(found, known)

    def _search(self, asked: Indices) -> NDArray[np.int64]:
        """(NEAREST, CHUNK), rising: distance x _LATER - column of the nearest windows' ends.

        asked: (CHUNK + WINDOW - 1, bands). Windows that are missing have the largest int64.
        """
        best = np.full((NEAREST, CHUNK), _NONE)
        tables = [self._tables.distance[:, asked[:, band]] for band in range(asked.shape[1])]
        windows = self._count - 1  # each of them has a successor
        for start in range(0, windows, _STRIP):
            stop = min(start + _STRIP, windows)
            held = self._held[start : stop + WINDOW - 1]
            columns = np.take(tables[0], held[:, 0], axis=0)
            for band in range(1, len(tables)):
                columns += np.take(tables[band], held[:, band], axis=0)
            blocks = -(-(stop - start) // _BLOCK)
            apart = np.full((blocks * _BLOCK, CHUNK), _FAR, np.int16)
            sums = apart[: stop - start]
            sums[:] = columns[: stop - start, :CHUNK]
            for step in range(1, WINDOW):
                sums += columns[step : step + stop - start, step : step + CHUNK]
            near = _nearest_blocks(apart, start, stop)
            best = np.sort(np.concatenate([best, near]), axis=0)[:NEAREST]
        return best

    def _spread(self, found: NDArray[np.int64], known: Ids) -> Copies:
        """The distribution of each band, as the bands below it become known."""
        is_there = found < _NONE
        distances = np.where(is_there, -(-found // _LATER), 0)
        ends = np.where(is_there, distances * _LATER - found, 0)
        late = (distances - distances[:1]) / (_TEMPER * self._tables.usual_distance)
        shares = np.where(is_there, np.exp(-late), 0).astype(np.float32).T  # (CHUNK, NEAREST)
        shares[~is_there[0], 0] = 1
        after = self._held[WINDOW - 1 + ends + 1].transpose(1, 0, 2)  # (CHUNK, NEAREST, bands)
        after = np.where(is_there.T[..., None], after, self._tables.codes)
        size = self._tables.codes
        probabilities = np.empty((len(known), known.shape[1], size), np.float32)
        for band, likely in enumerate(self._tables.likely):
            shares /= shares.sum(axis=1, keepdims=True)
            rows = likely[after[:, :, band]]  # (CHUNK, NEAREST, CB)
            probabilities[:, band] = (shares[:, None] @ rows)[:, 0]
            right = np.minimum(known[:, band], size - 1)
            fit = np.take_along_axis(rows, right[:, None, None], axis=2)[:, :, 0]
            shares = shares * np.where((known[:, band] < size)[:, None], fit, 1)
            shares = np.maximum(shares, np.float32(1e-30))
        chosen = shares.argmax(axis=1)
        place = np.take_along_axis(ends.T, chosen[:, None], axis=1)[:, 0] + 1 + self._first
        some = is_there[0]
        near = np.where(some, distances[0], _FAR)
        gates = sum((near < gate * self._tables.usual_distance).astype(np.int64) for gate in _GATES)
        return Copies(
            probabilities,
            np.where(some, place, -1),
            np.where(some, distances[0], -1),
            np.asarray(gates),
        )


def _nearest_blocks(apart: NDArray[np.int16], start: int, stop: int) -> NDArray[np.int64]:
    """(at least NEAREST, CHUNK): the nearest windows of some, as distance x _LATER - column.

    apart: (blocks x _BLOCK, CHUNK) distances of the windows from `start` on. Of windows that are
    equally near, later ones are taken.
    """
    blocks = len(apart) // _BLOCK
    parts = apart.reshape(blocks, _BLOCK, CHUNK)
    nearest = _least(parts).astype(np.int64) * _LATER - np.arange(blocks)[:, None]
    if blocks > NEAREST:
        chosen = np.argpartition(nearest, NEAREST, axis=0)[:NEAREST]
    else:
        chosen = np.broadcast_to(np.arange(blocks)[:, None], (blocks, CHUNK))
    some = parts[chosen, :, np.arange(CHUNK)]  # (chosen, CHUNK, _BLOCK)
    places = start + chosen[..., None] * _BLOCK + np.arange(_BLOCK)
    ranked = np.where(places < stop, some.astype(np.int64) * _LATER - places, _NONE)
    ranked = ranked.transpose(0, 2, 1).reshape(-1, CHUNK)
    if len(ranked) > NEAREST:
        ranked = np.partition(ranked, NEAREST - 1, axis=0)[:NEAREST]
    return ranked


def _least(parts: NDArray[np.int16]) -> NDArray[np.int16]:
    """(blocks, CHUNK): the least of each block, by halves: four times as fast as NumPy's `min`."""
    while parts.shape[1] > 1:
        half = parts.shape[1] // 2
        parts = np.minimum(parts[:, :half], parts[:, half:])
    return parts[:, 0]
