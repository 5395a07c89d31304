import numpy as np
import pytest

from ulmo.config import OBJECTIVE_TRAITS
from ulmo.models import OBJECTIVES
from ulmo.models.draws import Draws
from ulmo.models.objectives.denoise import Damage


def tiles_of(level, count=64, size=32):
    rng = np.random.default_rng(0)
    return (level + 0.1 * rng.normal(size=(count, size, size, 1))).astype(np.float32)


def damaged(tiles, step=0, **how):
    return np.asarray(Damage(**how)(tiles, Draws(0, step)))


def test_the_table_is_the_settings_choice():
    assert {name: task.traits for name, task in OBJECTIVES.items()} == OBJECTIVE_TRAITS


def test_noise_fills_what_lies_below_it_and_leaves_what_lies_above():
    loud = damaged(tiles_of(2), quietest=-1, loudest=-1, masked=0)
    np.testing.assert_array_equal(loud, tiles_of(2))
    quiet = damaged(tiles_of(-5), quietest=-1, loudest=-1, masked=0)
    assert quiet.mean() == pytest.approx(-1, abs=0.01)
    assert quiet.std() == pytest.approx(Damage().ripple, rel=0.02)


def test_the_level_of_noise_is_one_a_tile_between_its_bounds():
    shown = damaged(tiles_of(-9), ripple=0, masked=0)
    levels = shown[:, 0, 0, 0]
    np.testing.assert_array_equal(shown, np.broadcast_to(levels[:, None, None, None], shown.shape))
    assert levels.min() >= -2.5
    assert levels.max() <= 0.5
    assert levels.std() == pytest.approx(3 / 12**0.5, rel=0.3)


def test_masks_hide_one_stretch_of_frames_and_one_of_bins():
    shown = damaged(tiles_of(3, 200), quietest=-9, loudest=-9, masked=0.5)
    hidden = shown[..., 0] == 0
    bins, frames = hidden.all(axis=2), hidden.all(axis=1)
    np.testing.assert_array_equal(hidden, bins[:, :, None] | frames[:, None, :])
    for axis in (bins, frames):
        assert axis.sum(axis=1).max() <= 17
        assert (np.abs(np.diff(axis.astype(int), axis=1)).sum(axis=1) <= 2).all()
        assert axis.mean() == pytest.approx(0.25, abs=0.05)
