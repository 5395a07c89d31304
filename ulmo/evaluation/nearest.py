"""Whether the nearest item from another recording has the same label.

Nothing is fitted: neighbours show what is near what (Cover and Hart 1967, "Nearest neighbor pattern
classification"). The neighbour is never from the item's own recording, source or speaker, because
it could be recognised by these instead of by its label.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Mask
from ulmo.evaluation.distances import Floats


class Nearest(NamedTuple):
    """How often the nearest neighbour has an item's label."""

    accuracy: float  # share of the items, from 0 to 1; NaN without items
    macro: float  # mean over labels of the share of their items; NaN without items
    chance: float  # `accuracy` of a neighbour drawn at random; NaN without items
    macro_chance: float  # `macro` of a neighbour drawn at random; NaN without items
    items: int  # items judged: those whose label another recording has, too
    labels: int  # labels of the items judged

    @classmethod
    def none(cls) -> "Nearest":
        """No item was judged."""
        nan = float("nan")
        return cls(nan, nan, nan, nan, items=0, labels=0)


def nearest(
    distances: Floats,
    labels: Sequence[str],
    groups: Sequence[Sequence[str]],
    *,
    judged: Mask | None = None,
) -> Nearest:
    """Nearest neighbours by distances (n, n): the item judged in the row, others in the column.

    Each of the `groups` names something of each item, such as its recording or speaker: items that
    share any of them are no neighbours. Items are not judged if no neighbour has their label, but
    can be neighbours of other items. If several neighbours are equally near, each counts by its
    share. `judged` (n,) restricts the items that are judged. ValueError for lists of unequal
    lengths.
    """
    if any(len(names) != len(distances) for names in (labels, *groups)):
        raise ValueError("each item needs one label, and one name in each of the groups")
    names = np.array(labels)
    free, same = _free(groups, len(labels)), names[:, None] == names
    rows = np.flatnonzero((free & same).any(axis=1) & (True if judged is None else judged))
    if not len(rows):
        return Nearest.none()
    free, same = free[rows], same[rows]
    far = np.where(free, distances[rows], np.inf)
    right = _share(same, free & (far == far.min(axis=1, keepdims=True)))
    by_chance = _share(same, free)
    kinds, of_kind = np.unique(names[rows], return_inverse=True)
    counts = np.bincount(of_kind)

    def macro(shares: Floats) -> float:
        return float((np.bincount(of_kind, shares) / counts).mean())

    return Nearest(
        accuracy=float(right.mean()),
        macro=macro(right),
        chance=float(by_chance.mean()),
        macro_chance=macro(by_chance),
        items=len(rows),
        labels=len(kinds),
    )


def why_no_neighbours(labels: Sequence[str], groups: Sequence[Sequence[str]], by: str) -> str:
    """Why there is no neighbour to judge; empty if there is one. `by` names what is left out."""
    if len(set(labels)) < 2:
        return "all items have one label"
    names = np.array(labels)
    if not (_free(groups, len(labels)) & (names[:, None] == names)).any():
        return f"no label has items of two {by}s"
    return ""


def _free(groups: Sequence[Sequence[str]], count: int) -> Mask:
    """Whether items (n, n) share none of the groups."""
    free = ~np.eye(count, dtype=np.bool_)
    for group in groups:
        names = np.array(group)
        free &= names[:, None] != names
    return free


def _share(same: Mask, neighbours: Mask) -> Floats:
    shares: Floats = (same & neighbours).sum(axis=1) / neighbours.sum(axis=1)
    return shares
