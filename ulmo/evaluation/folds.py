"""Labelled items in folds, so that nothing of a test item's group is in its training.

A group is a speaker, or the recording that several items were cut from. A classifier that has
heard the group already is told the answer by its voice or its background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices

Names = NDArray[np.str_]

STRATIFIED = 5
"""Folds where no speaker is told, as ESC-50 has (Piczak 2015)."""
MOST_SPEAKERS = 10
"""Folds of speakers, at most: up to so many speakers, each is left out by itself."""


class Fold(NamedTuple):
    """Items to learn from, and items to be judged by."""

    train: Indices
    test: Indices


class Folds(NamedTuple):
    """Folds of items; none is a test item twice."""

    folds: list[Fold]
    by: str
    """What is never on both sides of a fold: `speaker` or `source`."""
    missing: str
    """Why there is no fold; empty where there are some."""


def split_folds(
    labels: Sequence[str],
    sources: Sequence[str],
    speakers: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> Folds:
    """Folds of items: by speakers where they are told, else stratified by label.

    `sources` names what items have in common that are no independent samples, as the recording
    they were cut from: without speakers, those of a source are in one fold. A label that only one
    group has is left out, since nothing could be learned of it where it is judged; so is a fold
    that has a single label to learn from. `seed` rules which sources are in a fold. ValueError
    for lists of unequal lengths.
    """
    if not len(labels) == len(sources) == len(labels if speakers is None else speakers):
        raise ValueError("each item needs one label, one source, and one speaker if there are any")
    by = "source" if speakers is None else "speaker"
    told, groups = np.array(labels), np.array(sources if speakers is None else speakers)
    kept = np.flatnonzero(_learnable(told, groups))
    told, groups = told[kept], groups[kept]
    if len(set(told)) < 2:
        return Folds([], by, f"fewer than two labels have items of two {by}s")
    count = min(MOST_SPEAKERS if speakers else STRATIFIED, len(set(groups)))
    numbers = _in_turn(groups, count) if speakers else _by_label(told, groups, count, seed)
    parts = [(numbers != fold, numbers == fold) for fold in range(count)]
    folds = [Fold(kept[a], kept[b]) for a, b in parts if len(set(told[a])) > 1]
    return Folds(folds, by, "" if folds else "no fold has two labels to learn from")


def _learnable(labels: Names, groups: Names) -> NDArray[np.bool_]:
    """True for the items whose label two groups or more have."""
    having = {label: len(set(groups[labels == label])) for label in set(labels)}
    return np.array([having[label] > 1 for label in labels], np.bool_)


def _in_turn(groups: Names, count: int) -> Indices:
    """Of each item its fold: one group to each of them, one more..."""
    number = {group: place % count for place, group in enumerate(sorted(set(groups)))}
    return np.array([number[group] for group in groups])


def _by_label(labels: Names, groups: Names, count: int, seed: int) -> Indices:
    """Of each item its fold: each label's groups, the largest first, to where it has the fewest
    items; where several have as few, to the one with the fewest in all."""
    rng, numbers = np.random.default_rng(seed), np.full(len(labels), -1)
    for label in sorted(set(labels)):
        own = labels == label
        sizes = {group: (own & (groups == group)).sum() for group in sorted(set(groups[own]))}
        shuffled = rng.permutation(sorted(sizes))
        for group in sorted(shuffled, key=lambda name: -sizes[name]):
            members = groups == group
            if (numbers[members] < 0).all():
                of_label = np.bincount(numbers[own & (numbers >= 0)], minlength=count)
                of_all = np.bincount(numbers[numbers >= 0], minlength=count)
                numbers[members] = min(range(count), key=lambda n: (of_label[n], of_all[n]))
    return numbers
