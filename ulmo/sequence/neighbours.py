"""The windows of columns that are nearest to some, exactly.

codes of both -> distances of columns -> sums along diagonals -> least of 8, of 64, ... -> nearest

Distances are whole numbers of 16 bits: the result is the same however the work is divided. A pair
of windows takes about 1 ns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config.token_model import CHUNK

WINDOW = 5  # columns that are compared
NEAREST = 16  # windows that are found
LATER = 1 << 40  # more than all columns
FAR = np.iinfo(np.int16).max  # more than any distance of windows
NONE = np.iinfo(np.int64).max  # in place of a window that is not there
_FAN = 8  # nodes of the tree of least distances that have one above them
_STRIP = 4096  # windows that are compared at once: their distances stay in the cache
_WIDTH = CHUNK + WINDOW - 1  # columns that are asked for

Keys = NDArray[np.int64]


class Searcher:
    """Finds the nearest windows, and keeps its room between searches: 155 bytes a window.

    distance: (codes, codes) int16 of two codes, the same in either order; those of all the bands of
        WINDOW columns sum to less than FAR.
    """

    def __init__(self, distance: NDArray[np.int16]) -> None:
        self._distance = distance
        self._room = np.empty((0, _WIDTH), np.int16)

    def nearest(self, held: NDArray[np.int16], asked: Indices) -> Keys:
        """(NEAREST, CHUNK), rising: distance x LATER - number of each of the nearest windows.

        held: (n + WINDOW - 1, bands), n windows. asked: (CHUNK + WINDOW - 1, bands), CHUNK windows.
        Of windows that are equally near, later ones are taken. NONE: there are no more.
        """
        windows = len(held) - WINDOW + 1
        if windows < 1:
            return np.full((NEAREST, CHUNK), NONE)
        tree = self._tree(held, asked, windows)
        chosen = np.broadcast_to(np.arange(len(tree[-1])), (CHUNK, len(tree[-1])))
        columns = np.arange(CHUNK)[:, None]
        for depth, level in enumerate(reversed(tree)):
            if depth:
                chosen = (chosen[..., None] * _FAN + np.arange(_FAN)).reshape(CHUNK, -1)
            inside = np.minimum(chosen, len(level) - 1)  # nodes at the end have none below them
            keys = keys_of(np.where(chosen == inside, level[inside, columns], FAR), chosen)
            if depth == len(tree) - 1:
                keys[chosen >= windows] = NONE
            if keys.shape[1] > NEAREST:
                keys = np.partition(keys, NEAREST - 1, axis=1)[:, :NEAREST]
            chosen = places_of(keys)
        found = np.full((NEAREST, CHUNK), NONE)
        found[: keys.shape[1]] = np.sort(keys, axis=1).T
        return found

    def _tree(
        self, held: NDArray[np.int16], asked: Indices, windows: int
    ) -> list[NDArray[np.int16]]:
        """Distances (n, _WIDTH) of all windows, least ones of _FAN of them, and so on.

        Each level ends with FAR, up to a multiple of _FAN. Only the first CHUNK numbers of a row
        are distances.
        """
        padded = -(-windows // _FAN) * _FAN
        if padded > len(self._room):
            self._room = np.empty((2 * padded, _WIDTH), np.int16)
        apart = self._room[:padded]
        apart[windows:] = FAR
        above = np.full((-(-padded // _FAN**2) * _FAN, _WIDTH), FAR, np.int16)
        tables = [np.ascontiguousarray(self._distance[each].T) for each in asked.T]
        for start in range(0, windows, _STRIP):
            stop = min(start + _STRIP, windows)
            _sum_diagonals(tables, held[start : stop + WINDOW - 1], apart[start:stop])
            ended = -(-stop // _FAN) * _FAN
            above[start // _FAN : ended // _FAN] = _least(apart[start:ended])
        tree = [apart, above]
        while len(tree[-1]) > _FAN * NEAREST:
            level = np.full((-(-len(tree[-1]) // _FAN**2) * _FAN, _WIDTH), FAR, np.int16)
            level[: len(tree[-1]) // _FAN] = _least(tree[-1])
            tree.append(level)
        return tree


def keys_of(distances: NDArray[Any], places: Indices) -> Keys:
    """One number for the distance of a window and its own number; nearer and later ones are less.

    NONE is more than any.
    """
    return distances.astype(np.int64) * LATER - places


def places_of(keys: Keys) -> Indices:
    """The numbers of windows, from their keys."""
    return distances_of(keys) * LATER - keys


def distances_of(keys: Keys) -> NDArray[np.int64]:
    """The distances of windows, from their keys."""
    return -(-keys // LATER)


def _sum_diagonals(
    tables: list[NDArray[np.int16]], held: NDArray[np.int16], out: NDArray[np.int16]
) -> None:
    """Distances of windows, (n, _WIDTH), of which the first CHUNK in a row are right.

    tables: of each band, the distances (codes, _WIDTH) of the columns that are asked for.
    held: (n + WINDOW - 1, bands).

    A step along a diagonal is a step of _WIDTH + 1 in memory, so that all sums are over whole rows.
    """
    columns = np.empty((len(held), _WIDTH), np.int16)
    more = np.empty_like(columns)
    for band, table in enumerate(tables):
        places = held[:, band].astype(np.intp)
        np.take(table, places, axis=0, out=more if band else columns, mode="clip")
        if band:
            np.add(columns, more, out=columns)
    flat, sums, step = columns.ravel(), out.reshape(-1), _WIDTH + 1
    length = sums.size - WINDOW + 1
    pairs = flat[:-step] + flat[step:]
    np.add(pairs[:length], pairs[2 * step :][:length], out=sums[:length])
    np.add(sums[:length], flat[4 * step :][:length], out=sums[:length])


def _least(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    """The least of each _FAN rows, by halves: four times as fast as NumPy's `min`."""
    parts = rows.reshape(len(rows) // _FAN, -1)
    while parts.shape[1] > _WIDTH:
        half = parts.shape[1] // 2
        parts = np.minimum(parts[:, :half], parts[:, half:])
    return parts
