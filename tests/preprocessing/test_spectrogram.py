import numpy as np
import pytest

from tests.preprocessing.signals import join_tiles
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.normalize import MIN_SCALE, Moments, Normalization, to_db
from ulmo.preprocessing.spectrogram import (
    find_constants,
    levels,
    measure,
    normalized_levels,
    normalized_tiles,
)
from ulmo.preprocessing.stretches import whole
from ulmo.preprocessing.tiles import Tile

SIZE, HOP, FRAMES = 16, 20, 45
MODES = ("corpus", "recording", "tile", "pcen", "level")
LEARNED = ("corpus", "pcen", "level")
IN_DECIBELS = ("corpus", "recording", "tile")
CORPUS = Normalization(offset=-50, scale=12.5)
NOISE = np.random.default_rng(0).normal(0, 0.1, FRAMES * HOP - 3).astype(np.float32)
NOISE[:200] *= 0.01  # the tiles are of different loudness


def settings_of(mode, **values):
    plain = {"frontend": "stft", "tile_size": SIZE, "sample_rate": 1000, "hop_length": HOP}
    return PrepSettings(normalization=mode, **{**plain, **values})


def corpus_of(mode):
    return CORPUS if mode in LEARNED else None


def source(*cuts, samples=NOISE):
    """The samples as blocks, anew at each call."""
    return lambda: whole(np.split(samples, cuts))


def made_of(make, where, settings, corpus):
    """Tiles or levels of a source of one stretch."""
    frontend = build_frontend(settings)
    constants = find_constants(where, frontend, settings, corpus)
    (stretch,) = where()
    return list(make(stretch.blocks, frontend, settings, constants))


def tiles_of(mode, where=None, **values):
    settings, where = settings_of(mode, **values), where or source()
    return made_of(normalized_tiles, where, settings, corpus_of(mode))


def levels_of(mode, where=None, **values):
    settings, where = settings_of(mode, **values), where or source()
    return np.concatenate(made_of(normalized_levels, where, settings, corpus_of(mode)), axis=1)


def true_levels(**values):
    """Decibels (M, frames), put together by hand."""
    settings = settings_of("tile", **values)
    blocks = list(stream_power(build_frontend(settings), [NOISE]))
    return to_db(np.concatenate(blocks, axis=1), settings.floor_db)


def test_levels_are_decibels_over_the_floor():
    settings = settings_of("tile", floor_db=-40.0)
    frontend = build_frontend(settings)
    found = np.concatenate(list(levels([NOISE], frontend, settings)), axis=1)
    np.testing.assert_array_equal(found, true_levels(floor_db=-40.0))
    assert found.min() == -40
    assert measure([NOISE], frontend, settings) == Moments.of(found)


@pytest.mark.parametrize("mode", IN_DECIBELS)
@pytest.mark.parametrize("overlap", [0, 5])
def test_undone_the_tiles_are_the_levels(mode, overlap):
    tiles = tiles_of(mode, overlap=overlap)
    assert [t.start_frame for t in tiles] == list(range(0, FRAMES - overlap, SIZE - overlap))
    assert all(t.values.shape == (SIZE, SIZE, 1) for t in tiles)
    assert all(t.values.dtype == np.float32 for t in tiles)
    undone = [
        Tile(t.normalization.undo(t.values[..., 0]), t.start_frame, t.valid_frames) for t in tiles
    ]
    np.testing.assert_allclose(join_tiles(undone, overlap=overlap), true_levels(), atol=1e-3)
    last = undone[-1]
    assert last.valid_frames < SIZE
    np.testing.assert_allclose(last.values[:, last.valid_frames :], -100, atol=1e-3)


@pytest.mark.parametrize("mode", LEARNED)
def test_the_constants_of_the_corpus_are_taken_as_they_are(mode):
    assert {t.normalization for t in tiles_of(mode)} == {CORPUS}


def test_a_recording_is_normalised_as_a_whole():
    (constants,) = {t.normalization for t in tiles_of("recording")}
    assert constants.offset == pytest.approx(true_levels().mean(dtype=np.float64))
    assert constants.scale == pytest.approx(true_levels().std(dtype=np.float64))
    values = levels_of("recording")
    assert values.mean() == pytest.approx(0, abs=1e-5)
    assert values.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("overlap", [0, 5])
def test_each_tile_is_normalised_by_its_own_sound_frames(overlap):
    tiles = tiles_of("tile", overlap=overlap)
    assert len({t.normalization for t in tiles}) == len(tiles)
    for tile in tiles:
        sound = tile.values[:, : tile.valid_frames]
        assert sound.mean() == pytest.approx(0, abs=1e-4)
        assert sound.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_levels_are_the_join_of_the_tiles_and_know_no_overlap(mode):
    tiles = [Tile(t.values[..., 0], *t[1:3]) for t in tiles_of(mode)]
    joined = join_tiles(tiles)
    assert joined.shape == (SIZE, FRAMES)
    np.testing.assert_array_equal(levels_of(mode), joined)
    np.testing.assert_array_equal(levels_of(mode, overlap=5), joined)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cuts", [(1, 2, 3), (500,), tuple(range(7, 897, 7))])
def test_how_the_samples_come_changes_no_bit(mode, cuts):
    np.testing.assert_array_equal(levels_of(mode, source(*cuts)), levels_of(mode))
    for one, other in zip(tiles_of(mode, source(*cuts)), tiles_of(mode), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one[1:] == other[1:]


@pytest.mark.parametrize("mode", MODES)
def test_digital_silence_is_finite_and_no_samples_have_no_tiles(mode):
    silence = source(samples=np.zeros(500, np.float32))
    tiles = tiles_of(mode, silence)
    assert np.isfinite([t.values for t in tiles]).all()
    if mode in ("recording", "tile"):
        expected = Normalization(offset=-100, scale=MIN_SCALE)
        assert {t.normalization for t in tiles} == {expected}
        assert (levels_of(mode, silence) == 0).all()
    assert tiles_of(mode, source(samples=NOISE[:0])) == []


@pytest.mark.parametrize("make", [normalized_tiles, normalized_levels])
def test_the_modes_keep_to_their_own_constants(make):
    """Those that learn them cannot do without; what the others are given is without effect."""
    for mode in LEARNED:
        with pytest.raises(UserError, match=f"normalization '{mode}' .*normalization="):
            made_of(make, source(), settings_of(mode), None)
    for mode in ("recording", "tile"):
        settings = settings_of(mode)
        with_and_without = [made_of(make, source(), settings, c) for c in (CORPUS, None)]
        for one, other in zip(*with_and_without, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
