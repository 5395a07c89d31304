"""`stft`, `mel`, `cqt` and `cwt` say what librosa, PyWavelets or a slow sum say."""

import warnings

import librosa
import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import cqt_power, cwt_power
from tests.preprocessing.signals import CASES, SIGNALS, level, noise, power_of, settings_of, sine
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.frontends.mel import interpolated

# The oracles. Front ends compute in float32: an error of some 2e-7 of the frame's loudest bin,
# which is 0.02 dB at -80 dB re full scale, hence the floor and the tolerance of stft and mel.
FLOOR_DB, TOLERANCE_DB = -80, 0.05


def check(power, expected, floor_db, tolerance_db):
    """Raise AssertionError unless levels over a floor are equal to some decibels."""
    assert power.shape == expected.shape
    assert np.abs(level(power, floor_db) - level(expected, floor_db)).max() < tolerance_db


def librosa_power(samples, *, n_fft, win_length, hop_length):
    """|X|^2 (n_fft // 2 + 1, frames), scaled so that a full-scale sine has power 1."""
    window = librosa.filters.get_window("hann", win_length)
    spectra = librosa.stft(
        samples, n_fft=n_fft, win_length=win_length, hop_length=hop_length, pad_mode="constant"
    )
    frames = -(-len(samples) // hop_length)
    return np.abs(spectra[:, :frames]) ** 2 * (2 / window.sum()) ** 2


@pytest.fixture(params=SIGNALS)
def signal(request):
    """One second at 16 kHz, or two at 8 kHz, and a few samples."""
    return np.asarray(SIGNALS[request.param](16123), np.float64)


@pytest.mark.parametrize(
    ("values", "n_fft", "win_length"),
    [
        ({}, 448, 448),
        (CASES["8k"], 128, 128),
        ({"tile_size": 65, "n_fft": 131, "hop_length": 128}, 131, 131),
        ({"tile_size": 65, "n_fft": 512, "win_length": 301}, 512, 301),
    ],
)
def test_stft_is_librosas_without_dc(signal, values, n_fft, win_length):
    made = settings_of("stft", **values)
    power = power_of(build_frontend(made), signal)
    whole = librosa_power(signal, n_fft=n_fft, win_length=win_length, hop_length=made.hop_length)
    check(power, whole[1 : made.tile_size + 1], FLOOR_DB, TOLERANCE_DB)


@pytest.mark.parametrize(
    ("values", "n_fft", "win_length"),
    [
        ({}, 2048, 448),
        (CASES["48k"], 4096, 448),
        (CASES["8k"], 256, 128),
        (CASES["wide"], 2048, 1024),
        ({"tile_size": 65, "fmin": 300.0, "fmax": 6000.0, "n_fft": 1024}, 1024, 1024),
    ],
)
def test_mel_is_librosas_with_triangles_of_height_1(signal, values, n_fft, win_length):
    made = settings_of("mel", **values)
    frontend = build_frontend(made)
    span = {"fmin": made.fmin or 0, "fmax": made.fmax or made.sample_rate / 2}
    plain = {"htk": False, "norm": None, "dtype": np.float64}
    weights = librosa.filters.mel(
        sr=made.sample_rate, n_fft=n_fft, n_mels=made.tile_size, **span, **plain
    )
    lengths = {"n_fft": n_fft, "win_length": win_length, "hop_length": made.hop_length}
    expected = weights @ librosa_power(signal, **lengths)
    check(power_of(frontend, signal), expected, FLOOR_DB, TOLERANCE_DB)
    bands = librosa.mel_frequencies(made.tile_size + 2, **span)
    np.testing.assert_allclose(frontend.frequencies, bands[1:-1], rtol=1e-12)


@settings(max_examples=60)
@given(data=st.data())
def test_interpolated_weights_give_the_long_ffts_sums(data):
    """Any weights, not just triangles. In float64: 1e-8 leaves seven digits for its rounding."""
    win_length = data.draw(st.integers(2, 150))
    length = 2 * data.draw(st.integers(win_length, 300))
    n_fft = data.draw(st.integers(length + 1, 900))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    weights = rng.random((5, n_fft // 2 + 1)) ** data.draw(st.sampled_from([0, 1, 30]))
    samples = rng.normal(size=win_length)
    short = np.abs(np.fft.rfft(samples, length)) ** 2
    long = np.abs(np.fft.rfft(samples, n_fft)) ** 2
    found = interpolated(weights, n_fft, win_length, length) @ short
    np.testing.assert_allclose(found, weights @ long, rtol=1e-8)


CQT_CASES = [
    (CASES["8k"], 9),
    ({"tile_size": 65, "hop_length": 441}, 9),
    ({"tile_size": 84, "sample_rate": 22050, "hop_length": 512, "bins_per_octave": 12}, 12),
    ({"hop_length": 640}, 29),
]


@pytest.mark.parametrize(("values", "bins_per_octave"), CQT_CASES)
def test_cqt_is_the_direct_sum(signal, values, bins_per_octave):
    """The filters' responses are cut at -80 dB, and at 0 Hz: 1.5e-4 of full scale at most.

    That is 0.13 dB at -40 dB re full scale. Every fifth bin is summed.
    """
    made = settings_of("cqt", **values)
    frontend = build_frontend(made)
    power = power_of(frontend, signal)[::5]
    rates = {"sample_rate": made.sample_rate, "hop_length": made.hop_length}
    bins = {"frequencies": frontend.frequencies[::5], "bins_per_octave": bins_per_octave}
    expected = cqt_power(signal, **rates, **bins)
    assert np.abs(np.sqrt(power) - np.sqrt(expected)).max() < 1.5e-4
    check(power, expected, -40, 0.13)


@pytest.mark.parametrize(("values", "bins_per_octave"), CQT_CASES)
def test_cqt_is_close_to_librosas(signal, values, bins_per_octave):
    """librosa rounds its filters to whole samples, and takes each octave from decimated samples.

    At the flanks of a tone or a chirp it is several dB off the direct sum (see the test above),
    so that only the middle of the distribution is compared, above -60 dB re full scale.
    """
    made = settings_of("cqt", **values)
    frontend = build_frontend(made)
    options = {"sr": made.sample_rate, "fmin": made.sample_rate / 490}
    bins = {"n_bins": made.tile_size, "bins_per_octave": bins_per_octave}
    frequencies = librosa.cqt_frequencies(fmin=options["fmin"], **bins)
    np.testing.assert_allclose(frontend.frequencies, frequencies, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large")
        options |= {"tuning": 0, "scale": False, "sparsity": 0, "pad_mode": "constant"}
        spectra = librosa.cqt(signal, hop_length=made.hop_length, **options, **bins)
    lengths, _ = librosa.filters.wavelet_lengths(
        freqs=frequencies, sr=made.sample_rate, alpha=(2 ** (1 / bins_per_octave) - 1)
    )
    power = power_of(frontend, signal)
    expected = 4 * np.abs(spectra[:, : power.shape[1]] / lengths[:, None]) ** 2
    off = np.abs(level(power, -60) - level(expected, -60))
    median, most, nearly_all = np.percentile(off, [50, 75, 90])
    assert median < 0.3
    assert most < 0.6
    assert nearly_all < 4


# Wavelets above this share of the sample rate are tapered towards Nyquist, and no plain Morlet's.
PLAIN = 0.29


@pytest.mark.parametrize("values", [CASES["8k"], CASES["fmin"], {"tile_size": 65, "fmax": 4000.0}])
def test_cwt_is_the_direct_sum(signal, values):
    """The wavelets' responses are cut at -80 dB: 1.5e-4 of full scale at most."""
    made = settings_of("cwt", **values)
    frontend = build_frontend(made)
    rows = np.flatnonzero(frontend.frequencies < PLAIN * made.sample_rate)[::9]
    power = power_of(frontend, signal)[rows]
    rates = {"sample_rate": made.sample_rate, "hop_length": made.hop_length}
    expected = cwt_power(signal, **rates, frequencies=frontend.frequencies[rows])
    assert len(rows) > 3
    assert np.abs(np.sqrt(power) - np.sqrt(expected)).max() < 1.5e-4
    check(power, expected, -40, 0.13)


def test_cwt_is_close_to_pywavelets():
    """pywt interpolates an integrated wavelet, and tells its centre to 2 %: hence the tolerances.

    Its wavelets have the norm 1 / sqrt(scale) and gain 1 at +f: 4 / scale of its power is ours.
    """
    made = settings_of("cwt")
    frontend = build_frontend(made)
    rows = np.flatnonzero((frontend.frequencies > 100) & (frontend.frequencies < 2000))[::20]
    samples = noise(3 * made.sample_rate).astype(np.float64)
    cycles = 6 / (2 * np.pi)
    scales = cycles * made.sample_rate / frontend.frequencies[rows]
    found, frequencies = pywt.cwt(
        samples, scales, f"cmor2.0-{cycles}", 1 / made.sample_rate, method="fft", precision=14
    )
    np.testing.assert_allclose(frequencies, frontend.frequencies[rows], rtol=0.02)
    expected = 4 * np.abs(found[:, :: made.hop_length]) ** 2 / scales[:, None]
    inner = slice(30, -30)
    ours = power_of(frontend, samples)[rows, inner]
    difference = np.abs(level(ours, -60) - level(expected[:, inner], -60))
    assert np.median(difference) < 0.3
    assert np.percentile(difference, 90) < 1.0


def test_cwt_tapers_what_is_near_nyquist():
    frontend = build_frontend(settings_of("cwt"))
    heard = power_of(frontend, sine(16000, 7900, 16000))[:, 50]
    assert heard.max() < 10 ** (-20 / 10)
