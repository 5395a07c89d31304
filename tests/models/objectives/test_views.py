import numpy as np
import pytest

from tests.models.objectives.small import noise
from ulmo.models.draws import Draws
from ulmo.models.objectives.two_views import NEPERS, Background


def mixed(tiles, step=0, **how):
    """Tiles with other tiles as their background."""
    how = {"noise_share": 0.0, **how}
    return np.asarray(Background(**how)(tiles, Draws(0, step)))


def test_powers_are_mixed_as_they_add():
    tiles = noise(2, 4, 5, 1)
    powers = 10 ** (14 * tiles / 10)
    expected = np.log10(powers + powers[::-1] / 10**0.7) * 10 / 14
    np.testing.assert_allclose(mixed(tiles, other_db=(7.0, 7.0)), expected, atol=1e-5)


def test_the_background_is_another_tile_and_fainter_anew_at_each_step():
    levels = np.arange(5) * 10.0  # in spreads of 14 dB: far apart
    tiles = np.broadcast_to(levels[:, None, None, None], (5, 2, 2, 1)).astype(np.float32)
    fainter = []
    for step in range(20):
        found = mixed(tiles, step)[:, 0, 0, 0]
        for level, value in zip(levels, found, strict=True):
            if value > level + 0.01:  # the background is louder, and all that is heard
                fainter.append(14 * (10 * np.ceil(value / 10) - value))
    assert len(fainter) > 20
    assert min(fainter) >= 5 - 0.01
    assert max(fainter) <= 40 + 0.01
    assert np.mean(fainter) == pytest.approx(22.5, abs=4)


def test_a_tile_alone_is_its_own_background():
    tiles = noise(1, 4, 5, 1)
    expected = tiles + np.log(1 + 0.1) / NEPERS
    np.testing.assert_allclose(mixed(tiles, other_db=(10.0, 10.0)), expected, atol=1e-5)


def test_silence_adds_nothing():
    tiles = np.stack([noise(4, 5, 1), np.full((4, 5, 1), -20, np.float32)])
    np.testing.assert_allclose(mixed(tiles)[0], tiles[0], atol=1e-5)


def test_noise_has_its_level_slope_and_the_spread_of_gaussian_noise():
    tiles = np.full((1, 64, 4000, 1), -20, np.float32)
    tiles[0, 3, 5] = 2.0
    noisy = mixed(tiles, noise_share=1.0, noise_db=(30.0, 30.0), slope_db=0.0)
    power = 10 ** (14 * (noisy - 2) / 10)
    power[0, 3, 5] = power[0, 3, 4]
    assert 10 * np.log10(power.mean()) == pytest.approx(-30, abs=0.1)
    assert power.std() / power.mean() == pytest.approx(1, abs=0.02)  # that of an exponential
    assert noisy[0, 3, 5] == pytest.approx(2, abs=0.02)  # powers add: the sound is no fainter
    sloped = mixed(np.repeat(tiles, 64, axis=0)[:, :, :50], noise_share=1.0, noise_db=(30.0, 40.0))
    levels = 10 * np.log10((10 ** (14 * (sloped - 2) / 10)).mean(axis=2)[..., 0])
    rise = np.median(levels[:, -8:], axis=1) - np.median(levels[:, :8], axis=1)
    assert -20 < rise.min() < -10
    assert 10 < rise.max() < 20
    middle = levels[:, 28:36].mean(axis=1)
    assert -41 < middle.min() < -38
    assert -32 < middle.max() < -29


def test_a_share_of_the_tiles_has_noise():
    tiles = np.full((400, 2, 3, 1), 0.5, np.float32)
    found = mixed(tiles, noise_share=0.25, noise_db=(3.0, 3.0), other_db=(200.0, 200.0))
    assert (found > 0.501).any(axis=(1, 2, 3)).mean() == pytest.approx(0.25, abs=0.06)
