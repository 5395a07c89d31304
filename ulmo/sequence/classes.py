"""Which events are the same sound: how alike each pair is, its best match, and the classes.

Every two events are aligned. Their score, divided by the mean of those with themselves, is 1 for
equal sounds: long and loud ones are not more alike for being long.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ulmo.arrays import Array, Indices, Mask
from ulmo.sequence.alignment import path_scores
from ulmo.sequence.evidence import Evidence

# For columns of a stream, a function from two parts of them to how alike each two columns are,
# (part, other part): positive where alike.
Cells = Callable[[Indices], Callable[[slice, slice], Array]]
_LEAST = 0.4  # mean likeness of two classes that are joined: 0.35 to 0.45 find the same classes
_DIRECTIONS = 64  # of the latents, those that vary most
_NOISE = 0.05  # mean variance that is added to that of each direction
_AT_ONCE = 16_384  # columns of events with which one is aligned: they stay in the cache


def by_evidence(evidence: Evidence) -> Cells:
    """By the ids alone."""

    def of(columns: Indices) -> Callable[[slice, slice], Array]:
        rows = evidence.rows[columns]

        def cells(part: slice, other: slice) -> Array:
            total = np.zeros((len(rows[part]), len(rows[other])), np.int16)
            for band, table in enumerate(evidence.table):
                total += np.take(table[rows[part, band]], rows[other, band], axis=1)
            bits: Array = total.astype(np.float32) * np.float32(evidence.unit)
            return bits

        return cells

    return of


def by_latents(latents: Array, heard: Mask) -> Cells:
    """By latents (time, d): inner products of those whose variance is made equal.

    What most columns have in common, the background, then weighs no more than anything else.
    """
    columns = heard.any(axis=1)
    some = latents[columns] if columns.sum() > 1 else latents
    mean = some.mean(axis=0, dtype=np.float64)
    centred = some - mean
    variance, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(some))
    variance, axes = variance[::-1][:_DIRECTIONS], axes[:, ::-1][:, :_DIRECTIONS]
    scale = np.sqrt(np.maximum(variance, 0) + _NOISE * max(variance.mean(), 1e-12))
    projection = (axes / scale / len(scale) ** 0.25).astype(np.float32)
    # Unlike columns have a product of 0 or so: one less, and they end an alignment.
    least = len(scale) ** 0.5 / 8

    def of(columns: Indices) -> Callable[[slice, slice], Array]:
        projected = (latents[columns] - mean.astype(np.float32)) @ projection

        def cells(part: slice, other: slice) -> Array:
            alike: Array = projected[part] @ projected[other].T - least
            return alike

        return cells

    return of


class Compared(NamedTuple):
    """Events as they are compared: in one row of columns, one behind the other."""

    ends: Indices  # (events + 1,): where each begins, and the last ends, with a column that is none
    none: Mask  # (n,): whether a column is none
    cells: Callable[[slice, slice], Array]

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int]], cells: Cells, most: int) -> "Compared":
        """The middles of events (first, end), of at most so many columns each."""
        inner = [_middle(first, end, most) for first, end in spans]
        columns = np.concatenate([np.append(np.arange(*span), span[0]) for span in inner])
        ends = np.cumsum([0] + [end + 1 - first for first, end in inner])
        none = np.zeros(len(columns), np.bool_)
        none[ends[1:] - 1] = True
        return cls(ends, none, cells(columns))

    def scores(self, event: int, first: int, last: int) -> Array:
        """(last - first,): how alike an event and each from the `first` to before the last are."""
        own = slice(self.ends[event], self.ends[event + 1] - 1)
        wanted = np.arange(self.ends[first], self.ends[last], _AT_ONCE)
        cuts = [*np.unique(np.searchsorted(self.ends, wanted)).tolist(), last]
        found = []
        for low, high in pairwise(cuts):
            part = slice(self.ends[low], self.ends[high])
            block = self.cells(own, part)
            block[:, self.none[part]] = -np.inf
            starts = self.ends[low:high] - self.ends[low]
            found.append(np.maximum.reduceat(path_scores(block), starts))
        return np.concatenate(found)


def compare(spans: Sequence[tuple[int, int]], cells: Cells, *, most: int) -> Array:
    """How alike the events (first, end) are, (events, events), 1 on the diagonal.

    most: columns of an event that are compared, from its middle.
    """
    compared = Compared.of(spans, cells, most)
    scores = np.zeros((len(spans), len(spans)), np.float32)

    def fill(event: int) -> None:
        scores[event, event:] = scores[event:, event] = compared.scores(event, event, len(spans))

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as executor:
        deque(executor.map(fill, range(len(spans))), maxlen=0)
    own = np.maximum(np.diag(scores), 1e-6).astype(np.float64)
    for event, row in enumerate(scores):
        row[:] = 2 * row.astype(np.float64) / (own[event] + own)
    np.fill_diagonal(scores, 1)
    return scores


def _middle(first: int, end: int, most: int) -> tuple[int, int]:
    cut = max(end - first - most, 0)
    return first + cut // 2, first + cut // 2 + min(end - first, most)


def group(alike: Array, least: float = _LEAST) -> NDArray[np.int64]:
    """Classes (events,), from 0 by first occurrence: clusters joined by their mean likeness."""
    from sklearn.cluster import AgglomerativeClustering

    if len(alike) < 2:
        return np.zeros(len(alike), np.int64)
    clusters = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - least, metric="precomputed", linkage="average"
    ).fit_predict(1 - alike)
    _, first, places = np.unique(clusters, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[places]
