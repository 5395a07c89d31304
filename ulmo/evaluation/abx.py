"""ABX discriminability: whether items of one label are nearer to each other than to another label.

Schatz et al. 2013, "Evaluating speech features with the minimal-pair ABX task"; Schatz 2016, "ABX-
discriminability measures and applications". Gives the same figures as fastabx.

For labels a != b, the error of a cell is the mean over all A != X of label a and B of label b of

    1 if d(A, X) > d(B, X), 1/2 if they are equal, else 0

Chance is 1/2. Within speakers, A, B and X are from one speaker; across, A and B are from one
speaker and X from another. The error is the mean over ordered pairs of labels of the mean over the
pair's cells.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Indices
from ulmo.evaluation.distances import Floats, FrameDistance, Item
from ulmo.evaluation.pairwise import distance_matrix

_Groups = dict[str, dict[str, Indices]]  # items of each label of each speaker


class AbxScore(NamedTuple):
    """The error over some cells."""

    error: float  # from 0 to 1, chance 1/2; NaN without cells
    cells: int
    triples: int


class Abx(NamedTuple):
    """ABX errors: without speakers only `any`, with speakers only `within` and `across`."""

    any: AbxScore | None
    within: AbxScore | None
    across: AbxScore | None
    items: int  # number of compared items


class _Cell(NamedTuple):
    pair: tuple[str, str]  # label of A and X, label of B
    a: Indices
    b: Indices
    x: Indices


def abx(
    items: Sequence[Item],
    labels: Sequence[str],
    speakers: Sequence[str] | None = None,
    *,
    distance: str | FrameDistance,
    progress: Callable[[int, int], object] | None = None,
) -> Abx:
    """ABX error of items (frames, ...) by their labels, within and across speakers if given.

    `distance` is a FrameDistance or its name in FRAME_DISTANCES: `identical` for ids (frames,
    bands), `cosine` or `euclidean` for vectors. `progress` receives the pairs of items done, and
    all. If the labels leave nothing to compare (`why_no_abx`), no distance is computed. ValueError
    for an item without frames, and if there are more or fewer labels or speakers than items.
    """
    _check(len(items), labels, speakers)
    if why_no_abx(labels, speakers):
        distances = np.zeros((len(items), len(items)))
    else:
        distances = distance_matrix(items, distance, progress=progress)
    return abx_of_distances(distances, labels, speakers)


def why_no_abx(labels: Sequence[str], speakers: Sequence[str] | None = None) -> str:
    """Why there is no triple to compare; empty if there is one. No distance is computed."""
    if len(set(labels)) < 2:
        return "all items have one label"
    groups = _groups(labels, speakers)
    if not any(any(True for _ in _cells(groups, across=across)) for across in (False, True)):
        return "no label has two items" + (" of one speaker" if speakers else "")
    return ""


def abx_of_distances(
    distances: Floats, labels: Sequence[str], speakers: Sequence[str] | None = None
) -> Abx:
    """ABX error from distances (n, n): X in the row, A or B in the column."""
    _check(len(distances), labels, speakers)
    groups = _groups(labels, speakers)
    same = _score(distances, _cells(groups, across=False))
    if speakers is None:
        return Abx(any=same, within=None, across=None, items=len(labels))
    across = _score(distances, _cells(groups, across=True))
    return Abx(any=None, within=same, across=across, items=len(labels))


def subsample(
    labels: Sequence[str],
    speakers: Sequence[str] | None = None,
    *,
    max_items: int | None = None,
    seed: int = 0,
) -> list[int]:
    """Sorted indices of at most `max_items` items, one of each label and speaker in turn."""
    count = len(labels)
    if max_items is None or count <= max_items:
        return list(range(count))
    order = np.random.default_rng(seed).permutation(count)
    seen: dict[tuple[str, str], int] = {}
    turns = np.empty(count, np.int64)
    for place, index in enumerate(order):
        group = (labels[index], "" if speakers is None else speakers[index])
        turns[place] = seen[group] = seen.get(group, -1) + 1
    return sorted(order[np.argsort(turns, kind="stable")[:max_items]].tolist())


def _check(items: int, labels: Sequence[str], speakers: Sequence[str] | None) -> None:
    if not items == len(labels) == len(labels if speakers is None else speakers):
        raise ValueError("each item needs one label, and one speaker if there are any")


def _groups(labels: Sequence[str], speakers: Sequence[str] | None) -> _Groups:
    found: dict[str, dict[str, list[int]]] = {}
    for index, label in enumerate(labels):
        speaker = "" if speakers is None else speakers[index]
        found.setdefault(speaker, {}).setdefault(label, []).append(index)
    return {
        speaker: {label: np.array(items) for label, items in by_label.items()}
        for speaker, by_label in found.items()
    }


def _cells(groups: _Groups, *, across: bool) -> Iterator[_Cell]:
    """Cells whose A and B are of one speaker, and X of the same speaker or of another one."""
    for speaker, by_label in groups.items():
        for (a, items), (b, others) in permutations(by_label.items(), 2):
            for other, by_other in groups.items():
                if a in by_other and (other != speaker) is across and (across or len(items) > 1):
                    yield _Cell((a, b), items, others, by_other[a])


def _score(distances: Floats, cells: Iterator[_Cell]) -> AbxScore:
    errors: dict[tuple[str, str], list[float]] = {}
    count = triples = 0
    for cell in cells:
        total, size = _errors(distances, cell)
        errors.setdefault(cell.pair, []).append(total / size)
        count, triples = count + 1, triples + size
    pairs = [float(np.mean(cells)) for cells in errors.values()]
    return AbxScore(float(np.mean(pairs)) if pairs else float("nan"), count, triples)


def _errors(distances: Floats, cell: _Cell) -> tuple[float, int]:
    """Errors of a cell, ties counted half, and its triples; found in sorted distances."""
    total = size = 0
    for x in cell.x:
        to_a = distances[x, cell.a[cell.a != x]]
        to_b = np.sort(distances[x, cell.b])
        nearer = np.searchsorted(to_b, to_a, "left").sum()
        no_further = np.searchsorted(to_b, to_a, "right").sum()
        total += int(nearer + no_further)
        size += len(to_a) * len(to_b)
    return total / 2, size
