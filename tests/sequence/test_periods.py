"""Periods of events: told where there is one, the right octave, and none in chance."""

import numpy as np
import pytest

from ulmo.sequence.periods import bursts, find_period


def train(period, count, *, jitter=0.0, missed=0.0, start=0.0, seed=0):
    rng = np.random.default_rng(seed)
    times = start + period * np.arange(count) + jitter * rng.standard_normal(count)
    return np.sort(times[rng.random(count) >= missed])


@pytest.mark.parametrize("period", [0.25, 1.34, 10.0])
@pytest.mark.parametrize(("jitter", "missed"), [(0.0, 0.0), (0.01, 0.0), (0.02, 0.2)])
def test_the_period_of_a_train(period, jitter, missed):
    for seed in range(10):
        times = train(period, 40, jitter=jitter * period, missed=missed, seed=seed)
        found = find_period([times], resolution_s=0.001)
        assert found.seconds == pytest.approx(period, rel=0.01)
        late = (np.diff(times) + period / 2) % period - period / 2
        assert found.jitter_s == pytest.approx(late.std(), abs=0.005 * period)
        assert found.intervals >= len(times) // 2


def test_the_period_of_columns():
    """Times are known to a column of 40 ms."""
    times = np.floor(train(0.61, 30) / 0.04) * 0.04
    found = find_period([times], resolution_s=0.04)
    assert found.seconds == pytest.approx(0.61, rel=0.01)


def test_bursts_of_several_recordings():
    times = [np.concatenate([train(1.34, 8), train(1.34, 12, start=60)]), train(1.34, 10, start=5)]
    found = find_period(times, resolution_s=0.04)
    assert found.seconds == pytest.approx(1.34, rel=0.005)
    assert bursts(times, found.seconds) == [8, 12, 10]
    assert bursts([np.empty(0)], 1.0) == []


def test_chance_has_no_period():
    rng = np.random.default_rng(0)
    for count in (5, 10, 40, 200):
        told = [
            find_period([np.cumsum(rng.exponential(3.0, count))], resolution_s=0.04) is not None
            for _ in range(50)
        ]
        assert sum(told) <= 2


@pytest.mark.parametrize("times", [[], [0.0], [0.0, 1.0], [0.0, 1.0, 2.0], [1.0] * 9])
def test_few_events_have_none(times):
    assert find_period([np.array(times)], resolution_s=0.04) is None
    assert find_period([], resolution_s=0.04) is None
