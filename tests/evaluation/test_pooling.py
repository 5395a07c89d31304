import numpy as np

from ulmo.evaluation.probe import histograms, mean_latents


def test_latents_are_averaged_over_time_band_by_band():
    rng = np.random.default_rng(0)
    latents = [rng.normal(size=(count, 2, 3)).astype(np.float32) for count in (1, 7)]
    found = mean_latents(latents)
    assert found.shape == (2, 6)
    for vector, of in zip(found, latents, strict=True):
        for band in range(2):
            for dimension in range(3):
                expected = sum(of[:, band, dimension]) / len(of)
                assert abs(vector[3 * band + dimension] - expected) < 1e-6


def test_histograms_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 6, (count, 3)).astype(np.int32) for count in (4, 9)]  # 5: special
    sound = [rng.random(grid.shape) < 0.7 for grid in ids]
    found = histograms(ids, sound, 5)
    for vector, grid, heard in zip(found, ids, sound, strict=True):
        expected = np.zeros(15)
        for column in range(len(grid)):
            for band in range(3):
                if heard[column, band] and grid[column, band] < 5:
                    expected[5 * band + grid[column, band]] += 1
        np.testing.assert_allclose(vector, expected / expected.sum(), rtol=1e-6)


def test_silence_has_an_empty_histogram():
    ids = np.zeros((3, 2), np.int32)
    assert not histograms([ids], [np.zeros((3, 2), bool)], 4).any()
