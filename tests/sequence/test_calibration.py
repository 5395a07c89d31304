"""How often chance scores as high: tails of known distributions, and lengths without background."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto

from ulmo.sequence.calibration import Tail, fit_tails


@settings(max_examples=20)
@given(st.floats(0.1, 1), st.floats(0.5, 20), st.integers(0, 99))
def test_the_tail_of_chance_is_that_of_the_quiet_columns(scale, hours, seed):
    """Scores with an exponential tail, beside much higher ones where columns are not quiet."""
    rng = np.random.default_rng(seed)
    length, blocks = 6, 3000
    scores = np.zeros(length * blocks)
    scores[::length] = rng.exponential(scale, blocks)
    quiet = np.ones(len(scores) + length - 1, bool)
    quiet[: len(scores) // 3] = False
    scores[: len(scores) // 3] += 5
    valid = np.ones(len(scores), bool)
    (tail,) = fit_tails([scores], [length], [valid], quiet, hours=hours)
    rate = blocks / hours
    for share, factor in [(0.1, 1.5), (1e-2, 2), (1e-3, 5)]:  # one of 2,000 is 5e-4
        expected = rate * share
        found = tail.rate(np.array([-scale * np.log(share)]))[0]
        assert 1 / factor < found / expected < factor


@settings(max_examples=20)
@given(st.integers(-20, 15), st.floats(0.1, 1), st.integers(0, 99))
def test_a_tail_may_be_heavier_or_lighter_than_an_exponential_one(percent, scale, seed):
    """SciPy's distribution is the oracle, up to a score that 20 of 20,000 blocks have."""
    chance = genpareto(percent / 100, scale=scale)
    scores = chance.rvs(20_000, random_state=np.random.default_rng(seed))
    tail = Tail.of(scores, most=20_000)
    for share in (0.03, 1e-2, 1e-3):
        rate = tail.rate(np.array([chance.isf(share)]))[0]
        assert 0.4 < rate / (20_000 * share) < 2.5
    rates = tail.rate(np.linspace(-5, 50 * scale, 999))
    assert rates[0] == 20_000
    assert (np.diff(rates[rates < 20_000]) < 0).all(), "the higher, the rarer"


def test_a_tail_of_equal_scores_falls():
    tail = Tail.of(np.full(100, 2.0), most=100)
    rates = tail.rate(np.array([1.0, 2.0, 2.5, 5.0]))
    assert (np.diff(rates) <= 0).all()
    assert rates[-1] < 0.1


def test_a_length_without_quiet_blocks_has_the_tail_of_the_shorter_one():
    scores = [np.random.default_rng(1).exponential(0.3, n) for n in (1000, 990)]
    valid = [np.ones(len(one), bool) for one in scores]
    quiet = np.arange(1010) % 16 > 0
    shorter, longer = fit_tails(scores, [4, 20], valid, quiet, hours=1)
    assert (longer.least, longer.scale) == (shorter.least, shorter.scale)
    assert longer.often == pytest.approx(49 * shorter.often / shorter.most)
    unknown = fit_tails(scores, [4, 20], valid, np.zeros(1010, bool), hours=1)
    sure = np.array([2.0])
    assert unknown[0].rate(sure) > shorter.rate(sure)
