"""Substitution scores: the counts by loops, the log-odds by hand, and planted substitutions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ulmo.sequence.substitution import count_pairs, substitution_scores

APART = 100 * np.eye(6, dtype=np.float32)  # codes so far apart that none is near another


@given(
    arrays(np.int32, (7, 2), elements=st.integers(0, 3)),
    arrays(np.int32, (7, 2), elements=st.integers(0, 3)),
    arrays(bool, (7, 2)),
)
def test_pairs_are_counted_in_both_orders(first, second, kept):
    expected = np.zeros((2, 4, 4), int)
    for moment in range(7):
        for band in range(2):
            if kept[moment, band]:
                one, other = first[moment, band], second[moment, band]
                expected[band, one, other] += 1
                expected[band, other, one] += 1
    np.testing.assert_array_equal(count_pairs(first, second, kept, 4), expected)


def test_a_score_is_the_log_odds_of_many_pairs():
    counts = np.zeros((1, 6, 6), np.int64)
    counts[0, :2, :2] = [[60_000_000, 20_000_000], [20_000_000, 20_000_000]]
    counts[0, range(2, 6), range(2, 6)] = 10_000_000
    scores = substitution_scores(counts, APART, spread=1.0)[0]
    total = counts.sum()
    for one in range(6):
        for other in range(6):
            own = counts[0, one].sum() / total, counts[0, other].sum() / total
            odds = counts[0, one, other] / total / (own[0] * own[1])
            assert scores[one, other] == pytest.approx(math.log2(0.99 * odds + 0.01), abs=1e-3)


def test_planted_substitutions_come_out_and_each_band_has_its_own():
    """Id 0 becomes 1 in band 0, and 2 becomes 3 in band 1, in half of the copies."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, (4000, 2)).astype(np.int32)
    second, half = first.copy(), rng.random(4000) < 0.5
    second[half & (first[:, 0] == 0), 0] = 1
    second[half & (first[:, 1] == 2), 1] = 3
    counts = count_pairs(first, second, np.ones(first.shape, bool), 6)
    scores = substitution_scores(counts, APART, spread=1.0)
    for band, planted in enumerate([(0, 1), (2, 3)]):
        apart = scores[band].copy()
        np.fill_diagonal(apart, -np.inf)
        assert sorted(map(int, np.unravel_index(apart.argmax(), apart.shape))) == list(planted)
        assert apart[planted] > 0.5
        apart[planted] = apart[planted[::-1]] = -np.inf
        assert apart.max() < -3
        assert np.diagonal(scores[band]).min() > 1.5


def test_codes_that_were_never_seen_score_as_their_neighbours():
    codebook = np.array([[0.0], [0.1], [5.0], [9.0]], np.float32)
    counts = np.zeros((1, 4, 4), np.int64)
    counts[0, range(4), range(4)] = [900, 0, 900, 900]
    scores = substitution_scores(counts, codebook, spread=0.25)[0]
    # A sound of either code has either id in half of its copies, and a third of all ids are 0.
    assert scores[0, 1] == pytest.approx(math.log2(0.5 / (1 / 3)), abs=0.1)
    assert scores[1, 2] < -3


@given(arrays(np.int64, (2, 5, 5), elements=st.integers(0, 9)), st.floats(0, 3))
def test_scores_are_symmetric_finite_and_bounded(counts, spread):
    codebook = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    scores = substitution_scores(counts + counts.transpose(0, 2, 1), codebook, spread)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, scores.transpose(0, 2, 1), atol=1e-5)
    assert scores.min() >= math.log2(0.01) - 1e-5
    assert np.isfinite(scores).all()
