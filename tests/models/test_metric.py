"""The metric that latents are compared in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmo.models.metric import metric_of, within_covariance


def test_the_covariance_is_that_of_copies_around_their_mean():
    rng = np.random.default_rng(0)
    spread = np.array([[2.0, 0.5], [0.5, 1.0]])
    sounds = 10 * rng.normal(size=(200_000, 2))
    first, second = (sounds + rng.multivariate_normal([0, 0], spread, 200_000) for _ in range(2))
    np.testing.assert_allclose(within_covariance(first, second), spread, atol=0.05)


def test_directions_in_which_copies_differ_count_less():
    metric = metric_of(np.diag([100.0, 1.0, 1.0]))
    noisy, others = metric[0, 0], metric[1, 1]
    assert noisy < 0.5 * others
    assert metric[1, 1] == pytest.approx(metric[2, 2])
    np.testing.assert_allclose(metric - np.diag(np.diag(metric)), 0, atol=1e-7)


def test_copies_that_do_not_differ_leave_the_euclidean_distance():
    np.testing.assert_array_equal(metric_of(np.zeros((3, 3))), np.eye(3))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_a_metric_is_symmetric_bounded_and_does_not_depend_on_the_scale(size, seed, scale):
    apart = np.random.default_rng(seed).normal(size=(3, size))
    covariance = apart.T @ apart
    metric = metric_of(covariance)
    assert metric.dtype == np.float32
    np.testing.assert_allclose(metric, metric.T, atol=1e-6)
    lengths = np.linalg.eigvalsh(metric.astype(np.float64))
    assert lengths.min() > 0
    assert np.mean(lengths**2) == pytest.approx(1, abs=1e-4)
    # The shrinkage bounds how much one direction counts beside another.
    assert lengths.max() / lengths.min() <= ((size + 0.02) / 0.02) ** 0.25 * 1.001
    np.testing.assert_allclose(metric_of(scale * covariance), metric, atol=1e-4)
