"""Dynamic time warping of every item with every other item, many at once.

    d(x, y) = cost of the cheapest path from the first frames of both to the last ones
              / number of its steps

A path advances by a frame of x, of y, or of both; its cost is the sum of the distances of the
frames that it pairs. Between paths of equal cost, the step of both goes first, then that of y, then
that of x, as in torchdtw (`csrc/dtw.cpp`), the DTW of fastabx: the number of steps depends on it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.evaluation.distances import FRAME_DISTANCES, Costs, Floats, Item

_LONGEST = 1.2  # items are warped together if their lengths differ by at most this factor
MAX_CELLS = 1 << 21  # pairs of frames held at once: 8 MB of distances


class _Group(NamedTuple):
    """Items of similar lengths."""

    indices: NDArray[np.int64]  # (p,)
    lengths: NDArray[np.int64]  # (p,)
    frames: Item  # (m * p, d), frame 0 of every item first; zeros after the end of an item


def distance_matrix(
    items: Sequence[Item], distance: str, *, progress: Callable[[int, int], object] | None = None
) -> Floats:
    """Distances (n, n) of n items (frames, ...): of the item of the row from that of the column.

    `distance` is a name in FRAME_DISTANCES. The matrix is nearly symmetric: the rule for paths of
    equal cost is not. `progress` receives the pairs done, and all. ValueError for an item without
    frames.
    """
    if any(len(item) == 0 for item in items):
        raise ValueError("an item has no frames")
    metric = FRAME_DISTANCES[distance]
    prepared = [metric.prepare(item) for item in items]
    matrix = np.empty((len(items), len(items)))
    done = 0
    for group in _groups(prepared):
        for row, x in enumerate(prepared):
            costs = metric.between(x, group.frames)
            shape = (len(x), -1, len(group.indices))
            matrix[row, group.indices] = dtw(costs.reshape(shape), group.lengths)
            done += len(group.indices)
            if progress:
                progress(done, matrix.size)
    if metric.sums_dimensions and prepared:
        matrix /= prepared[0].shape[1]
    return matrix


def dtw(costs: Costs, lengths: NDArray[np.int64]) -> Floats:
    """Distances (p,) of an item of n frames from p items of `lengths` (p,) frames, at most m.

    `costs` (n, m, p) are the distances of their frames; those after the end of an item have no
    effect. One antidiagonal of all p items is computed at a time, from the two before it.
    """
    n, m, p = costs.shape
    cells = costs.reshape(n * m, p)
    # Row i + 1 is frame i of x; row 0, and cells not reached by an antidiagonal, are infinite.
    totals = [np.full((n + 1, p), np.inf, np.float32) for _ in range(3)]
    steps = [np.zeros((n + 1, p), np.int32) for _ in range(3)]
    ends, end_steps = np.empty((m, p), np.float32), np.empty((m, p), np.int32)
    totals[0][1], steps[0][1] = cells[0], 1
    if n == 1:
        ends[0], end_steps[0] = cells[0], 1
    for k in range(1, n + m - 1):
        first, last = max(k - m + 1, 0), min(k, n - 1)
        here, before = slice(first + 1, last + 2), slice(first, last + 1)
        total, one, two = (totals[(k - back) % 3] for back in range(3))
        step, step_one, step_two = (steps[(k - back) % 3] for back in range(3))
        y_step, x_step, both = one[here], one[before], two[before]
        single = np.minimum(y_step, x_step)
        reached = np.where(y_step <= x_step, step_one[here], step_one[before])
        np.copyto(reached, step_two[before], where=both <= single)
        np.add(reached, 1, out=step[here])
        np.minimum(single, both, out=single)
        across = slice(k + first * (m - 1), k + last * (m - 1) + 1, max(m - 1, 1))
        np.add(single, cells[across], out=total[here])
        if last == n - 1:
            ends[k - last], end_steps[k - last] = total[n], step[n]
    at = (lengths - 1, np.arange(p))
    return ends[at].astype(np.float64) / end_steps[at]


def _groups(items: Sequence[Item]) -> Iterator[_Group]:
    lengths = np.array([len(item) for item in items], np.int64)
    order = np.argsort(lengths, kind="stable")
    width = items[0].shape[1] if items else 0
    while len(order):
        longest = max(int(lengths[order[0]] * _LONGEST), 1)
        most = max(MAX_CELLS // (int(lengths.max()) * longest), 1)
        size = min(int(np.searchsorted(lengths[order], longest, "right")), most)
        chosen, order = order[:size], order[size:]
        frames = np.zeros((int(lengths[chosen[-1]]), size, width), items[chosen[0]].dtype)
        for column, index in enumerate(chosen):
            frames[: len(items[index]), column] = items[index]
        yield _Group(chosen, lengths[chosen], frames.reshape(-1, width))
