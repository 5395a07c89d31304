import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import UserError
from ulmo.preprocessing.normalize import MIN_SCALE, Moments, Normalization, to_db, to_power


def levels(*shape, mean=-60.0, spread=12.0, seed=0):
    return np.random.default_rng(seed).normal(mean, spread, shape).astype(np.float32)


def test_db_of_known_powers():
    power = np.array([1, 100, 1e-3, 1e-10, 1e-11, 0], np.float32)
    before = power.copy()
    level = to_db(power, -100)
    np.testing.assert_array_equal(power, before)
    assert level.dtype == np.float32
    np.testing.assert_allclose(level, [0, 20, -30, -100, -100, -100], atol=1e-5)
    assert level.min() == np.float32(-100)


@pytest.mark.parametrize("floor", [-20.0, -100.0, -123.4, -300.0])
def test_silence_is_exactly_the_floor(floor):
    """float32 holds no 1e-30: -300 dB is reached all the same."""
    level = to_db(np.zeros(3, np.float32), floor)
    np.testing.assert_array_equal(level, np.float32(floor))


def test_power_undoes_db():
    level = np.linspace(-99, 60, 200, dtype=np.float32)
    power = to_power(level)
    assert power.dtype == np.float32
    np.testing.assert_allclose(power, 10.0 ** (level.astype(np.float64) / 10), rtol=1e-5)
    np.testing.assert_allclose(to_db(power, -100), level, atol=1e-4)


@given(
    offset=st.floats(-1000, 1000, width=32),
    scale=st.floats(1e-3, 1000),
    seed=st.integers(0, 99),
)
def test_undo_is_the_inverse_of_apply(offset, scale, seed):
    normalization = Normalization(offset=offset, scale=scale)
    level = levels(5, 7, seed=seed)
    values = normalization.apply(level)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, (level - np.float64(offset)) / scale, rtol=1e-5, atol=1e-3)
    undone = normalization.undo(values)
    assert undone.dtype == np.float32
    np.testing.assert_allclose(undone, level, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        *({"offset": np.nan, "scale": 1}, {"offset": np.inf, "scale": 1}, {"offset": 0}),
        *({"offset": 0, "scale": 0}, {"offset": 0, "scale": -1}),
        {"offset": 0, "scale": 1, "other": 2},
    ],
)
def test_constants_that_would_make_tiles_infinite_are_refused(values):
    with pytest.raises(UserError):
        Normalization.read(values)


@given(cuts=st.lists(st.integers(0, 60), max_size=5))
def test_moments_add_up_in_any_grouping(cuts):
    whole = levels(8, 60)
    parts = np.split(whole, sorted(cuts), axis=1)
    found = sum((Moments.of(part) for part in parts), Moments()).normalization()
    assert found.offset == pytest.approx(whole.mean(dtype=np.float64), rel=1e-9)
    assert found.scale == pytest.approx(whole.std(dtype=np.float64), rel=1e-9)


def test_normalised_by_its_own_moments_a_block_has_mean_0_and_spread_1():
    whole = levels(50, 60)
    values = Moments.of(whole).normalization().apply(whole)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.std() == pytest.approx(1, abs=1e-4)


def test_what_is_flat_is_scaled_by_the_least_spread():
    flat = np.full((4, 4), -100, np.float32)
    assert Moments.of(flat).normalization() == Normalization(offset=-100, scale=MIN_SCALE)
    assert Moments().normalization() == Normalization(offset=0, scale=MIN_SCALE)


def test_moments_add_to_moments_only():
    with pytest.raises(TypeError):
        Moments() + 1
