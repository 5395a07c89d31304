import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import codebook_figures
from ulmo.evaluation.codebook import codebook_health


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


def test_one_code_has_no_negative_zero():
    assert math.copysign(1, codebook_health(np.array([0, 7])).entropy) == 1


def test_nothing_counted_is_nan():
    assert all(map(math.isnan, codebook_health(np.zeros(4, np.int64))))


@given(ids=st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_health_is_that_of_the_ids(ids):
    health = codebook_health(np.bincount(ids, minlength=7))
    assert health._asdict() == pytest.approx(codebook_figures(ids, 7), rel=1e-9, abs=1e-12)
