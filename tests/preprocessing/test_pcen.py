import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import PrepSettings
from ulmo.preprocessing.normalize import PCEN_EPS, pcen, quiet_level

SETTINGS = PrepSettings(
    frontend="stft", tile_size=32, sample_rate=8000, hop_length=64, normalization="pcen"
)
BINS, FRAMES = 8, 300
PARAMETERS = {
    "default": {},
    "no gain control": {"pcen_gain": 0.0},
    "full gain control": {"pcen_gain": 1.0},
    "no bias": {"pcen_bias": 0.0},
    "large bias": {"pcen_bias": 1e6},
    "no compression": {"pcen_power": 1.0},
    "short": {"pcen_time_constant": 0.02},
    "shorter than a hop": {"pcen_time_constant": 0.001},
    "long": {"pcen_time_constant": 60.0},
    "floor": {"floor_db": -60.0},
}


def noise_power():
    return np.random.default_rng(0).exponential(1e-4, (BINS, FRAMES))


def step_power():
    power = np.full((BINS, FRAMES), 1e-7)
    power[:, 100:] = 1e-2
    return power


def impulse_power():
    power = np.zeros((BINS, FRAMES))
    power[np.arange(BINS), 10 * np.arange(BINS)] = 1.0
    return power


POWERS = {"noise": noise_power, "step": step_power, "impulses": impulse_power}


def settings_of(**values):
    return SETTINGS.model_copy(update=values)


def pcen_of(power, settings=SETTINGS, cuts=()):
    """PCEN of power (M, frames) that comes in blocks."""
    blocks = np.split(power.astype(np.float32), sorted(cuts), axis=1)
    return np.concatenate(list(pcen(blocks, settings)), axis=1)


def librosa_pcen(power, settings):
    """librosa's, whose running mean is told to begin at the first frame, as ours does."""
    clipped = np.maximum(power.astype(np.float32), np.float32(10 ** (settings.floor_db / 10)))
    energy = clipped.astype(np.float64) * 2**31
    frames = settings.pcen_time_constant * settings.sample_rate / settings.hop_length
    smoothing = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    options = {name: getattr(settings, f"pcen_{name}") for name in ("gain", "bias", "power")}
    options |= {"time_constant": settings.pcen_time_constant, "eps": PCEN_EPS}
    rates = {"sr": settings.sample_rate, "hop_length": settings.hop_length}
    return librosa.pcen(energy, **rates, **options, zi=(1 - smoothing) * energy[:, :1])


@pytest.mark.parametrize("values", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("make", POWERS.values(), ids=POWERS)
def test_it_is_librosas(make, values):
    """1e-5: float32 holds 6e-8; 1e-12: a bias of 1e6 gives 1000, known to 1e-13 in float64."""
    settings = settings_of(**values)
    power = make().astype(np.float32)
    (found,) = pcen([power], settings)
    np.testing.assert_array_equal(power, make().astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, librosa_pcen(make(), settings), rtol=1e-5, atol=1e-12)


@given(cuts=st.sets(st.integers(1, FRAMES - 1), max_size=12))
def test_how_the_frames_come_changes_no_bit(cuts):
    power = noise_power()
    np.testing.assert_array_equal(pcen_of(power, cuts=cuts), pcen_of(power))


@pytest.mark.parametrize("floor_db", [-300.0, -100.0, -20.0])
@pytest.mark.parametrize("gain", [0.0, 0.98, 1.0])
def test_silence_is_one_finite_value_and_fills_the_tiles(floor_db, gain):
    """1e-6: the running mean of equal values is rounded."""
    settings = settings_of(floor_db=floor_db, pcen_gain=gain)
    found = pcen_of(np.zeros((BINS, FRAMES)), settings)
    np.testing.assert_allclose(found, quiet_level(settings), rtol=1e-6)


def test_after_sound_lasting_silence_comes_to_the_same():
    """80 s of a running mean of 0.4 s: what is left of full scale lies under the floor."""
    power = np.zeros((BINS, 10_000))
    power[:, :10] = 1
    assert pcen_of(power)[:, -1] == pytest.approx(quiet_level(SETTINGS), rel=1e-5)


@pytest.mark.parametrize("mode", ["corpus", "recording", "tile"])
def test_elsewhere_the_quiet_level_is_the_floor(mode):
    assert quiet_level(settings_of(normalization=mode, floor_db=-87.5)) == -87.5


@pytest.mark.parametrize("lost_db", [10, 20, 40])
def test_the_gain_of_steady_noise_falls_away(lost_db):
    """All of it at pcen_gain 1; at 0.98 a fiftieth of the decibels is left, then compressed.

    1e-4 at gain 1: epsilon is 1e-6 beside a running mean of 21 (1e-8 of full scale) or more.
    """
    power = noise_power()
    quiet = power * 10 ** (-lost_db / 10)
    full = settings_of(pcen_gain=1.0, floor_db=-200.0)
    np.testing.assert_allclose(pcen_of(quiet, full), pcen_of(power, full), rtol=1e-4)
    loud, soft = pcen_of(power), pcen_of(quiet)
    loudest = np.abs(np.log10(loud / soft)[power > 1e-5]).max() * 10
    assert 0 < loudest < lost_db / 50 + 1e-3


def test_an_onset_stands_out_and_then_falls_back():
    """A step of 50 dB: four time constants behind it, hardly more is left than of a fiftieth."""
    found = pcen_of(step_power())[0]
    assert found[100] > 10 * found[99]
    assert (np.diff(found[100:]) < 0).all()
    assert found[-1] == pytest.approx(found[99], rel=0.3)


@pytest.mark.parametrize("seconds", [1e-12, 1e-300])
def test_a_vanishing_time_constant_follows_every_frame(seconds):
    settings = settings_of(pcen_time_constant=seconds, pcen_gain=1.0)
    found = pcen_of(noise_power(), settings)
    np.testing.assert_allclose(found, quiet_level(settings), rtol=1e-4)
