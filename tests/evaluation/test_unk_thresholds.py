"""Thresholds beside a loop over exact shares, and what must be true of them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import rate_of_unk
from ulmo.evaluation.unk import unk_thresholds

LEVELS = (0.9, 0.95, 0.99, 0.999)


def slow_threshold(distances, level):
    """The smallest of the distances that a share of at most 1 - level exceeds."""
    most = 1 - Fraction(str(level))
    return min(
        candidate
        for candidate in distances
        if Fraction(sum(d > candidate for d in distances), len(distances)) <= most
    )


def slow_thresholds(ids, distances, codebook_size, levels):
    rows = []
    for code in range(codebook_size):
        own = [d for i, d in zip(ids, distances, strict=True) if i == code]
        rows.append([slow_threshold(own or list(distances), level) for level in levels])
    return rows


@st.composite
def vectors(draw):
    codebook_size = draw(st.integers(2, 5))
    size = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    ids = rng.integers(0, draw(st.integers(1, codebook_size)), size).astype(np.int32)
    distances = rng.exponential(size=size).astype(np.float32)
    if draw(st.booleans()):
        distances = np.round(distances)  # ties
    return ids, distances, codebook_size


@given(vectors())
def test_thresholds_beside_a_loop(drawn):
    ids, distances, size = drawn
    levels = (0.001, 0.3, 0.5, *LEVELS, 1.0)
    found = unk_thresholds(ids, distances, size, levels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, slow_thresholds(ids, distances, size, levels))


@pytest.mark.parametrize("count", [1, 9, 10, 20, 30, 100, 110, 999, 1000, 3000])
def test_shares_are_exact_where_floats_are_not(count):
    distances = np.random.default_rng(count).permutation(count).astype(np.float32)
    found = unk_thresholds(np.zeros(count, np.int32), distances, 2, LEVELS)
    for thousandths, threshold in zip((100, 50, 10, 1), found[0], strict=True):
        assert (distances > threshold).sum() == count * thousandths // 1000


@given(vectors())
def test_the_rate_on_the_same_vectors_is_what_the_level_says(drawn):
    ids, distances, size = drawn
    distances = distances + np.arange(len(ids), dtype=np.float32) * 1e-3  # no ties
    thresholds = unk_thresholds(ids, distances, size, LEVELS)
    assert (np.diff(thresholds, axis=1) >= 0).all()
    for column, level in enumerate(LEVELS):
        marked = np.where(distances > thresholds[ids, column], size, ids)
        rate = rate_of_unk(marked, size)
        assert rate <= 1 - level + 1e-9
        assert rate > 1 - level - len(np.unique(ids)) / len(ids)


def test_a_code_without_vectors_has_the_threshold_of_all():
    ids, distances = np.array([2, 2, 0], np.int32), np.array([4, 9, 1], np.float32)
    found = unk_thresholds(ids, distances, 4, (0.3, 0.6, 0.9))
    assert found.tolist() == [[1, 1, 1], [1, 4, 9], [4, 9, 9], [1, 4, 9]]


def test_no_vectors_give_no_thresholds():
    with pytest.raises(ValueError, match="no vectors"):
        unk_thresholds(np.empty(0, np.int32), np.empty(0, np.float32), 4, LEVELS)
