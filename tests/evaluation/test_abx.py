import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.slow_abx import abx_figures, warp
from ulmo.evaluation.abx import Abx, AbxScore, abx, abx_of_distances, subsample


def test_known_distances():
    """X of row 0 is as far from its own kind as from the other, X of row 1 nearer to its own."""
    distances = np.array([[0, 2, 2], [1, 0, 3], [9, 9, 0]])
    found = abx_of_distances(distances, ["a", "a", "b"])
    assert found == Abx(any=AbxScore(0.25, cells=1, triples=2), within=None, across=None, items=3)


@given(
    groups=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("ST")), max_size=9),
    seed=st.integers(0, 1 << 20),
)
def test_errors_are_those_of_triples(groups, seed):
    labels, speakers = [label for label, _ in groups], [speaker for _, speaker in groups]
    count = len(groups)
    distances = np.random.default_rng(seed).integers(0, 4, (count, count)) / 3

    def expected(speakers, *, across):
        values = abx_figures(labels, speakers, lambda x, y: distances[x, y], across=across)
        return pytest.approx(values, nan_ok=True)

    found = abx_of_distances(distances, labels, speakers)
    assert found.any is None
    assert found.within == expected(speakers, across=False)
    assert found.across == expected(speakers, across=True)
    alone = abx_of_distances(distances, labels)
    assert (alone.within, alone.across) == (None, None)
    assert alone.any == expected([""] * count, across=False)


@pytest.mark.parametrize("distance", ["identical", "cosine", "euclidean"])
def test_items_are_compared_as_loops_do(distance):
    rng = np.random.default_rng(0)
    items = [rng.integers(0, 3, (rng.integers(2, 6), 2)).astype(np.int32) for _ in range(16)]
    if distance != "identical":
        items = [rng.normal(size=item.shape) for item in items]
    labels, speakers = list("aaaabbbbccaabbcc"), list("SSTTSSTTSTTTSSST")
    lists = [item.tolist() for item in items]

    def distance_of(x, y):
        return warp(distance, lists[x], lists[y])

    found = abx(items, labels, speakers, distance=distance)
    assert found.items == 16
    for score, across in ((found.within, False), (found.across, True)):
        assert score == pytest.approx(abx_figures(labels, speakers, distance_of, across=across))


def test_labels_that_are_heard_have_no_error_and_random_ones_a_half():
    rng = np.random.default_rng(0)
    labels = [str(n % 4) for n in range(80)]
    heard = [np.full((rng.integers(3, 8), 1), int(label)) for label in labels]
    assert abx(heard, labels, distance="identical").any == AbxScore(0.0, 12, 12 * 20 * 19 * 20)
    random = [rng.normal(size=(6, 3)) for _ in labels]
    assert abx(random, labels, distance="cosine").any.error == pytest.approx(0.5, abs=0.05)
    constant = [np.ones((5, 1)) for _ in labels]
    assert abx(constant, labels, distance="identical").any.error == 0.5


def test_nothing_to_compare_is_nan():
    items, labels = [np.ones((2, 1))] * 3, ["a", "b", "c"]
    found = abx(items, labels, ["S", "S", "T"], distance="identical")
    assert math.isnan(found.within.error)
    assert found.within.cells == found.across.triples == 0
    assert abx([], [], distance="identical").items == 0


def test_labels_and_items_must_go_together():
    with pytest.raises(ValueError, match="one label"):
        abx_of_distances(np.zeros((3, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="one speaker"):
        abx_of_distances(np.zeros((2, 2)), ["a", "b"], ["S"])


def test_a_subsample_is_even_ordered_and_ruled_by_its_seed():
    labels = ["a"] * 50 + ["b"] * 20 + ["c"] * 3
    kept = subsample(labels, max_items=23, seed=1)
    assert Counter(labels[index] for index in kept) == {"a": 10, "b": 10, "c": 3}
    assert kept == sorted(set(kept))
    assert kept == subsample(labels, max_items=23, seed=1)
    assert kept != subsample(labels, max_items=23, seed=2)
    assert subsample(labels, max_items=73) == subsample(labels) == list(range(73))
    speakers = ["S", "T"] * 36 + ["S"]
    drawn = subsample(labels, speakers, max_items=6)
    assert len({(labels[index], speakers[index]) for index in drawn}) == 6
