import sys

import numpy as np
import pytest

from tests.preprocessing.signals import noise, power_of
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.inverse import ALIGNMENT_DB, invert
from ulmo.preprocessing.normalize import Normalization, track_level
from ulmo.preprocessing.spectrogram import normalized_levels

RATE = 8000
CONSTANTS = Normalization(offset=-50.0, scale=20.0)
CASES = {
    "stft": {"frontend": "stft"},
    "stft padded": {"frontend": "stft", "n_fft": 512, "win_length": 256},
    "mel": {"frontend": "mel"},
    "mel short": {"frontend": "mel", "n_fft": 1024, "win_length": 200},
}


def settings_of(case):
    plan = {"sample_rate": RATE, "hop_length": 64, "tile_size": 128, "normalization": "corpus"}
    return PrepSettings(**plan, **CASES[case])


def plane_of(samples, made):
    frontend = build_frontend(made)
    blocks = normalized_levels([samples], frontend, made, CONSTANTS)
    return np.concatenate(list(blocks), axis=1)


def song():
    """A tone that rises in steps and pauses, over faint noise."""
    time = np.arange(2 * RATE) / RATE
    steps = 300 * 2 ** np.floor(4 * time)[:, None] / 1.0
    tone = np.sin(2 * np.pi * np.cumsum(np.minimum(steps[:, 0], 2400)) / RATE)
    samples = 0.4 * tone * (np.sin(2 * np.pi * 2 * time) > -0.3) + 0.002 * noise(len(time))
    return samples.astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_the_sound_has_the_spectrogram_that_it_came_from(case):
    """Phases are guessed, so levels are near, not equal: of the loud cells half are within 1 dB."""
    made, samples = settings_of(case), song()
    plane = plane_of(samples, made)
    found = invert(plane, made, CONSTANTS)
    assert found.dtype == np.float32
    assert found.shape == (plane.shape[1] * made.hop_length,)
    again = plane_of(found, made)
    loud = plane > plane.max() - 30 / CONSTANTS.scale
    apart = np.abs(again - plane)[loud] * CONSTANTS.scale
    assert np.median(apart) < 1
    assert np.percentile(apart, 90) < 6
    if case in ("stft", "mel"):
        ratio = np.sqrt(np.mean(found**2) / np.mean(samples**2))
        assert 20 * abs(np.log10(ratio)) < 1  # the loudness is kept
    np.testing.assert_array_equal(found, invert(plane, made, CONSTANTS))


@pytest.mark.parametrize("gain", [0.05, 1.0])
def test_a_tracked_level_sounds_at_one_loudness(gain):
    """Whatever it was: tracked again, its level is 20 dB under full scale wherever it rises."""
    made = settings_of("mel").model_copy(update={"normalization": "level"})
    plane = plane_of(np.float32(gain) * song(), made)
    found = invert(plane, made, CONSTANTS)
    (pair,) = track_level([power_of(build_frontend(made), found)], made)
    rising = np.diff(pair[1]) > 0
    assert rising.any()
    assert np.abs(pair[1][1:][rising] - ALIGNMENT_DB).max() < 3
    assert np.abs(found).max() < 1
    again = plane_of(found, made)
    loud = plane > plane.max() - 30 / CONSTANTS.scale
    assert np.median(np.abs(again - plane)[loud]) * CONSTANTS.scale < 1


def test_silence_stays_silence_and_nothing_gives_nothing():
    made = settings_of("stft")
    assert not invert(plane_of(np.zeros(4000, np.float32), made), made, CONSTANTS).any()
    assert invert(np.empty((128, 0), np.float32), made, CONSTANTS).shape == (0,)


@pytest.mark.parametrize(
    ("change", "constants", "text"),
    [
        ({"frontend": "cqt"}, CONSTANTS, r"^cqt has no inverse: only tokens of stft and mel"),
        ({"normalization": "pcen"}, CONSTANTS, "PCEN removes the levels"),
        ({"normalization": "tile"}, None, "pass normalization= with those of this one"),
    ],
)
def test_what_has_no_inverse_is_refused(change, constants, text):
    made = settings_of("mel").model_copy(update=change)
    with pytest.raises(UserError, match=text):
        invert(np.zeros((128, 4), np.float32), made, constants)


def test_where_numba_has_no_folder_for_its_cache_the_error_says_what_to_set(monkeypatch):
    class Librosa:
        @property
        def griffinlim(self):
            raise RuntimeError("cannot cache function '_localmax': no locator available")

    monkeypatch.setitem(sys.modules, "librosa", Librosa())
    with pytest.raises(UserError, match=r"no locator .*: set NUMBA_CACHE_DIR to a folder"):
        invert(np.zeros((128, 4), np.float32), settings_of("stft"), CONSTANTS)
