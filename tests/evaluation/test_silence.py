import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import sound_tokens
from ulmo.evaluation.silence import FLOOR_MARGIN_DB, SILENCE_DB, is_sound, patch_levels


def test_known_patches():
    levels = np.array([[[0, 2, 10], [4, 6, 20], [-30, -50, -70]]], np.float32)
    patches = patch_levels(levels, bands=2, columns=2, strides=(2, 2))
    assert patches.tolist() == [[[3, -40], [15, -70]]]  # (tile, column, band)


@pytest.mark.parametrize(
    ("patches", "peak", "expected"),
    [
        ([-59.9, -60.0], 0, [True, False]),
        ([-89.9, -90.1], -30, [True, False]),
        ([-100, -97.1, -96.9], -45, [False, False, True]),  # at the floor of -100
        ([-100, -100, -100], -100, [False, False, False]),
    ],
)
def test_silence_begins_60_db_under_the_peak_and_at_the_floor(patches, peak, expected):
    sound = is_sound(np.array([[patches]], np.float32), np.array([peak], np.float32), -100)
    assert (SILENCE_DB, sound.tolist()) == (60, [[expected]])


@given(
    size=st.integers(8, 13),
    strides=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 9),
)
def test_patches_and_sound_are_those_of_loops(size, strides, seed):
    rng = np.random.default_rng(seed)
    levels = rng.uniform(-100, 0, (2, size, size)).astype(np.float32)
    bands, columns = (-(-size // stride) for stride in strides)
    patches = patch_levels(levels, bands=bands, columns=columns, strides=strides)
    assert patches.dtype == np.float32
    expected = sound_tokens(
        levels,
        ["a", "b"],
        valid_frames=[size] * 2,
        strides=strides,
        silence_db=SILENCE_DB,
        quietest_db=-80 + FLOOR_MARGIN_DB,
    )
    np.testing.assert_array_equal(is_sound(patches, levels.max(axis=(1, 2)), -80), expected)


@pytest.mark.parametrize("place", [(0, 0), (7, 0), (0, 7), (7, 7)])
def test_a_cell_counts_in_its_own_patch(place):
    levels = np.zeros((1, 8, 8), np.float32)
    levels[0][place] = 15
    patches = patch_levels(levels, bands=3, columns=2, strides=(3, 5))
    band, column = place[0] // 3, place[1] // 5
    cells = (3, 3, 2)[band] * (5, 3)[column]
    expected = np.zeros((2, 3))
    expected[column, band] = 15 / cells
    np.testing.assert_allclose(patches[0], expected, rtol=1e-6)
