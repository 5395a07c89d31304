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
    share, powers = 0.3, 10 ** (14 * tiles / 10)
    expected = np.log10((1 - share) * powers + share * powers[::-1]) * 10 / 14
    np.testing.assert_allclose(mixed(tiles, least=share, most=share), expected, atol=1e-5)


def test_the_background_is_another_tile_and_fainter_anew_at_each_step():
    tiles = np.broadcast_to(np.arange(5)[:, None, None, None] * 10.0, (5, 2, 2, 1))
    tiles = tiles.astype(np.float32)
    shares = []
    for step in range(20):
        # Far apart in level, the louder one is all that is heard, less by its share.
        lost = mixed(tiles, step)[:, 0, 0, 0] - tiles[:, 0, 0, 0]
        assert (np.abs(lost) > 1e-5).all()
        fainter = lost[lost < 0]
        shares += (1 - np.exp(NEPERS * fainter)).tolist()
        louder = lost[lost > 0] % 10
        shares += np.exp(NEPERS * (louder - 10)).tolist()
    assert min(shares) >= 0.0005
    assert max(shares) <= 0.4005
    assert np.mean(shares) == pytest.approx(0.2, abs=0.04)


def test_a_tile_alone_stays():
    tiles = noise(1, 4, 5, 1)
    np.testing.assert_allclose(mixed(tiles), tiles, atol=1e-5)


def test_silence_adds_nothing():
    tiles = np.stack([noise(4, 5, 1), np.full((4, 5, 1), -20, np.float32)])
    expected = tiles[0] + np.log(1 - 0.2) / NEPERS
    np.testing.assert_allclose(mixed(tiles, least=0.2, most=0.2)[0], expected, atol=1e-5)


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
    louder = (mixed(tiles, noise_share=0.25, noise_db=(3.0, 3.0)) > 0.501).any(axis=(1, 2, 3))
    assert louder.mean() == pytest.approx(0.25, abs=0.06)
