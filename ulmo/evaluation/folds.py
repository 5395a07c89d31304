"""Folds of labelled items for cross-validation; no group is both trained on and tested.

A group is a speaker, or the recording that several items were cut from. A classifier that was
trained on the group could recognise a test item by its voice or its background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices

Names = NDArray[np.str_]

STRATIFIED = 5  # folds without speakers, as many as ESC-50 has (Piczak 2015)
MOST_SPEAKERS = 10  # folds by speaker, at most: up to 10 speakers, each is left out by itself


class Fold(NamedTuple):
    """Indices of the training and the test items."""

    train: Indices
    test: Indices


class Folds(NamedTuple):
    """Folds of items; no item is tested twice."""

    folds: list[Fold]
    by: str  # what is never on both sides of a fold: `speaker` or `source`
    missing: str  # why there is no fold; empty if there are some


def split_folds(
    labels: Sequence[str],
    sources: Sequence[str],
    speakers: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> Folds:
    """Folds of items: by speaker if speakers are given, else by source, stratified by label.

    Items of one of the `sources` are not independent, such as pieces of one recording: without
    speakers, they share a fold. Labels of a single group are left out, since they could not be both
    trained on and tested; so are folds with a single training label. `seed` decides which sources
    share a fold. ValueError for lists of unequal lengths.
    """
    if not len(labels) == len(sources) == len(labels if speakers is None else speakers):
        raise ValueError("each item needs one label, one source, and one speaker if there are any")
    by = "source" if speakers is None else "speaker"
    names, groups = np.array(labels), np.array(sources if speakers is None else speakers)
    kept = np.flatnonzero(_learnable(names, groups))
    names, groups = names[kept], groups[kept]
    if len(set(names)) < 2:
        return Folds([], by, f"fewer than two labels have items of two {by}s")
    count = min(MOST_SPEAKERS if speakers else STRATIFIED, len(set(groups)))
    numbers = _in_turn(groups, count) if speakers else _by_label(names, groups, count, seed)
    parts = [(numbers != fold, numbers == fold) for fold in range(count)]
    folds = [Fold(kept[a], kept[b]) for a, b in parts if len(set(names[a])) > 1]
    return Folds(folds, by, "" if folds else "no fold has two labels to learn from")


def _learnable(labels: Names, groups: Names) -> NDArray[np.bool_]:
    """Whether the label of each item occurs in two groups or more."""
    having = {label: len(set(groups[labels == label])) for label in set(labels)}
    return np.array([having[label] > 1 for label in labels], np.bool_)


def _in_turn(groups: Names, count: int) -> Indices:
    """The fold of each item: groups are dealt to the folds in turn."""
    number = {group: place % count for place, group in enumerate(sorted(set(groups)))}
    return np.array([number[group] for group in groups])


def _by_label(labels: Names, groups: Names, count: int, seed: int) -> Indices:
    """The fold of each item.

    The groups of each label, the largest first, go to the fold with the fewest items of that label;
    among several such folds, to the one with the fewest items.
    """
    rng, numbers = np.random.default_rng(seed), np.full(len(labels), -1)
    for label in sorted(set(labels)):
        own = labels == label
        sizes = {group: (own & (groups == group)).sum() for group in sorted(set(groups[own]))}
        shuffled = rng.permutation(sorted(sizes))
        for group in sorted(shuffled, key=lambda name: -sizes[name]):
            members = groups == group
            if (numbers[members] < 0).all():
                labelled = np.bincount(numbers[own & (numbers >= 0)], minlength=count)
                total = np.bincount(numbers[numbers >= 0], minlength=count)
                numbers[members] = min(range(count), key=lambda n: (labelled[n], total[n]))
    return numbers
