import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import codebook_figures
from ulmo.evaluation.codebook import codebook_health, rate


@pytest.mark.parametrize(
    ("counts", "usage", "entropy", "perplexity", "top1"),
    [
        ([3, 3, 3, 3], 1, 1, 4, 0.25),
        ([5, 5, 0, 0], 0.5, 0.5, 2, 0.5),
        ([2, 1, 1, 0], 0.75, 0.75, 2**1.5, 0.5),
        ([0, 7], 0.5, 0, 1, 1),
        ([0, 0, 0, 10**12], 0.25, 0, 1, 1),
    ],
)
def test_known_counts(counts, usage, entropy, perplexity, top1):
    health = codebook_health(np.array(counts))
    assert health == pytest.approx((usage, entropy, perplexity, top1), rel=1e-12)


def test_one_code_has_no_negative_zero_and_nothing_is_nan():
    assert math.copysign(1, codebook_health(np.array([0, 7])).entropy) == 1
    assert all(map(math.isnan, codebook_health(np.zeros(4, np.int64))))


@given(ids=st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_health_is_that_of_the_ids(ids):
    health = codebook_health(np.bincount(ids, minlength=7))
    assert health._asdict() == pytest.approx(codebook_figures(ids, 7), rel=1e-9, abs=1e-12)


def bits(symbols):
    """Entropy by a dictionary of counts."""
    counts = Counter(symbols)
    return -sum(n / len(symbols) * math.log2(n / len(symbols)) for n in counts.values())


def test_known_rates():
    """Two codes of four, alike often, each followed by the other: a bit alone, none in pairs."""
    grid = np.array([[0], [3], [0], [3], [0], [3]], np.int32)
    found = rate([grid], codebook_size=4, tokens_per_second=50)
    assert found == pytest.approx((6, 50, 100, 50, 0), abs=1e-9)


def test_rates_of_nothing_and_of_one_column():
    found = rate([], codebook_size=512, tokens_per_second=87.5)
    assert (found.tokens, found.bits_per_second) == (0, 787.5)
    one = rate([np.array([[1, 2]])], codebook_size=4, tokens_per_second=1)
    assert one.entropy_bits_per_second == 1  # but no pair
    for figures in (found[3:], one[4:]):
        assert all(map(math.isnan, figures))
    same = rate([np.full((9, 1), 7)], codebook_size=8, tokens_per_second=1)
    assert same.entropy_bits_per_second == 0


@given(
    shapes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    bands=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_entropies_are_those_of_counts(shapes, bands, seed):
    rng = np.random.default_rng(seed)
    grids = [rng.integers(0, 4, (length, bands)).astype(np.int32) for length in shapes]
    ids = [int(token) for grid in grids for token in grid.ravel()]
    pairs = [
        (int(grid[t, band]), int(grid[t + 1, band]))
        for grid in grids
        for t in range(len(grid) - 1)
        for band in range(bands)
    ]
    found = rate(grids, codebook_size=4, tokens_per_second=10)
    assert found.tokens == len(ids)
    assert found.entropy_bits_per_second == pytest.approx(10 * bits(ids), abs=1e-9)
    if pairs:
        expected = 10 * (bits(pairs) - bits([first for first, _ in pairs]))
        assert found.conditional_bits_per_second == pytest.approx(expected, abs=1e-9)
