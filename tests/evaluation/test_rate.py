import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.evaluation.codebook import entropy_bits, rate


def bits(symbols):
    """Entropy by a dictionary of counts."""
    counts = Counter(symbols)
    return -sum(n / len(symbols) * math.log2(n / len(symbols)) for n in counts.values())


def test_known_rates():
    """Two codes of four, alike often, each followed by the other: a bit alone, none in pairs."""
    grid = np.array([[0], [3], [0], [3], [0], [3]], np.int32)
    found = rate([grid], codebook_size=4, tokens_per_second=50)
    assert found._asdict() == pytest.approx(
        {
            "tokens": 6,
            "tokens_per_second": 50,
            "bits_per_second": 100,
            "entropy_bits_per_second": 50,
            "conditional_bits_per_second": 0,
        },
        abs=1e-9,
    )


def test_nothing_is_nan():
    found = rate([], codebook_size=512, tokens_per_second=87.5)
    assert (found.tokens, found.bits_per_second) == (0, 787.5)
    assert math.isnan(found.entropy_bits_per_second)
    assert math.isnan(found.conditional_bits_per_second)


def test_one_column_has_no_pair():
    found = rate([np.array([[1, 2]])], codebook_size=4, tokens_per_second=1)
    assert found.entropy_bits_per_second == 1
    assert math.isnan(found.conditional_bits_per_second)


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


def test_entropy_of_one_symbol_is_zero():
    assert entropy_bits(np.full(9, 7)) == 0
