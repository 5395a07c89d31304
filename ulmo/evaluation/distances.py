"""How far one frame of an item lies from a frame of another.

An item is an array (frames, ...): ids (frames, bands), vectors (frames, dimensions), or vectors of
several bands (frames, bands, dimensions), which are put one after another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Item = NDArray[Any]
Floats = NDArray[np.float64]
Costs = NDArray[np.float32]

ROUNDING = 1e-12
"""Vectors that differ by no more than rounding (their cosine, the square of their distance over
their own squares) are the same: only then do equal sequences of codes have equal distances."""


class FrameDistance(NamedTuple):
    """A distance between frames."""

    prepare: Callable[[Item], Item]
    """What `between` takes, (frames, d), of an item (frames, ...)."""
    between: Callable[[Item, Item], Costs]
    """Distances (n, m) of prepared frames (n, d) and (m, d)."""
    of_each_dimension: bool
    """Whether `between` adds up over the d dimensions, where the distance is the mean of them.

    Whole numbers add up exactly, so that ties stay ties.
    """


def _flat(item: Item) -> Item:
    return item.reshape(len(item), -1)


def _vectors(item: Item) -> Floats:
    return _flat(item).astype(np.float64)


def _directions(item: Item) -> Floats:
    """Vectors of norm 1; zero, which has no direction, lies at right angles to all others."""
    vectors = _vectors(item)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    directions: Floats = np.concatenate([unit, norms == 0], axis=1)
    return directions


def _differing(x: Item, y: Item) -> Costs:
    counts = np.zeros((len(x), len(y)), np.uint16)
    for of_x, of_y in zip(x.T, np.ascontiguousarray(y.T), strict=True):
        counts += of_x[:, None] != of_y
    return counts.astype(np.float32)


def _angles(x: Item, y: Item) -> Costs:
    cosines = x @ y.T
    cosines[cosines > 1 - ROUNDING] = 1
    angles: Costs = np.arccos(np.maximum(cosines, -1, out=cosines)).astype(np.float32)
    angles /= np.float32(np.pi)
    return angles


def _euclidean(x: Item, y: Item) -> Costs:
    squares = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1)
    squared = squares - 2 * (x @ y.T)
    squared[squared < ROUNDING * squares] = 0
    distances: Costs = np.sqrt(squared).astype(np.float32)
    return distances


FRAME_DISTANCES = {
    "identical": FrameDistance(_flat, _differing, of_each_dimension=True),
    "cosine": FrameDistance(_directions, _angles, of_each_dimension=False),
    "euclidean": FrameDistance(_vectors, _euclidean, of_each_dimension=False),
}
"""`identical`: share of the bands whose ids differ, 0 or 1 where there is one band.
`cosine`: the angle between vectors over pi, from 0 to 1, which fastabx calls so, too.
`euclidean`: the root of the summed squares of differences."""
