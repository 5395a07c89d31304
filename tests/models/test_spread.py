import numpy as np
import pytest

from ulmo.models.spread import spread_of


def slow_spread(latents, weights):
    """Pair by pair, band by band."""
    bands = range(latents.shape[2])
    each = [slow_spread_of_band(latents[:, :, [band]], weights[:, :, [band]]) for band in bands]
    return np.mean(each, axis=0)


def slow_spread_of_band(latents, weights):
    vectors, weights = latents.reshape(-1, latents.shape[-1]), weights.reshape(-1)
    mean = sum(w * v for w, v in zip(weights, vectors, strict=True)) / weights.sum()
    power = sum(w * (v @ v) for w, v in zip(weights, vectors, strict=True)) / weights.sum()
    cosines, total = 0.0, 0.0
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            if i != j:
                cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
                cosines += weights[i] * weights[j] * cosine
                total += weights[i] * weights[j]
    return 1 - mean @ mean / power, cosines / total


def test_the_spread_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    latents = rng.normal(0.5, 1, (3, 4, 2, 5)).astype(np.float32)
    weights = rng.random((3, 4, 2)).astype(np.float32)
    weights[1] = 0
    spread = spread_of(latents, weights)
    variance, similarity = slow_spread(latents.astype(float), weights.astype(float))
    assert float(spread.variance) == pytest.approx(variance, abs=1e-5)
    assert float(spread.similarity) == pytest.approx(similarity, abs=1e-5)


def test_bands_that_differ_and_sounds_that_do_not_are_a_collapse():
    rng = np.random.default_rng(2)
    bands = np.broadcast_to(rng.normal(size=(1, 1, 4, 6)), (5, 8, 4, 6)).astype(np.float32)
    spread = spread_of(bands, np.ones((5, 8, 4), np.float32))
    assert float(spread.variance) == pytest.approx(0, abs=1e-5)
    assert float(spread.similarity) == pytest.approx(1, abs=1e-5)


def test_latents_that_are_all_one_are_a_collapse():
    rng = np.random.default_rng(1)
    weights = np.ones((4, 8, 2), np.float32)
    vector = rng.normal(size=6)
    nearly = (vector + 0.01 * rng.normal(size=(4, 8, 2, 6))).astype(np.float32)
    variance, similarity = map(float, spread_of(nearly, weights))
    assert (variance < 0.05, similarity > 0.95) == (True, True)
    apart = rng.normal(size=(4, 8, 2, 6)).astype(np.float32)
    variance, similarity = map(float, spread_of(apart, weights))
    assert (variance > 0.9, similarity < 0.1) == (True, True)


def test_nothing_to_compare_is_no_number_out_of_bounds():
    spread = spread_of(np.ones((1, 2, 1, 3), np.float32), np.zeros((1, 2, 1), np.float32))
    assert np.isfinite([float(spread.variance), float(spread.similarity)]).all()
