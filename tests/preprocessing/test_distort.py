"""Warps of the frequency axis, and tilts of the spectrum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SAMPLES
from ulmo.config import PrepSettings
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.distort import Distortion, tilted, warped
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, stream_power
from ulmo.preprocessing.store import TileStore

LINEAR = np.linspace(100, 3200, 32)


@given(factor=st.floats(0.88, 1.12), place=st.floats(600, 2400))
def test_a_warp_moves_a_peak_to_the_multiple_of_its_frequency(factor, place):
    tile = np.exp(-(((LINEAR - place) / 150) ** 2))[None, :, None, None].astype(np.float32)
    moved = warped(tile, LINEAR, np.array([factor]))[0, :, 0, 0]
    centre = (moved * LINEAR).sum() / moved.sum()
    assert centre == pytest.approx(place * factor, rel=0.02)


def test_a_warp_by_one_changes_nothing_and_each_tile_has_its_own():
    tiles = np.random.default_rng(0).normal(size=(3, 32, 5, 1)).astype(np.float32)
    changed = warped(tiles, LINEAR, np.array([1.0, 1.1, 1.0]))
    np.testing.assert_allclose(changed[[0, 2]], tiles[[0, 2]], atol=1e-5)
    alone = warped(tiles[1:2], LINEAR, np.array([1.1]))
    np.testing.assert_array_equal(changed[1:2], alone)
    assert not np.allclose(changed[1], tiles[1])


@pytest.mark.parametrize("frontend", ["mel", "cqt"])
def test_a_warped_tone_looks_as_the_tone_of_that_pitch(frontend):
    """Oracle: the front end itself, of a tone whose frequency is multiplied."""
    settings = PrepSettings(frontend=frontend, tile_size=64, sample_rate=8000, hop_length=64)
    built = build_frontend(settings)
    clock = np.arange(8000) / 8000
    levels = [
        np.log(
            np.concatenate(
                list(stream_power(built, [np.sin(2 * np.pi * hertz * clock).astype(np.float32)])),
                axis=1,
            )[None, :, 20:30, None]
            + 1e-6
        ).astype(np.float32)
        for hertz in (1000, 1100)
    ]
    found = warped(levels[0], built.frequencies, np.array([1.1]))
    assert abs(int(found[0, :, 5, 0].argmax()) - int(levels[1][0, :, 5, 0].argmax())) <= 1


@given(slope=st.floats(-2, 2), seed=st.integers(0, 99))
def test_a_tilt_adds_so_much_per_octave_to_what_is_heard(slope, seed):
    tiles = np.random.default_rng(seed).normal(size=(1, 32, 6, 1)).astype(np.float32)
    tiles[0, 3] = -3
    floors = np.array([-3], np.float32)
    changed = tilted(tiles, np.array([4], np.int32), LINEAR, np.array([slope]), floors)
    np.testing.assert_array_equal(changed[:, :, 4:], tiles[:, :, 4:])  # filling
    np.testing.assert_array_equal(changed[:, 3], tiles[:, 3])  # at the floor
    assert changed.min() >= min(-3, tiles.min())
    # 200 to 400 Hz, and 1600 to 3200 Hz, are an octave each.
    for low, high in ((1, 3), (15, 31)):
        for frame in range(4):
            added = changed[0, [low, high], frame, 0] - tiles[0, [low, high], frame, 0]
            if low != 3 != high and (changed[0, [low, high], frame, 0] > -3).all():
                assert added[1] - added[0] == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_tiles_of_any_front_end_are_changed_alike_by_the_same_draws(frontend, tmp_path):
    more = {"wavelet": "db2"} if frontend == "dwt" else {}
    settings = PrepSettings(
        frontend=frontend, tile_size=32, sample_rate=8000, hop_length=64, **more
    )
    prepare(SAMPLES / "speech", tmp_path / "tiles", settings)
    store = TileStore(tmp_path / "tiles")
    rows = np.arange(min(len(store), 6))
    tiles, valid = store.read(rows), store.valid_frames[rows]
    changes = [
        Distortion(store, 0.12, 3.0)(tiles, valid, rows, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(changes[0], changes[1])
    assert np.isfinite(changes[0]).all()
    assert not np.array_equal(changes[0], changes[2])
    assert not np.array_equal(changes[0], tiles)
    same = Distortion(store, 0.0, 0.0)(tiles, valid, rows, np.random.default_rng(1))
    np.testing.assert_array_equal(same, tiles)


def test_pcen_has_no_tilt(tmp_path):
    settings = PrepSettings(normalization="pcen", tile_size=32, sample_rate=8000, hop_length=64)
    prepare(SAMPLES / "speech", tmp_path / "tiles", settings)
    store = TileStore(tmp_path / "tiles")
    rows = np.arange(3)
    tiles, valid = store.read(rows), store.valid_frames[rows]
    same = Distortion(store, 0.0, 3.0)(tiles, valid, rows, np.random.default_rng(1))
    np.testing.assert_array_equal(same, tiles)
