"""Edit distance of an item from many others at once.

    d(x, y) = least cost of editing x into y / the number of frames of the longer one

Frames are inserted, deleted, or put in another one's place (Levenshtein 1966, "Binary codes capable
of correcting deletions, insertions and reversals"; Wagner and Fischer 1974, "The string-to-string
correction problem"). To insert or delete a frame costs as much as the largest distance of two
frames, and to replace one costs the distance of the two, so that d is from 0 to 1. Sarkar and
Magimai.-Doss 2025, "Towards leveraging sequential structure in animal vocalizations"
(arXiv:2511.10190), distinguish call types and callers by this distance of token sequences.
"""

import numpy as np

from ulmo.arrays import Indices
from ulmo.evaluation.distances import Costs, Floats


def edit(costs: Costs, lengths: Indices, whole: float) -> tuple[Floats, Floats]:
    """Distances (p,) of an item of n frames from p items of `lengths` (p,) frames, and back.

    `costs` (n, m, p) are the distances of their frames, from 0 to `whole`, the cost of a frame that
    is inserted or deleted; the result is from 0 to `whole`, too, and the same in both directions.
    Costs after the end of an item have no effect. One antidiagonal of all p items is computed at a
    time, from the two before it.
    """
    n, m, p = costs.shape
    cells = costs.reshape(n * m, p)
    # Row i holds the cost of editing the first i frames of x into the first k - i frames of y.
    totals = [np.empty((n + 1, p), np.float32) for _ in range(3)]
    ends = np.empty((m + 1, p), np.float32)
    for k in range(n + m + 1):
        total, one, two = (totals[(k - back) % 3] for back in range(3))
        first, last = max(k - m, 1), min(k - 1, n)  # rows with at least a frame of x and one of y
        if first <= last:
            here, before = slice(first, last + 1), slice(first - 1, last)
            single = np.minimum(one[here], one[before])
            single += np.float32(whole)
            start = (first - 1) * m + k - first - 1  # of the cell (first - 1, k - first - 1)
            step = max(m - 1, 1)
            replaced = two[before] + cells[start : start + (last - first) * step + 1 : step]
            np.minimum(single, replaced, out=total[here])
        if k <= m:
            total[0] = whole * k
        if k <= n:
            total[k] = whole * k
        if k >= n:
            ends[k - n] = total[n]
    found = ends[lengths, np.arange(p)].astype(np.float64) / np.maximum(lengths, n)
    return found, found
