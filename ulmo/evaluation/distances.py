"""Distances between a frame of one item and a frame of another.

An item is an array (frames, ...): ids (frames, bands), vectors (frames, dimensions), or vectors of
several bands (frames, bands, dimensions), which are concatenated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array

Item = NDArray[Any]
Floats = NDArray[np.float64]
Costs = NDArray[np.float32]

# Vectors that differ by rounding alone (in their cosine, or in the square of their distance over
# their own squares) count as equal: only then do equal sequences of codes have equal distances.
_ROUNDING = 1e-12


class FrameDistance(NamedTuple):
    """A distance between frames."""

    prepare: Callable[[Item], Item]  # an item (frames, ...) as the (frames, d) of `between`
    between: Callable[[Item, Item], Costs]  # distances (n, m) of prepared frames (n, d), (m, d)
    # Whether `between` sums over the d dimensions and the caller divides by d. Whole numbers add up
    # exactly, so that ties remain ties.
    sums_dimensions: bool


def _flat(item: Item) -> Item:
    return item.reshape(len(item), -1)


def _vectors(item: Item) -> Floats:
    return _flat(item).astype(np.float64)


def _directions(item: Item) -> Floats:
    """Vectors of norm 1; a zero vector, without direction, is at right angles to all others."""
    vectors = _vectors(item)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    directions: Floats = np.concatenate([unit, norms == 0], axis=1)
    return directions


def _differing(x: Item, y: Item) -> Costs:
    counts = np.zeros((len(x), len(y)), np.uint16)
    for x_band, y_band in zip(x.T, np.ascontiguousarray(y.T), strict=True):
        counts += x_band[:, None] != y_band
    return counts.astype(np.float32)


def _angles(x: Item, y: Item) -> Costs:
    cosines = x @ y.T
    cosines[cosines > 1 - _ROUNDING] = 1
    angles: Costs = np.arccos(np.maximum(cosines, -1, out=cosines)).astype(np.float32)
    angles /= np.float32(np.pi)
    return angles


def _euclidean(x: Item, y: Item) -> Costs:
    squares = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1)
    squared = squares - 2 * (x @ y.T)
    squared[squared < _ROUNDING * squares] = 0
    distances: Costs = np.sqrt(squared).astype(np.float32)
    return distances


FRAME_DISTANCES = {
    # Share of the bands whose ids differ: 0 or 1 with one band.
    "identical": FrameDistance(_flat, _differing, sums_dimensions=True),
    # The angle between vectors over pi, from 0 to 1; fastabx uses the same name.
    "cosine": FrameDistance(_directions, _angles, sums_dimensions=False),
    # The root of the sum of squared differences.
    "euclidean": FrameDistance(_vectors, _euclidean, sums_dimensions=False),
}


def substitution_distance(scores: Array) -> FrameDistance:
    """The distance of ids (frames, bands) by how well one stands for another, over the bands.

    `scores` (bands, CB, CB) are log-odds in bits: how much more often id a and id b of a band stand
    for the same sound than by chance. In each band

        d(a, b) = 1 - s(a, b) / mean(s(a, a), s(b, b))

    from 0 to 1, and 0 for equal ids (Feng and Doolittle 1987, "Progressive sequence alignment as a
    prerequisite to correct phylogenetic trees": by chance, a score is 0 bits). Scores of a and b
    and of b and a are averaged. Ids from CB on have no scores: their distance is 0 from each other,
    and 1 from all codes. With scores of 1 for equal ids and 0 for others, it is `identical`.
    ValueError for scores of another shape, or that are not finite.
    """
    if scores.ndim != 3 or scores.shape[1] != scores.shape[2] or not np.isfinite(scores).all():
        raise ValueError("scores are finite numbers (bands, CB, CB)")
    bands, codes, _ = scores.shape
    both = (scores + scores.transpose(0, 2, 1)) / 2
    own = np.diagonal(both, axis1=1, axis2=2)
    best = (own[:, :, None] + own[:, None]) / 2
    near = np.divide(both, best, out=np.zeros_like(both), where=best > 0)
    table = np.ones((bands, codes + 1, codes + 1), np.float32)
    table[:, :codes, :codes] = 1 - np.clip(near, 0, 1)
    table[:, np.arange(codes + 1), np.arange(codes + 1)] = 0

    def prepare(item: Item) -> Item:
        if item.shape[1:] != (bands,):
            raise ValueError(f"items are ids (frames, {bands}), one a band of the scores")
        known: Item = np.where(item < codes, item, codes)
        return known

    def between(x: Item, y: Item) -> Costs:
        costs = np.zeros((len(x), len(y)), np.float32)
        for of_band, x_band, y_band in zip(table, x.T, np.ascontiguousarray(y.T), strict=True):
            costs += np.take(of_band[x_band], y_band, axis=1)
        return costs

    return FrameDistance(prepare, between, sums_dimensions=True)
