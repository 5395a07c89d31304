import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ulmo.config import PrepSettings
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.preprocessing.normalize import quiet_level, to_tracked_db, track_level
from ulmo.preprocessing.spectrogram import levels
from ulmo.tokenizer import load_tokenizer

SETTINGS = PrepSettings(
    frontend="stft", tile_size=32, sample_rate=8000, hop_length=64, normalization="level"
)
BINS, FRAMES = 9, 300
PARAMETERS = {
    "default": {},
    "slow": {"level_release_db": 0.01},
    "fast": {"level_release_db": 1000.0},
    "narrow": {"level_range_db": 20.0},
    "wide": {"level_range_db": 160.0, "level_least_db": -140.0},
    "never followed": {"level_least_db": 0.0},
}


def noise_power():
    """Steady, then 40 dB quieter, then loud again."""
    power = np.random.default_rng(0).exponential(1e-4, (BINS, FRAMES))
    power[:, 100:200] *= 1e-4
    return power.astype(np.float32)


def clicks_power():
    """Digital silence but for a few frames."""
    power = np.zeros((BINS, FRAMES), np.float32)
    power[:, [0, 40, 41, 200]] = 1e-3
    power[4, 100] = 4.0
    return power


def fading_power():
    """200 dB down, in all."""
    fade = 10 ** (-20 * np.arange(FRAMES) / FRAMES)
    return (np.arange(1, BINS + 1)[:, None] * fade).astype(np.float32)


POWERS = {"noise": noise_power, "clicks": clicks_power, "fading": fading_power}


def settings_of(**values):
    return SETTINGS.model_copy(update=values)


def followed_of(power, settings=SETTINGS, cuts=()):
    """Decibels of power (M, frames) that comes in blocks."""
    return np.concatenate(
        list(to_tracked_db(np.split(power, sorted(cuts), axis=1), settings)), axis=1
    )


def by_hand(power, settings):
    """The definition, frame by frame and cell by cell: values (M, frames), and L of each frame."""
    fall = settings.level_release_db * settings.hop_length / settings.sample_rate
    values, followed_levels = np.empty(power.shape), []
    for frame in range(power.shape[1]):
        cells = [float(cell) for cell in power[:, frame]]
        total = math.fsum(cells)
        level = 10 * math.log10(total) if total else -math.inf
        level = max(level, settings.level_least_db)
        if followed_levels:
            level = max(level, followed_levels[-1] - fall)
        followed_levels.append(level)
        for row, cell in enumerate(cells):
            own = 10 * math.log10(cell) - level if cell else -math.inf
            values[row, frame] = max(own, -settings.level_range_db)
    return values, followed_levels


@pytest.mark.parametrize("values", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("make", POWERS.values(), ids=POWERS)
def test_it_is_the_definition(make, values):
    """1e-4 dB: a logarithm of float32 knows 2e-5 at -160 dB."""
    settings = settings_of(**values)
    power = make()
    expected, levels_followed = by_hand(power, settings)
    found = followed_of(power, settings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    (pair,) = track_level([power], settings)
    np.testing.assert_allclose(pair[1], levels_followed, atol=1e-9)
    np.testing.assert_array_equal(power, make())


@pytest.mark.parametrize("make", POWERS.values(), ids=POWERS)
@given(cuts=st.lists(st.integers(0, FRAMES), max_size=12))
@example(cuts=range(1, FRAMES))
def test_how_the_frames_come_changes_no_bit(make, cuts):
    """Blocks of no frames and of one among them."""
    power = make()
    np.testing.assert_array_equal(followed_of(power, cuts=cuts), followed_of(power))


def test_how_a_block_lies_in_memory_changes_no_bit():
    power = np.random.default_rng(0).exponential(1e-4, (1000, 7)).astype(np.float32)
    columns = list(to_tracked_db([np.asfortranarray(power)], SETTINGS))
    np.testing.assert_array_equal(columns[0], followed_of(power))


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 31, 224, 256, 5000])
def test_powers_are_summed_from_the_lowest_bin_up(frames):
    """To the last bit, for any number of frames: so a stream has the levels of a file."""
    power = np.random.default_rng(frames).exponential(1e-4, (500, frames)).astype(np.float32)
    total = np.zeros(frames)
    for row in power:
        total = total + row.astype(np.float64)
    settings = settings_of(level_release_db=1000.0, level_least_db=-200.0, hop_length=8000)
    starts = [track_level([power[:, frame:]], settings) for frame in range(min(frames, 300))]
    first = [next(start)[1][0] for start in starts]
    np.testing.assert_array_equal(first, 10 * np.log10(total)[: len(first)])


@given(gain_db=st.floats(-60, 60))
@examples(max_examples=50)
def test_gain_falls_away(gain_db):
    """1e-5 dB: a power of float32 is known to 3e-7 dB, and so is the gain."""
    settings = settings_of(level_least_db=-140.0)
    power = noise_power()
    louder = (power.astype(np.float64) * 10 ** (gain_db / 10)).astype(np.float32)
    found = followed_of(louder, settings)
    np.testing.assert_allclose(found, followed_of(power, settings), atol=2e-5)


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("gain", [0.5, 0.05, 3.0])
def test_gain_of_samples_falls_away(frontend, gain):
    """Of every front end; a cell that cancels out is known less well than the frame's loudest."""
    settings = settings_of(frontend=frontend, level_range_db=60.0)
    if frontend in ("dwt", "wpt"):
        settings = settings.model_copy(update={"wavelet": "db4"})
    samples = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)
    one, other = (
        np.concatenate(list(levels([s], build_frontend(settings), settings)), axis=1)
        for s in (samples, np.float32(gain) * samples)
    )
    assert one.std() > 1
    np.testing.assert_allclose(one, other, atol=0.02)


def test_after_a_click_the_level_falls_as_told():
    power = np.full((1, 500), 1e-9, np.float32)
    power[0, 100] = 1e-3
    (pair,) = track_level([power], settings_of(level_release_db=25.0, level_least_db=-100.0))
    level = pair[1]
    fall = 25 * 64 / 8000
    assert level[:100] == pytest.approx(-90)
    assert level[100:400] == pytest.approx(-30 - fall * np.arange(300))
    assert level[-1] == pytest.approx(-90)


def test_no_frame_is_over_0_db_and_the_first_is_at_it():
    found = followed_of(fading_power())
    total = (10 ** (found.astype(np.float64) / 10)).sum(axis=0)
    assert 10 * np.log10(total[0]) == pytest.approx(0, abs=1e-5)
    assert (10 * np.log10(total) < 1e-5).all()


def test_what_is_under_the_least_level_is_not_blown_up():
    power = np.full((BINS, 50), 1e-11, np.float32)
    assert followed_of(power) == pytest.approx(-110 + 70, abs=1e-4)


@pytest.mark.parametrize("range_db", [20.0, 80.0, 160.0])
def test_digital_silence_is_one_finite_value_and_fills_the_tiles(range_db):
    settings = settings_of(level_range_db=range_db)
    found = followed_of(np.zeros((BINS, FRAMES), np.float32), settings)
    assert (found == np.float32(quiet_level(settings))).all()
    assert quiet_level(settings) == -range_db


@pytest.fixture(scope="module")
def tokenizer(make_bundle, tmp_path_factory):
    return load_tokenizer(make_bundle(tmp_path_factory.mktemp("x") / "bundle", SETTINGS), threads=1)


def swelling():
    """Noise that rises by 40 dB and falls again, 8.75 s of it."""
    time = np.arange(70_001) / 70_001
    rng = np.random.default_rng(0)
    return (rng.normal(0, 0.1, 70_001) * 10 ** (-2 * np.abs(2 * time - 1))).astype(np.float32)


@pytest.mark.parametrize("gain_db", [-6, 6])
def test_gain_hardly_changes_a_token(gain_db, tokenizer):
    """What is left is rounding: of these weights no decision is closer than that."""
    samples = swelling()
    louder = samples * np.float32(10 ** (gain_db / 20))
    one, other = (tokenizer.encode(s, sample_rate=8000).ids for s in (samples, louder))
    assert (one != other).mean() < 0.001
    assert len(np.unique(one)) > 4


def test_without_following_gain_changes_tokens(tokenizer_of):
    """The check itself: the same of the mode `corpus`."""
    tokenizer = tokenizer_of("stft", "corpus")
    one, other = (tokenizer.encode(s, sample_rate=2000).ids for s in (swelling(), 2 * swelling()))
    assert (one != other).mean() > 0.05
