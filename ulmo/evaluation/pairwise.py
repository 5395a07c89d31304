"""Distances of every item from every other item: frames compared, then aligned, many at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.evaluation.distances import FRAME_DISTANCES, Costs, Floats, FrameDistance, Item
from ulmo.evaluation.dtw import dtw
from ulmo.evaluation.edit import edit

_LONGEST = 1.2  # items are aligned together if their lengths differ by at most this factor
MAX_CELLS = 1 << 21  # pairs of frames held at once: 8 MB of distances


class Alignment(NamedTuple):
    """A distance of items from the distances of their frames."""

    # Distances (n, m, p) of the n frames of an item from those of p items, the lengths (p,) of
    # these, and the largest distance of two frames, to distances (p,).
    align: Callable[[Costs, Indices, float], Floats]
    symmetric: bool  # whether an item is as far from another as that one is from it


ALIGNMENTS = {
    # Mean distance of the paired frames; a frame may be paired several times. Its rule for paths of
    # equal cost depends on which item is which.
    "dtw": Alignment(dtw, symmetric=False),
    # Levenshtein's distance over the longer length: a frame is paired once, or costs 1 by itself.
    "edit": Alignment(edit, symmetric=True),
}


class _Group(NamedTuple):
    """Items of similar lengths."""

    indices: Indices  # (p,)
    lengths: Indices  # (p,)
    frames: Item  # (m * p, d), frame 0 of every item first; zeros after the end of an item


def distance_matrix(
    items: Sequence[Item],
    distance: str | FrameDistance,
    alignment: str = "dtw",
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Floats:
    """Distances (n, n) of n items (frames, ...): of the item of the row from that of the column.

    `distance` is a FrameDistance or its name in FRAME_DISTANCES, `alignment` a name in ALIGNMENTS.
    `progress` receives the pairs done, and all. ValueError for an item without frames.
    """
    if any(len(item) == 0 for item in items):
        raise ValueError("an item has no frames")
    metric = FRAME_DISTANCES[distance] if isinstance(distance, str) else distance
    align, symmetric = ALIGNMENTS[alignment]
    prepared = [metric.prepare(item) for item in items]
    scale = prepared[0].shape[1] if metric.sums_dimensions and prepared else 1
    matrix = np.empty((len(items), len(items)))
    done, rows = 0, [] if symmetric else list(range(len(items)))
    for group in _groups(prepared):
        columns, mirrored = group.indices, len(rows) if symmetric else 0
        rows += columns.tolist() if symmetric else []
        for number, row in enumerate(rows):
            costs = metric.between(prepared[row], group.frames)
            shape = (len(prepared[row]), -1, len(columns))
            matrix[row, columns] = align(costs.reshape(shape), group.lengths, scale)
            if number < mirrored:
                matrix[columns, row] = matrix[row, columns]
            done += len(columns) * (2 if number < mirrored else 1)
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
        yield _Group(chosen, lengths[chosen], frames.reshape(-1, width))
