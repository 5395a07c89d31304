"""Distances of every item from every other item: frames compared, then aligned, many at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ulmo.arrays import Array, Indices
from ulmo.evaluation.distances import FRAME_DISTANCES, Costs, Floats, FrameDistance, Item
from ulmo.evaluation.dtw import dtw
from ulmo.evaluation.edit import edit

_LONGEST = 1.2  # items are aligned together if their lengths differ by at most this factor
MAX_CELLS = 1 << 21  # pairs of frames that a thread compares at a time: it holds some 32 MB
_THREADS = 4  # at most

# Distances (n, m, p) of the n frames of an item from those of p items, the lengths (p,) of these,
# and the largest distance of two frames, to the distances (p,) of the item from the p items, and
# those of the p items from the item.
Align = Callable[[Costs, Indices, float], tuple[Floats, Floats]]
ALIGNMENTS: dict[str, Align] = {
    # Mean distance of the paired frames; a frame may be paired several times. Its rule for paths of
    # equal cost depends on which item is which.
    "dtw": dtw,
    # Levenshtein's distance over the longer length: a frame is paired once, or costs 1 by itself.
    "edit": edit,
}


class _Group(NamedTuple):
    """Items of similar lengths."""

    indices: Indices  # (p,)
    lengths: Indices  # (p,)
    frames: Item  # (m, p, d); zeros after the end of an item


def distance_matrix(
    items: Sequence[Item],
    distance: str | FrameDistance,
    alignment: str = "dtw",
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Floats:
    """Distances (n, n) of n items (frames, ...): of the item of the row from that of the column.

    Up to 4 cores compute, and the result is the same with any number of them.
    `distance` is a FrameDistance or its name in FRAME_DISTANCES, `alignment` a name in ALIGNMENTS.
    `progress` receives the pairs done, and all. ValueError for an item without frames.
    """
    if any(len(item) == 0 for item in items):
        raise ValueError("an item has no frames")
    metric = FRAME_DISTANCES[distance] if isinstance(distance, str) else distance
    align = ALIGNMENTS[alignment]
    prepared = [metric.prepare(item) for item in items]
    scale = prepared[0].shape[1] if metric.sums_dimensions and prepared else 1
    matrix = np.empty((len(items), len(items)))

    def compare(group: _Group, row: int, met: int) -> int:
        """Fill in an item and those of a group from place `met` on; returns their number."""
        columns, frames = group.indices[met:], group.frames[:, met:]
        costs = metric.between(prepared[row], frames.reshape(-1, frames.shape[2]))
        shape = (len(prepared[row]), -1, len(columns))
        there, back = align(costs.reshape(shape), group.lengths[met:], scale)
        matrix[columns, row] = back
        matrix[row, columns] = there
        return len(columns)

    done, rows = 0, list[int]()
    threads = min(os.cpu_count() or 1, _THREADS)
    with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:
        for group in _groups(prepared):
            others = len(rows)
            rows += group.indices.tolist()
            met = [max(number - others, 0) for number in range(len(rows))]  # already compared
            for number, count in enumerate(executor.map(partial(compare, group), rows, met)):
                done += 2 * count - (number >= others)
                if progress:
                    progress(done, matrix.size)
    matrix /= scale
    return matrix


def vector_distances(vectors: Array) -> Floats:
    """Distances (n, n) of vectors (n, d): the angle between them over pi, from 0 to 1."""
    return distance_matrix([vector[None] for vector in vectors], "cosine")


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
        yield _Group(chosen, lengths[chosen], frames)
