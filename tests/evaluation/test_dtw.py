import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.slow_abx import frame_distance, warp
from ulmo.evaluation import pairwise as module
from ulmo.evaluation.distances import FRAME_DISTANCES
from ulmo.evaluation.pairwise import distance_matrix

SIZES = {
    "count": st.integers(1, 6),
    "longest": st.integers(1, 9),
    "width": st.integers(2, 4),
    "seed": st.integers(0, 1 << 20),
}


def items_of(name, count, *, longest, width, seed):
    """Random ids, few of them, or random vectors; float32 vectors, as codebooks have."""
    rng = np.random.default_rng(seed)
    shapes = [(rng.integers(1, longest + 1), width) for _ in range(count)]
    if name == "identical":
        return [rng.integers(0, 3, shape).astype(np.int32) for shape in shapes]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("name", FRAME_DISTANCES)
@given(**SIZES)
def test_distances_are_those_of_loops(name, count, longest, width, seed):
    items = items_of(name, count, longest=longest, width=width, seed=seed)
    lists = [item.tolist() for item in items]
    expected = [[float(warp(name, x, y)) for y in lists] for x in lists]
    tolerance = 1e-15 if name == "identical" else 2e-6
    np.testing.assert_allclose(
        distance_matrix(items, name), expected, rtol=tolerance, atol=tolerance
    )


@given(**SIZES)
def test_ties_of_ids_stay_ties(count, longest, width, seed):
    items = items_of("identical", count, longest=longest, width=width, seed=seed)
    found = distance_matrix(items, "identical").ravel()
    lists = [item.tolist() for item in items]
    exact = [warp("identical", x, y) for x in lists for y in lists]
    order = [[(a > b) - (a < b) for b in exact] for a in exact]
    np.testing.assert_array_equal(np.sign(found[:, None] - found), order)


@given(**SIZES)
def test_a_distance_there_is_the_one_back_of_the_other(count, longest, width, seed):
    """Also where the steps of a path depend on which item is which."""
    items = items_of("identical", count, longest=longest, width=width, seed=seed)
    turned = distance_matrix(items[::-1], "identical")[::-1, ::-1]
    np.testing.assert_array_equal(distance_matrix(items, "identical"), turned)


@pytest.mark.parametrize("cells", [1, 100])
def test_how_items_are_grouped_changes_nothing(cells, monkeypatch):
    items = items_of("cosine", 20, longest=40, width=3, seed=0)
    whole = distance_matrix(items, "cosine")
    monkeypatch.setattr(module, "MAX_CELLS", cells)
    np.testing.assert_allclose(distance_matrix(items, "cosine"), whole, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 1, 2, 3], [1, 2, 2, 3], 0),
        ([1, 2, 3], [1, 9, 3], 1 / 3),
        ([1], [2, 2, 1], 2 / 3),
        ([1, 2], [3, 4, 5], 3 / 3),  # two steps of one and one of both cost as much as three
    ],
)
def test_known_sequences(x, y, expected):
    items = [np.array(ids)[:, None] for ids in (x, y)]
    matrix = distance_matrix(items, "identical")
    np.testing.assert_array_equal(matrix, [[0, expected], [expected, 0]])


def test_equal_paths_take_the_steps_of_torchdtw():
    """Both ways of equal cost, y before x: the number of steps depends on which is which."""
    rng = np.random.default_rng(0)
    items = [rng.integers(0, 2, (9, 1)) for _ in range(30)]
    matrix = distance_matrix(items, "identical")
    assert not np.array_equal(matrix, matrix.T)
    expected = [[float(warp("identical", x.tolist(), y.tolist())) for y in items] for x in items]
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("identical", [1, 2, 3, 4], [1, 2, 4, 3], 0.5),
        ("cosine", [1, 0], [0, 5], 0.5),
        ("cosine", [1, 1], [-2, -2], 1),
        ("cosine", [3, 4], [6, 8], 0),
        ("cosine", [0, 0], [1, 0], 0.5),
        ("cosine", [0, 0], [0, 0], 0),
        ("euclidean", [1, 1], [4, 5], 5),
        ("euclidean", [1e3, 7], [1e3, 7], 0),
    ],
)
def test_known_frames(name, x, y, expected):
    metric = FRAME_DISTANCES[name]
    found = metric.between(metric.prepare(np.array([x])), metric.prepare(np.array([y])))
    shares = found / (len(x) if metric.sums_dimensions else 1)
    assert float(frame_distance(name, x, y)) == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(shares, [[expected]], rtol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
def test_equal_codes_are_not_apart_by_rounding(name):
    codes = np.random.default_rng(0).normal(size=(512, 33)).astype(np.float32)
    metric = FRAME_DISTANCES[name]
    prepared = metric.prepare(codes)
    found = metric.between(prepared, prepared)
    assert (np.diag(found) == 0).all()
    assert (found[~np.eye(512, dtype=bool)] > 0.1).all()


def test_vectors_of_several_bands_are_one_vector():
    items = [np.random.default_rng(n).normal(size=(5, 3, 4)) for n in range(3)]
    flat, told = [item.reshape(5, 12) for item in items], []
    found = distance_matrix(items, "cosine", progress=lambda *done: told.append(done))
    np.testing.assert_array_equal(found, distance_matrix(flat, "cosine"))
    assert (told, told[-1]) == (sorted(told), (9, 9))


def test_an_item_without_frames_is_an_error():
    with pytest.raises(ValueError, match="no frames"):
        distance_matrix([np.ones((3, 1)), np.ones((0, 1))], "identical")
