"""Which events are the same sound: how alike each pair is, its best match, and the classes.

Every two events are aligned. Their score, divided by the mean of those with themselves, is 1 for
equal sounds: long and loud ones are not more alike for being long.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
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
_LEAST_SCORE = 1e-6  # of an event with itself
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


class Classified(NamedTuple):
    """What each event is."""

    matches: Indices  # (events,): the event that each is most like
    groups: NDArray[np.int64]  # (events,): classes, from 0 by first occurrence


def classify(
    spans: Sequence[tuple[int, int]], cells: Cells, surest: Indices, *, most: int
) -> Classified:
    """Matches and classes of two or more events (first, end), by time.

    surest: the events, in ascending order, that are compared with each other, and make the classes.
        Each other one is compared with these, and joins the class that it is most like on average,
        if that is enough for two classes to be joined; else it is a class of its own.
    most: columns of an event that are compared, from its middle.
    """
    others = np.setdiff1d(np.arange(len(spans)), surest)
    order = np.concatenate([surest, others])
    compared = Compared.of([spans[event] for event in order], cells, most)
    matches, groups = np.zeros(len(spans), np.int64), np.zeros(len(spans), np.int64)
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as executor:
        alike, own = _compare_all(compared, len(surest), executor)
        groups[surest] = group(alike)
        np.fill_diagonal(alike, -1)
        matches[surest], most_alike = surest[alike.argmax(axis=1)], alike.max(axis=1)
        del alike
        sizes = np.bincount(groups[surest])

        def likeness(place: int) -> Array:
            scores = compared.scores(place, 0, len(surest)).astype(np.float64)
            itself = max(float(compared.scores(place, place, place + 1)[0]), _LEAST_SCORE)
            return (2 * scores / (own + itself)).astype(np.float32)

        places = range(len(surest), len(order))
        for place, found in zip(places, executor.map(likeness, places), strict=True):
            event = order[place]
            matches[event] = surest[found.argmax()]
            matches[surest[found > most_alike]] = event
            most_alike = np.maximum(most_alike, found)
            means = np.bincount(groups[surest], found) / sizes
            joins = int(means.argmax())
            groups[event] = joins if means[joins] >= _LEAST else len(sizes) + place
    return Classified(matches, _by_first(groups))


def _compare_all(
    compared: Compared, count: int, executor: Executor
) -> tuple[Array, NDArray[np.float64]]:
    """How alike the first events are, (count, count), 1 on the diagonal; and their own scores."""
    scores = np.zeros((count, count), np.float32)

    def fill(event: int) -> None:
        scores[event, event:] = scores[event:, event] = compared.scores(event, event, count)

    deque(executor.map(fill, range(count)), maxlen=0)
    own = np.maximum(np.diag(scores), _LEAST_SCORE).astype(np.float64)
    for event, row in enumerate(scores):
        row[:] = 2 * row.astype(np.float64) / (own[event] + own)
    np.fill_diagonal(scores, 1)
    return scores, own


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
    return _by_first(clusters)


def _by_first(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Other numbers of the same classes: from 0 by first occurrence."""
    _, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[places]
