"""Where two sounds begin and end, and how alike they are: local alignment at nearly equal tempo.

As Smith and Waterman 1981 ("Identification of common molecular subsequences"), with three steps:
both a column on, or one of them two. So one sound may be played at half or twice the other's rate,
and each skipped column counts by half.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SKIPPED = 0.5  # weight of a column that is skipped


class Alignment(NamedTuple):
    """The best local alignment of each of several pairs."""

    score: NDArray[np.float64]  # (pairs,), 0 where nothing is alike
    first: NDArray[np.int64]  # (pairs,): first row of each
    end: NDArray[np.int64]  # (pairs,): row after the last


def align(cells: NDArray[np.floating], band: NDArray[np.bool_] | None = None) -> Alignment:
    """Align the rows of each pair with its columns.

    cells: (pairs, rows, columns), positive where a row is like a column. band: (rows, columns),
    where an alignment may pass; None: anywhere.
    """
    pairs, rows, columns = cells.shape
    cells = np.asarray(cells, np.float32)
    if band is not None:
        cells = np.where(band, cells, -np.inf)
    # Two more rows and columns before the first: no step leads out of the arrays.
    scores = np.zeros((rows + 2, pairs, columns + 2), np.float32)
    firsts = np.zeros((rows + 2, pairs, columns + 2), np.int32)
    best, first, end = np.zeros(pairs), np.zeros(pairs, np.int64), np.zeros(pairs, np.int64)
    every = np.arange(pairs)
    earlier = np.zeros((pairs, columns), np.float32)
    for row in range(rows):
        here = cells[:, row]
        total, start = scores[row + 1, :, 1:-1].copy(), firsts[row + 1, :, 1:-1].copy()
        # No alignment begins with a column that is skipped.
        wider, longer = scores[row + 1, :, :-2].copy(), scores[row, :, 1:-1].copy()
        np.add(wider[:, 1:], _SKIPPED * here[:, :-1], out=wider[:, 1:], where=wider[:, 1:] > 0)
        np.add(longer, _SKIPPED * earlier, out=longer, where=longer > 0)
        for way, its_start in ((wider, firsts[row + 1, :, :-2]), (longer, firsts[row, :, 1:-1])):
            better = way > total
            np.copyto(total, way, where=better)
            np.copyto(start, its_start, where=better)
        np.copyto(start, row, where=total <= 0)
        total = np.maximum(np.maximum(total, 0) + here, 0)
        scores[row + 2, :, 2:], firsts[row + 2, :, 2:] = total, start
        column = total.argmax(axis=1)
        highest = total[every, column]
        better = highest > best
        best[better] = highest[better]
        first[better] = start[every, column][better]
        end[better] = row + 1
        earlier = here
    return Alignment(best, first, end)


def path_scores(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best score of a path that ends in each column, (columns,); 0 where nothing is alike.

    cells: (rows, columns), as in `align`. Several pairs may lie side by side, parted by a column of
    -inf. The scores are those of `align`.
    """
    rows, columns = cells.shape
    best = np.zeros(columns, np.float32)
    # Scores of the row before, and of the two rows before where there is a path, else -inf. Two
    # more columns lie before the first.
    last = np.zeros(columns + 2, np.float32)
    begun, earlier = np.full((2, columns + 2), -np.inf, np.float32)
    total, longer = np.empty((2, columns), np.float32)
    halves = np.zeros((2, columns + 1), np.float32)  # of the row before, and of this one
    for row in range(rows):
        here, half = cells[row], halves[row % 2]
        np.multiply(here, np.float32(_SKIPPED), out=half[1:])
        np.add(begun[:-2], half[:-1], out=total)
        np.add(earlier[1:-1], halves[1 - row % 2, 1:], out=longer)
        np.maximum(total, longer, out=total)
        np.maximum(total, last[1:-1], out=total)
        total += here
        np.maximum(total, 0, out=total)
        np.maximum(best, total, out=best)
        begun, earlier = earlier, begun
        last[2:] = begun[2:] = total
        np.copyto(begun[2:], -np.inf, where=total <= 0)
    return best


def tempo_band(rows: int, columns: int, slack: int) -> NDArray[np.bool_]:
    """(rows, columns): within `slack` of the diagonal."""
    band: NDArray[np.bool_] = np.abs(np.arange(rows)[:, None] - np.arange(columns)) <= slack
    return band
