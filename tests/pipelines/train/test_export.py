"""Which tiles an export checks, and which differing tokens are ties."""

import numpy as np
import pytest

from ulmo.bundle.weights import BIAS, KERNEL
from ulmo.pipelines.train.export import _check_rows, _is_tie, _on_boundary
from ulmo.preprocessing.store import TileStore

FIRST = np.array([[1, 0], [-1, 0], [0, 9]], np.float32)
SECOND = np.array([[0, 0.5], [0, -0.5]], np.float32)


@pytest.mark.parametrize(
    ("latent", "one", "other", "tie"),
    [
        ((0, 0.4), 0, 2, True),  # the first stage cannot tell, the second was never asked
        ((0, 0.4), 0, 3, True),
        ((1e-3, 0.4), 0, 2, False),
        ((1, 0), 0, 1, True),
        ((1, 1e-3), 0, 1, False),
        ((1, 0.3), 0, 0, True),
        ((0, 0), 0, 4, False),
    ],
)
def test_ids_are_followed_to_where_they_part(latent, one, other, tie):
    for first, second in ((one, other), (other, one)):
        assert _is_tie(np.array(latent, np.float32), [FIRST, SECOND], first, second) is tie


@pytest.mark.parametrize(
    ("latent", "one", "other", "tie"),
    [
        ((0.5, 0.7), 0, 1, True),  # the scores of both are 1
        ((0.5 + 1e-6, 0.7), 0, 1, True),
        ((0.5 + 1e-4, 0.7), 0, 1, False),
        ((0.5 - 1e-4, 0.7), 0, 1, False),
        ((0.5, 0.7), 0, 2, False),
        ((1e6, -1), 0, 2, False),
    ],
)
def test_what_lies_on_a_boundary_may_have_either_id(latent, one, other, tie):
    weights = {
        KERNEL: np.array([[2, -2, 2], [0, 0, 1]], np.float32),
        BIAS: np.array([0, 2, 0], np.float32),
    }
    for first, second in ((one, other), (other, one)):
        assert _on_boundary(np.array(latent, np.float32), weights, first, second) is tie


def test_checked_are_tiles_from_everywhere_and_the_shortest(tiny_tiles):
    store = TileStore(tiny_tiles)
    rows = np.flatnonzero(store.views == 0)
    chosen = _check_rows(store, rows)
    assert set(chosen) <= set(rows)
    assert len(set(chosen)) == len(chosen) >= min(len(rows), 64)
    assert {rows[0], rows[-1]} <= set(chosen)
    assert store.valid_frames[chosen].min() == store.valid_frames[rows].min()
    np.testing.assert_array_equal(_check_rows(store, rows[:5]), rows[:5])
