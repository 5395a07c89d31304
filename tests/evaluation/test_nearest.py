"""The nearest neighbour: beside scikit-learn's, with planted labels, and with shuffled ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from ulmo.evaluation.nearest import Nearest, nearest, why_no_neighbours
from ulmo.evaluation.pairwise import distance_matrix

NAMES = ["ape", "bat", "cow"]


def points(count, *, spread, seed=0):
    """Distances of points about one centre a label, of 4 recordings a label, and 3 speakers."""
    rng = np.random.default_rng(seed)
    labels = [NAMES[number % 3] for number in range(count)]
    recordings = [f"{label}{rng.integers(4)}" for label in labels]
    speakers = [f"S{rng.integers(3)}" for _ in labels]
    centres = 10 * np.eye(3)[[NAMES.index(label) for label in labels]]
    vectors = centres + rng.normal(0, spread, (count, 3))
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    return vectors, distances, labels, recordings, speakers


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_neighbour_of_scikit_learn(seed):
    vectors, distances, labels, recordings, speakers = points(60, spread=9, seed=seed)
    names, right = np.array(labels), []
    for number in range(60):
        others = [
            other
            for other in range(60)
            if recordings[other] != recordings[number] and speakers[other] != speakers[number]
        ]
        model = KNeighborsClassifier(1).fit(vectors[others], names[others])
        right.append(model.predict(vectors[number : number + 1])[0] == labels[number])
    found = nearest(distances, labels, [recordings, speakers])
    assert found.accuracy == np.mean(right)
    by_label = [np.mean(np.array(right)[names == name]) for name in NAMES]
    assert found.macro == pytest.approx(np.mean(by_label))
    assert (found.items, found.labels) == (60, 3)
    assert 0.3 < found.accuracy < 0.9


def test_what_lies_apart_is_told_apart():
    _, distances, labels, recordings, _ = points(90, spread=1)
    found = nearest(distances, labels, [recordings])
    assert found[:2] == (1, 1)
    assert found.chance == pytest.approx(1 / 3, abs=0.08)


def test_planted_sequences_come_out():
    """Each label has a sequence of its own; a third of its ids are lost in each recording."""
    rng = np.random.default_rng(0)
    planted = {name: rng.integers(0, 32, (20, 2)) for name in NAMES}
    labels = [NAMES[number % 3] for number in range(30)]
    items = []
    for label in labels:
        lost = rng.random((20, 2)) < 1 / 3
        ids = np.where(lost, rng.integers(0, 32, (20, 2)), planted[label])
        items.append(np.delete(ids, rng.integers(0, 20, 3), axis=0))
    found = nearest(distance_matrix(items, "identical", "edit"), labels, [range(30)])
    assert found.accuracy == 1


def test_shuffled_labels_stay_at_chance():
    _, distances, labels, recordings, _ = points(600, spread=1)
    shuffled = np.random.default_rng(1).permutation(labels).tolist()
    found = nearest(distances, shuffled, [recordings])
    assert abs(found.accuracy - found.chance) < 0.08  # 4 standard errors of 600 draws
    assert abs(found.macro - found.macro_chance) < 0.08


def test_a_recording_is_not_known_again_by_itself():
    """Two items of each recording lie at one place, and the nearest other recording differs."""
    recordings = [number // 2 for number in range(12)]
    labels = [NAMES[recording % 3] for recording in recordings]
    places = 2.0 ** np.array(recordings)
    distances = np.abs(places[:, None] - places)
    items = list(range(12))
    assert nearest(distances, labels, [items]).accuracy == 1
    assert nearest(distances, labels, [items, recordings]).accuracy == 0


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 1 << 20))
def test_shares_of_ties_and_chance_are_those_of_loops(count, groups, seed):
    """Few distances, so that many are tied; labels of one recording are not judged."""
    rng = np.random.default_rng(seed)
    labels = [NAMES[n] for n in rng.integers(0, 3, count)]
    recordings = [str(n) for n in rng.integers(0, groups, count)]
    distances = rng.integers(0, 3, (count, count)).astype(float)
    judged = rng.random(count) < 0.8
    shares, chances = {}, {}
    for n in np.flatnonzero(judged):
        others = [m for m in range(count) if m != n and recordings[m] != recordings[n]]
        if labels[n] not in [labels[m] for m in others]:
            continue
        least = min(distances[n, m] for m in others)
        tied = [m for m in others if distances[n, m] == least]
        for kept, of in ((shares, tied), (chances, others)):
            kept.setdefault(labels[n], []).append(np.mean([labels[m] == labels[n] for m in of]))
    found = nearest(distances, labels, [recordings], judged=judged)
    if not shares:
        assert np.isnan(found[:4]).all()
        assert found[4:] == (0, 0)
        return
    for kept, plain, macro in ((shares, found.accuracy, found.macro), (chances, *found[2:4])):
        assert plain == pytest.approx(np.mean(np.concatenate(list(kept.values()))))
        assert macro == pytest.approx(np.mean([np.mean(of) for of in kept.values()]))
    assert found.items == sum(map(len, shares.values()))
    assert found.labels == len(shares)


@pytest.mark.parametrize(
    ("labels", "recordings", "why"),
    [
        ("aaa", "xyz", "all items have one label"),
        ("abc", "xyz", "no label has items of two sources"),
        ("aabb", "xxyy", "no label has items of two sources"),
        ("aab", "xyz", ""),
    ],
)
def test_why_there_are_no_neighbours(labels, recordings, why):
    labels, groups = list(labels), [list(recordings)]
    assert why_no_neighbours(labels, groups, "source") == why
    found = nearest(np.zeros((len(labels),) * 2), labels, groups)
    if "two sources" in why:
        assert str(found) == str(Nearest.none())


def test_each_item_has_a_label_and_a_recording():
    with pytest.raises(ValueError, match="each item needs one label"):
        nearest(np.zeros((2, 2)), ["a", "b"], [["x"]])
