"""Folds: nothing of a test item's speaker or source is trained on, and every label is spread."""

import numpy as np
import pytest

from ulmo.evaluation import folds as module
from ulmo.evaluation.folds import split_folds


def items(count, *, labels=3, speakers=4, seed=0):
    """Labels, sources (one or two items each) and speakers of so many items, at random."""
    rng = np.random.default_rng(seed)
    named = [str(label) for label in rng.integers(0, labels, count)]
    sources = [f"{label}-{number // 2}" for number, label in enumerate(named)]
    return named, sources, [f"S{n}" for n in rng.integers(0, speakers, count)]


def assert_apart(found, groups):
    """No group on both sides of a fold, and no item tested twice."""
    tested = [item for fold in found.folds for item in fold.test]
    assert len(tested) == len(set(tested))
    for train, test in found.folds:
        assert not {groups[item] for item in train} & {groups[item] for item in test}
        assert len(train)
        assert len(test)
        assert not set(train) & set(test)


@pytest.mark.parametrize("seed", range(5))
def test_no_speaker_is_on_both_sides(seed):
    labels, sources, speakers = items(60, seed=seed)
    found = split_folds(labels, sources, speakers, seed=seed)
    assert_apart(found, speakers)
    assert (found.by, found.missing, len(found.folds)) == ("speaker", "", 4)
    for fold in found.folds:
        assert len({speakers[item] for item in fold.test}) == 1
        assert len(fold.train) + len(fold.test) == 60


def test_many_speakers_share_folds():
    labels, sources, speakers = items(300, speakers=23)
    found = split_folds(labels, sources, speakers)
    assert_apart(found, speakers)
    assert len(found.folds) == module.MOST_SPEAKERS == 10
    assert {len({speakers[item] for item in fold.test}) for fold in found.folds} == {2, 3}


@pytest.mark.parametrize("seed", range(5))
def test_no_source_is_on_both_sides_and_labels_are_spread(seed):
    labels, sources, _ = items(100, labels=2, seed=seed)
    found = split_folds(labels, sources, seed=seed)
    assert_apart(found, sources)
    assert (found.by, len(found.folds)) == ("source", 5)
    for label in "01":
        counts = [sum(labels[item] == label for item in fold.test) for fold in found.folds]
        assert max(counts) - min(counts) <= 2  # a source has two items
    again, other = (split_folds(labels, sources, seed=each) for each in (seed, seed + 1))
    tests = [[fold.test.tolist() for fold in one.folds] for one in (found, again, other)]
    assert tests[0] == tests[1] != tests[2]


def test_a_large_source_leaves_no_fold_empty():
    labels = ["a"] * 12 + ["b"] * 3
    sources = ["one"] * 10 + ["two", "three", "one", "four", "five"]
    found = split_folds(labels, sources)
    assert_apart(found, sources)
    assert len(found.folds) == 5


def test_labels_of_one_group_are_left_out():
    labels = ["a", "a", "b", "b", "c", "c"]
    sources = ["1", "2", "3", "4", "5", "5"]
    found = split_folds(labels, sources)
    assert sorted(item for fold in found.folds for item in fold.test) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "sources", "speakers", "why"),
    [
        ([], [], None, "fewer than two labels have items of two sources"),
        (["a"] * 4, ["1", "2", "3", "4"], None, "fewer than two labels have items of two sources"),
        (["a", "b"], ["1", "2"], None, "fewer than two labels have items of two sources"),
        (list("aabb"), list("1234"), list("xxyy"), "fewer than two labels have items of two spe"),
    ],
)
def test_where_nothing_can_be_learned_it_is_said(labels, sources, speakers, why):
    found = split_folds(labels, sources, speakers)
    assert found.folds == []
    assert why in found.missing


def test_a_fold_with_one_label_to_learn_from_is_left_out():
    """The speakers of b, the first and the eleventh, are in one fold: the others know but a."""
    speakers = [f"{number:02}" for number in range(11)]
    labels = ["b", *["a"] * 9, "b"]
    found = split_folds(labels, speakers, speakers)
    assert [fold.test.tolist() for fold in found.folds] == [[n] for n in range(1, 10)]


def test_lists_of_unequal_lengths_are_refused():
    for sources, speakers in ((["1"], None), (["1", "2"], ["x"])):
        with pytest.raises(ValueError, match="one label, one source, and one speaker"):
            split_folds(["a", "b"], sources, speakers)
