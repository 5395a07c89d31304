"""Edit distances, beside a plain table of Wagner and Fischer; substitution scores as distances."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.evaluation import pairwise as module
from ulmo.evaluation.distances import substitution_distance
from ulmo.evaluation.pairwise import distance_matrix, vector_distances

SIZES = {
    "count": st.integers(1, 6),
    "longest": st.integers(1, 9),
    "bands": st.integers(1, 3),
    "seed": st.integers(0, 1 << 20),
}
CODES = 4


def items_of(count, *, longest, bands, seed, special=0):
    rng = np.random.default_rng(seed)
    shapes = [(rng.integers(1, longest + 1), bands) for _ in range(count)]
    return [rng.integers(0, CODES + special, shape).astype(np.int32) for shape in shapes]


def scores_of(bands, seed):
    """Log-odds that are neither symmetric nor all positive for equal ids."""
    scores = np.random.default_rng([seed, 1]).normal(0, 2, (bands, CODES, CODES))
    return (scores + 2 * np.eye(CODES)).astype(np.float32)


def unequal(x, y):
    """The share of bands whose ids differ."""
    return Fraction(sum(a != b for a, b in zip(x, y, strict=True)), len(x))


def by_scores(scores):
    """The mean over bands of what is missing to the scores of the ids themselves."""

    def distance(x, y):
        costs = []
        for band, (a, b) in enumerate(zip(x, y, strict=True)):
            if a == b or a >= CODES or b >= CODES:
                costs.append(0.0 if a == b or min(a, b) >= CODES else 1.0)
                continue
            own = (scores[band][a][a] + scores[band][b][b]) / 2
            near = (scores[band][a][b] + scores[band][b][a]) / 2
            costs.append(1.0 if own <= 0 else 1 - min(max(near / own, 0), 1))
        return sum(costs) / len(costs)

    return distance


def levenshtein(x, y, distance):
    """The whole table, row by row."""
    table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i in range(len(x) + 1):
        for j in range(len(y) + 1):
            ways = [table[i - 1][j] + 1] if i else []
            ways += [table[i][j - 1] + 1] if j else []
            ways += [table[i - 1][j - 1] + distance(x[i - 1], y[j - 1])] if i and j else []
            table[i][j] = min(ways, default=0)
    return table[-1][-1] / max(len(x), len(y))


@given(**SIZES)
def test_edits_are_those_of_a_table(count, longest, bands, seed):
    items = items_of(count, longest=longest, bands=bands, seed=seed)
    lists = [item.tolist() for item in items]
    expected = [[float(levenshtein(x, y, unequal)) for y in lists] for x in lists]
    found = distance_matrix(items, "identical", "edit")
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-15)


@given(**SIZES)
def test_scores_are_those_of_a_table(count, longest, bands, seed):
    items = items_of(count, longest=longest, bands=bands, seed=seed, special=2)
    scores = scores_of(bands, seed)
    lists, distance = [item.tolist() for item in items], by_scores(scores.tolist())
    expected = [[levenshtein(x, y, distance) for y in lists] for x in lists]
    found = distance_matrix(items, substitution_distance(scores), "edit")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(**SIZES)
def test_an_edit_distance_is_a_distance(count, longest, bands, seed):
    """0 for equal sequences alone, the same both ways, at most 1."""
    items = items_of(count, longest=longest, bands=bands, seed=seed)
    found = distance_matrix(items, "identical", "edit")
    np.testing.assert_array_equal(found, found.T)
    lists = [item.tolist() for item in items]
    np.testing.assert_array_equal(found == 0, [[x == y for y in lists] for x in lists])
    assert found.max() <= 1


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 1, 2, 3], [1, 2, 2, 3], 1 / 4),  # to warp them costs nothing
        ([1, 2, 3], [2, 3], 1 / 3),
        ([1], [2, 2, 1], 2 / 3),
        ([1, 2], [3, 4, 5], 1),
        ([11, 9, 20, 20, 5, 14], [19, 9, 20, 20, 9, 14, 7], 3 / 7),  # kitten, sitting
    ],
)
def test_known_sequences(x, y, expected):
    items = [np.array(ids)[:, None] for ids in (x, y)]
    matrix = distance_matrix(items, "identical", "edit")
    np.testing.assert_allclose(matrix, [[0, expected], [expected, 0]], rtol=1e-15)


def test_scores_of_equal_ids_alone_are_the_plain_distance():
    items = items_of(12, longest=30, bands=2, seed=0)
    scores = np.stack([np.eye(CODES), np.eye(CODES)])
    plain = distance_matrix(items, "identical", "edit")
    np.testing.assert_array_equal(
        distance_matrix(items, substitution_distance(scores), "edit"), plain
    )


def test_what_stands_for_another_is_near_it():
    """Ids 0 and 1 are said to be the same sound, with half of their own bits."""
    scores = np.array([[[4, 2, -9, 0], [2, 4, 0, 0], [-9, 0, 4, 0], [0, 0, 0, 4]]], np.float32)
    items = [np.array(ids)[:, None] for ids in ([0, 0], [1, 1], [2, 2])]
    found = distance_matrix(items, substitution_distance(scores), "edit")
    np.testing.assert_array_equal(found, [[0, 0.5, 1], [0.5, 0, 1], [1, 1, 0]])
    warped = distance_matrix(items, substitution_distance(scores))
    np.testing.assert_array_equal(warped, found)


@pytest.mark.parametrize("cells", [1, 100])
def test_how_items_are_grouped_changes_nothing(cells, monkeypatch):
    items = items_of(20, longest=40, bands=2, seed=0)
    told = []
    whole = distance_matrix(items, "identical", "edit", progress=lambda *now: told.append(now))
    assert (told, told[-1]) == (sorted(told), (400, 400))
    monkeypatch.setattr(module, "MAX_CELLS", cells)
    np.testing.assert_array_equal(distance_matrix(items, "identical", "edit"), whole)


@pytest.mark.parametrize(
    "scores", [np.zeros((4, 4)), np.zeros((1, 4, 3)), np.full((1, 4, 4), np.inf)]
)
def test_scores_have_a_shape(scores):
    with pytest.raises(ValueError, match="scores are finite numbers"):
        substitution_distance(scores)


def test_scores_are_of_as_many_bands_as_the_ids():
    distance = substitution_distance(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match=r"items are ids \(frames, 3\)"):
        distance_matrix(items_of(2, longest=3, bands=2, seed=0), distance, "edit")


def test_vectors_are_compared_by_their_angle():
    found = vector_distances(np.array([[2, 0], [0, 3], [-1, 0], [0, 0]], np.float32))
    expected = [[0, 0.5, 1, 0.5], [0.5, 0, 0.5, 0.5], [1, 0.5, 0, 0.5], [0.5, 0.5, 0.5, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-7)
