"""Which events are the same sound: how alike each pair is, its best match, and the classes.

Every two events are aligned. Their score, divided by the mean of those with themselves, is 1 for
equal sounds: long and loud ones are not more alike for being long.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask
from ulmo.sequence.alignment import align
from ulmo.sequence.evidence import Evidence

# For some columns, a function from others to the cells (others, columns): positive where alike.
Cells = Callable[[Indices], Callable[[Indices], NDArray[np.floating]]]
_LEAST = 0.4  # mean likeness of two classes that are joined: 0.35 to 0.45 find the same classes
_DIRECTIONS = 64  # of the latents, those that vary most
_NOISE = 0.05  # mean variance that is added to that of each direction


def by_evidence(evidence: Evidence) -> Cells:
    """By the ids alone."""

    def against(columns: Indices) -> Callable[[Indices], NDArray[np.floating]]:
        strips = [
            np.take(table, evidence.rows[columns, band], axis=1)
            for band, table in enumerate(evidence.table)
        ]

        def cells(others: Indices) -> NDArray[np.floating]:
            rows = evidence.rows[others]
            total = np.sum([strip[rows[:, b]] for b, strip in enumerate(strips)], axis=0)
            bits: Array = total.astype(np.float32) * np.float32(evidence.unit)
            return bits

        return cells

    return against


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
    projected = (latents - mean.astype(np.float32)) @ projection
    # Unlike columns have a product of 0 or so: one less, and they end an alignment.
    least = len(scale) ** 0.5 / 8

    def against(columns: Indices) -> Callable[[Indices], NDArray[np.floating]]:
        some = projected[columns].T.copy()
        return lambda others: projected[others] @ some - least

    return against


def compare(spans: Sequence[tuple[int, int]], cells: Cells, *, most: int) -> Array:
    """How alike the events (first, end) are, (events, events), 1 on the diagonal.

    most: columns of an event that are compared, from its middle.
    """
    inner = [_middle(first, end, most) for first, end in spans]
    longest = max(end - first for first, end in inner)
    places = np.concatenate([np.arange(first, end) for first, end in inner])
    sizes = np.array([end - first for first, end in inner])
    inside = np.arange(longest) < sizes[:, None]  # (events, longest)
    scores = np.zeros((len(inner), len(inner)))
    against = cells(places)
    for event, (first, end) in enumerate(inner):
        found = against(np.arange(first, end))  # (columns, all columns)
        padded = np.full((len(inner), longest, end - first), -1e3, np.float32)
        padded[inside] = found.T
        scores[event] = align(padded.transpose(0, 2, 1)).score
    own = np.maximum(np.diag(scores), 1e-6)
    alike = (scores + scores.T) / (own[:, None] + own)
    np.fill_diagonal(alike, 1)
    normalised: Array = alike.astype(np.float32)
    return normalised


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
