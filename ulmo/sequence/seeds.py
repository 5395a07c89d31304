"""Windows of the far past that may be like the present, found by ids that they share.

three ids of a band, one after the other -> where they were last -> distance of the whole windows

As BLAST finds proteins (Altschul et al. 1990, "Basic local alignment search tool"): a short word
that two sequences share is looked up in an index, and what is around it is compared. What was near
a moment ago is followed, too. Time does not depend on how long the past is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config.token_model import CHUNK
from ulmo.sequence.neighbours import NEAREST, NONE, WINDOW, Keys, keys_of, places_of

_WORD = 3  # ids of a band
_BUCKETS = 1 << 19  # of words, in each band
_FACTOR = 40_503  # odd, near 2^16 divided by the golden ratio (Knuth 1973)
_OCCURRENCES = 16  # of a word that are looked at, the last ones
_STEP = 16  # columns in which what is followed stays the same


class Followed(NamedTuple):
    """Windows that were near a column."""

    column: int = -1
    places: Indices | None = None  # (NEAREST,); -1: none


class Seeds:
    """An index of windows, in the order of their numbers: 4 bytes a token.

    Words that are in a chunk several times count once, the last time.
    """

    def __init__(self, bands: int) -> None:
        # The window in which a word was last, and in which before a window; from 1: 0 is none.
        self._last = np.zeros((bands, _BUCKETS), np.int32)
        self._before = np.empty((bands, 0), np.int32)
        self.count = 0  # windows

    def add(self, held: NDArray[np.int16]) -> None:
        """Add the windows of some columns (n + WINDOW - 1, bands) to those that are there."""
        words = _words(held[WINDOW - _WORD :]).T  # (bands, n)
        end = self.count + words.shape[1]
        if end > self._before.shape[1]:
            more = np.zeros((len(self._before), end), np.int32)
            self._before = np.concatenate([self._before, more], axis=1)
        bands = np.arange(len(words))[:, None]
        self._before[:, self.count : end] = self._last[bands, words]
        self._last[bands, words] = np.arange(self.count + 1, end + 1, dtype=np.int32)
        self.count = end

    def nearest(
        self,
        held: NDArray[np.int16],
        asked: Indices,
        distance: NDArray[np.int16],
        column: int,
        followed: Followed,
    ) -> tuple[Keys, Followed]:
        """(NEAREST, CHUNK), as those of `Searcher.nearest`; and what is to be followed next.

        held: (at least count + WINDOW - 1, bands), all windows. asked: (CHUNK + WINDOW - 1, bands).
        column: the number of the first column that is asked for. followed: of the column before.
        """
        hits = self._occurrences(_words(asked[WINDOW - _WORD :]))  # (CHUNK, candidates)
        found = np.full((CHUNK, NEAREST), NONE)
        windows = np.lib.stride_tricks.sliding_window_view(asked, WINDOW, axis=0)
        for start in range(0, CHUNK, _STEP):
            some = slice(start, start + _STEP)
            places = hits[some]
            if followed.places is not None:
                late = np.arange(start, start + _STEP)[:, None] + column - followed.column
                moved = np.where(followed.places >= 0, followed.places + late, -1)
                moved[moved >= self.count] = -1
                places = np.concatenate([moved, places], axis=1)
            places = np.sort(places, axis=1)
            places[:, 1:][places[:, 1:] == places[:, :-1]] = -1
            rows = held[places[..., None] + np.arange(WINDOW)]  # (_STEP, candidates, WINDOW, bands)
            there = windows[some].transpose(0, 2, 1)[:, None]
            apart = distance[rows, there].sum(axis=(2, 3), dtype=np.int64)
            keys = np.where(places >= 0, keys_of(apart, places), NONE)
            if keys.shape[1] > NEAREST:
                keys = np.partition(keys, NEAREST - 1, axis=1)[:, :NEAREST]
            found[some, : keys.shape[1]] = np.sort(keys, axis=1)
            last = found[start + _STEP - 1]
            best = np.where(last < NONE, places_of(np.minimum(last, NONE - 1)), -1)
            followed = Followed(column + start + _STEP - 1, best)
        return found.T, followed

    def _occurrences(self, words: Indices) -> Indices:
        """(n, bands x _OCCURRENCES), of words (n, bands): the last windows with each; -1: none."""
        bands = np.arange(words.shape[1])
        place = self._last[bands, words] - 1
        found = np.full((_OCCURRENCES, *words.shape), -1)
        for each in found:
            each[:] = place
            if self.count:
                place = np.where(place >= 0, self._before[bands, np.maximum(place, 0)] - 1, -1)
        return found.transpose(1, 0, 2).reshape(len(words), -1)


def _words(ids: NDArray[np.int16] | Indices) -> Indices:
    """(n, bands), of ids (n + 2, bands): the bucket of each three ids, one after the other."""
    wide = ids.astype(np.int64)
    mixed = (wide[:-2] * _FACTOR + wide[1:-1]) * _FACTOR + wide[2:]
    return (mixed * _FACTOR >> 3) % _BUCKETS
