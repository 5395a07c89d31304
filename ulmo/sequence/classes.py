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
from ulmo.sequence.calibration import support
from ulmo.sequence.evidence import Evidence

# For columns of a stream, a function from two parts of them to how alike each two columns are,
# (part, other part): positive where alike.
Cells = Callable[[Indices], Callable[[slice, slice], Array]]
# Mean likeness of two classes that are joined: 0.05 more or less finds about the same classes.
LEAST_BY_IDS, LEAST_BY_LATENTS = 0.4, 0.5
_BEST = 6  # events that support one, as many as matches of a window: `events._BEST`
_DIRECTIONS = 64  # of the latents, those that vary most
_NOISE = 0.15  # mean variance that is added to that of each direction
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


class Likeness(NamedTuple):
    """How alike events are: the first n with each other, and others with these when asked."""

    compared: Compared  # all events
    spans: Indices  # (events, 2): first column and end of each
    apart: int  # columns between two events, of which one says that the other came back
    alike: Array  # (n, n), 1 on the diagonal
    own: NDArray[np.float64]  # (n,): the score of each with itself

    @classmethod
    def of(
        cls, spans: Sequence[tuple[int, int]], count: int, cells: Cells, *, most: int, apart: int
    ) -> "Likeness":
        """Compare the first `count` events (first, end) with each other.

        most: columns of an event that are compared, from its middle.
        """
        compared = Compared.of(spans, cells, most)
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as executor:
            alike, own = _compare_all(compared, count, executor)
        return cls(compared, np.array(spans), apart, alike, own)

    def with_first(self, event: int) -> Array:
        """(n,): how alike an event that is none of the first n and each of these are."""
        scores = self.compared.scores(event, 0, len(self.alike)).astype(np.float64)
        itself = max(float(self.compared.scores(event, event, event + 1)[0]), _LEAST_SCORE)
        alike: Array = (2 * scores / (self.own + itself)).astype(np.float32)
        return alike

    def most_alike(self, event: int) -> NDArray[np.float64]:
        """(best,): the highest likeness of one of the first n with others that are not near it."""
        (first, end), (firsts, ends) = self.spans[event], self.spans[: len(self.alike)].T
        near = np.maximum(firsts, first) - np.minimum(ends, end) < self.apart
        alike = np.where(near, -1.0, self.alike[event])
        best: NDArray[np.float64] = np.sort(alike)[::-1][:_BEST]
        return best

    def only(self, events: Indices) -> "Likeness":
        """The same of some of the first n, without any other."""
        alike = self.alike[np.ix_(events, events)]
        return self._replace(spans=self.spans[events], alike=alike, own=self.own[events])


def ranked(rates: NDArray[np.float64], likeness: Likeness) -> NDArray[np.float64]:
    """The rates (n,) of events, dealt out anew: the least to the event that others are most like.

    As many are below a limit as before. Which ones, their likeness says: what others support, as
    that of windows (`calibration.support`), where usual is the median likeness of two events.
    """
    best = np.array([likeness.most_alike(event) for event in range(len(rates))])
    said = support(best, np.full(best.shape[1], np.median(likeness.alike)))
    dealt = np.empty(len(rates))
    dealt[np.lexsort((rates, -said))] = np.sort(rates)
    return dealt


class Classified(NamedTuple):
    """What each event is."""

    matches: Indices  # (events,): the event that each is most like
    groups: NDArray[np.int64]  # (events,): classes, from 0 by first occurrence


def classify(likeness: Likeness, least: float) -> Classified:
    """Matches and classes of two or more events.

    The first n make the classes. Each other one joins the class of these that it is most like on
    average, if that is enough for two classes to be joined; else it is a class of its own.
    least: mean likeness of two classes that are joined.
    """
    count, events = len(likeness.alike), len(likeness.spans)
    matches, groups = np.zeros((2, events), np.int64)
    groups[:count] = group(likeness.alike, least)
    alike = likeness.alike - 2 * np.eye(count, dtype=np.float32)
    matches[:count], most_alike = alike.argmax(axis=1), alike.max(axis=1)
    sizes = np.bincount(groups[:count])
    others = range(count, events)
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as executor:
        for event, found in zip(others, executor.map(likeness.with_first, others), strict=True):
            matches[event] = found.argmax()
            matches[:count][found > most_alike] = event
            most_alike = np.maximum(most_alike, found)
            means = np.bincount(groups[:count], found) / sizes
            joins = int(means.argmax())
            groups[event] = joins if means[joins] >= least else len(sizes) + event
    by_time = np.argsort(likeness.spans[:, 0], kind="stable")
    groups[by_time] = _by_first(groups[by_time])
    return Classified(matches, groups)


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


def group(alike: Array, least: float) -> NDArray[np.int64]:
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
