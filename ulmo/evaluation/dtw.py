"""Dynamic time warping of an item with many others at once.

    d(x, y) = cost of the cheapest path from the first frames of both to the last ones
              / number of its steps

A path advances by a frame of x, of y, or of both; its cost is the sum of the distances of the
frames that it pairs. Between paths of equal cost, the step of both goes first, then that of y, then
that of x, as in torchdtw (`csrc/dtw.cpp`), the DTW of fastabx: the number of steps depends on it.
So d(y, x) may differ from d(x, y). Both have the same costs, and are found together.
"""

import numpy as np

from ulmo.arrays import Indices
from ulmo.evaluation.distances import Costs, Floats


def dtw(costs: Costs, lengths: Indices, whole: float = 1) -> tuple[Floats, Floats]:
    """Distances (p,) of an item of n frames from p items of `lengths` (p,) frames, and back.

    `costs` (n, m, p) are the distances of their frames; those after the end of an item have no
    effect, nor has `whole`: every frame is paired. One antidiagonal of all p items is computed at a
    time, from the two before it.
    """
    n, m, p = costs.shape
    cells = costs.reshape(n * m, p)
    # Row i + 1 is frame i of x; row 0, and cells not reached by an antidiagonal, are infinite.
    totals = [np.full((n + 1, p), np.inf, np.float32) for _ in range(3)]
    steps = [np.zeros((2, n + 1, p), np.int32) for _ in range(3)]  # there, and back
    ends, end_steps = np.empty((m, p), np.float32), np.empty((2, m, p), np.int32)
    totals[0][1], steps[0][:, 1] = cells[0], 1
    if n == 1:
        ends[0], end_steps[:, 0] = cells[0], 1
    # Values are chosen by products with masks: np.where takes three times as long.
    least, together = np.empty((n, p), np.float32), np.empty((n, p), np.bool_)
    y_first, chosen, change = (np.empty((2, n, p), kind) for kind in (np.bool_, np.int32, np.int32))
    for k in range(1, n + m - 1):
        first, last = max(k - m + 1, 0), min(k, n - 1)
        here, before, used = slice(first + 1, last + 2), slice(first, last + 1), last + 1 - first
        total, one, two = (totals[(k - back) % 3] for back in range(3))
        step, step_one, step_two = (steps[(k - back) % 3] for back in range(3))
        y_step, x_step, both = one[here], one[before], two[before]
        single = np.minimum(y_step, x_step, out=least[:used])
        np.less_equal(y_step, x_step, out=y_first[0, :used])
        np.less(y_step, x_step, out=y_first[1, :used])
        picked = np.subtract(step_one[:, here], step_one[:, before], out=chosen[:, :used])
        picked *= y_first[:, :used]
        picked += step_one[:, before]
        other = np.subtract(step_two[:, before], picked, out=change[:, :used])
        other *= np.less_equal(both, single, out=together[:used])
        picked += other
        np.add(picked, 1, out=step[:, here])
        np.minimum(single, both, out=single)
        across = slice(k + first * (m - 1), k + last * (m - 1) + 1, max(m - 1, 1))
        np.add(single, cells[across], out=total[here])
        if last == n - 1:
            ends[k - last], end_steps[:, k - last] = total[n], step[:, n]
    at = (lengths - 1, np.arange(p))
    there, back = ends[at].astype(np.float64) / end_steps[:, *at]
    return there, back
