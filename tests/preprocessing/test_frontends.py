"""Every front end keeps the contract of FrontEnd, and says what librosa or a slow sum say."""

import warnings

import librosa
import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import cqt_power, cwt_power
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, count_frames, stream_power

CASES = {
    "default": {},
    "48k": {"tile_size": 224, "sample_rate": 48000, "hop_length": 128},
    "8k": {"tile_size": 64, "sample_rate": 8000, "hop_length": 128},
    "odd": {"tile_size": 65, "sample_rate": 8000, "hop_length": 101},
    "wide": {
        "tile_size": 65,
        "sample_rate": 48000,
        "hop_length": 441,
        "n_fft": 2048,
        "win_length": 1024,
    },
    "fmin": {"tile_size": 64, "sample_rate": 16000, "hop_length": 128, "fmin": 500.0},
}


def settings_of(frontend, **values):
    return PrepSettings(frontend=frontend, **values)


def power_of(frontend, *blocks):
    """Power (M, frames) of the blocks, as float32 blocks."""
    blocks = [np.asarray(block, np.float32) for block in blocks]
    parts = list(stream_power(frontend, blocks))
    return np.concatenate([np.empty((len(frontend.frequencies), 0), np.float32), *parts], axis=1)


def level(power, floor):
    """Decibels, clipped from below at a floor."""
    return 10 * np.log10(np.maximum(np.asarray(power, np.float64), 10 ** (floor / 10)))


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.2, samples).astype(np.float32)


def sine(samples, frequency, sample_rate):
    return np.sin(2 * np.pi * frequency / sample_rate * np.arange(samples) + 0.3)


def impulses(samples, *places):
    signal = np.zeros(samples)
    signal[list(places)] = 1
    return signal


def chirp(samples):
    """From 0.01 to 0.4 cycles a sample."""
    n = np.arange(samples)
    return 0.9 * np.sin(2 * np.pi * (0.01 * n + 0.39 / 2 / samples * n * n))


SIGNALS = {
    "noise": noise,
    "tones": lambda samples: 0.4 * (sine(samples, 0.0501, 1) + sine(samples, 0.203, 1)),
    "chirp": chirp,
    "impulses": lambda samples: impulses(samples, samples // 3, samples // 2 + 7),
}


@pytest.fixture(params=[(name, case) for name in FRONTENDS for case in CASES], ids="-".join)
def case(request):
    """Every front end with every case's settings."""
    name, case = request.param
    made = settings_of(name, **CASES[case])
    return made, build_frontend(made)


class TestContract:
    def test_shape_and_range(self, case):
        made, frontend = case
        hop, size = made.hop_length, made.tile_size
        for samples in (0, 1, hop - 1, hop, hop + 1, frontend.block_frames * hop + 1):
            power = power_of(frontend, noise(samples))
            assert power.shape == (size, -(-samples // hop))
            assert power.dtype == np.float32
            assert np.isfinite(power).all()
            assert (power >= 0).all()
            assert count_frames(samples, hop) == power.shape[1]

    def test_frequencies_rise_to_nyquist_at_most(self, case):
        made, frontend = case
        assert frontend.frequencies.shape == (made.tile_size,)
        assert frontend.frequencies.dtype == np.float64
        assert frontend.frequencies[0] > 0
        assert (np.diff(frontend.frequencies) > 0).all()
        assert frontend.frequencies[-1] <= made.sample_rate / 2
        assert frontend.hop_length == made.hop_length

    def test_a_sine_of_full_scale_is_0_db_at_its_bin(self, case):
        made, frontend = case
        low, high = tone_gain_db(made)
        reach = -(-(frontend.left + frontend.right) // made.hop_length)
        samples = (2 * reach + 64) * made.hop_length
        for index in range(2, made.tile_size - 1, 1 + made.tile_size // 8):
            tone = sine(samples, frontend.frequencies[index], made.sample_rate)
            heard = power_of(frontend, tone)[:, reach : reach + 64].mean(axis=1, dtype=np.float64)
            rows = (
                octave_of_rows(made) == octave_of_rows(made)[index]
                if made.frontend == "dwt"
                else [index]
            )
            assert low <= level(heard[rows].sum(), -100) <= high
            if made.frontend == "mel":
                assert abs(int(heard.argmax()) - index) <= 1
            else:
                assert heard[index] == heard.max()

    def test_an_impulse_is_in_the_frame_whose_centre_is_nearest(self, case):
        made, frontend = case
        hop = made.hop_length
        samples = (frontend.block_frames + 9) * hop
        for frame in (0, 1, 7, frontend.block_frames - 1, frontend.block_frames):
            for place in places_in_frame(made, frame):
                heard = power_of(frontend, impulses(samples, place)).sum(axis=0)
                assert heard.argmax() == frame

    def test_silence_has_no_power(self, case):
        made, frontend = case
        assert (power_of(frontend, np.zeros(3 * made.hop_length)) == 0).all()

    def test_one_sample_is_an_impulse_in_frame_0(self, case):
        made, frontend = case
        whole = power_of(frontend, impulses(5 * made.hop_length, 0))
        one = power_of(frontend, [1])
        assert one.shape == (made.tile_size, 1)
        assert (one > 0).all()
        np.testing.assert_array_equal(one, whole[:, :1])


def places_in_frame(made, frame):
    """Samples that lie in a frame: for `wpt`, whose steps may be longer than a hop, its centre."""
    hop = made.hop_length
    if made.frontend == "wpt":
        return {frame * hop}
    return {max(frame * hop - hop // 2 + 1, 0), frame * hop, frame * hop + hop // 3}


def octave_of_rows(made):
    """The octave band of each row of `dwt` at its default level."""
    return np.arange(made.tile_size) * 8 // made.tile_size


def tone_gain_db(made):
    """Bounds of the level of a full-scale sine at a bin's centre.

    `stft`: the bin is on the tone, only rounding differs. `cqt`, `cwt`: so is the filter, whose
    response is cut at -80 dB. `mel`: a band as narrow as its FFT bins sees the tone between two
    of them (Hann scalloping, -1.42 dB); one wider than the window's main lobe adds up the whole
    lobe, by Parseval 1.5 n_fft / win_length. `dwt`, `wpt`: where bands meet, half of the power is
    the neighbour's (-3 dB), and that of the squares of a real wavelet swings a little.
    """
    if made.frontend == "mel":
        win_length = made.win_length or 2 * made.tile_size
        return -1.43, 10 * np.log10(1.5 * mel_n_fft(made) / win_length) + 0.01
    if made.frontend in ("dwt", "wpt"):
        return -3.1, 0.1
    return (-0.001, 0.001) if made.frontend == "stft" else (-0.005, 0.005)


def mel_n_fft(made):
    """Least power of two that is not under the window, and has two bins in every half triangle."""
    edges = librosa.mel_frequencies(
        made.tile_size + 2, fmin=made.fmin or 0, fmax=made.fmax or made.sample_rate / 2
    )
    n_fft = made.n_fft or 1
    while n_fft < max(2 * made.tile_size, made.sample_rate / np.diff(edges).min()):
        n_fft *= 2
    return n_fft


class TestBlocks:
    @pytest.mark.parametrize("name", FRONTENDS)
    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def test_how_the_samples_come_changes_no_bit(self, name, data):
        frontend = build_frontend(settings_of(name, **CASES["8k"]))
        whole = noise(2 * frontend.block_frames * frontend.hop_length + 77)
        cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12))
        np.testing.assert_array_equal(
            power_of(frontend, *np.split(whole, sorted(cuts))), power_of(frontend, whole)
        )

    @pytest.mark.parametrize("name", FRONTENDS)
    def test_single_samples(self, name):
        frontend = build_frontend(settings_of(name, **CASES["odd"]))
        whole = noise(3000)
        np.testing.assert_array_equal(
            power_of(frontend, *whole[:, None]), power_of(frontend, whole)
        )

    @pytest.mark.parametrize("name", FRONTENDS)
    def test_what_follows_is_without_effect_beyond_the_filters_reach(self, name):
        frontend = build_frontend(settings_of(name, **CASES["8k"]))
        hop = frontend.hop_length
        whole = noise(60 * hop)
        part = power_of(frontend, whole[: 40 * hop])
        sound = 40 - -(-frontend.right // hop)
        np.testing.assert_allclose(
            part[:, :sound], power_of(frontend, whole)[:, :sound], rtol=1e-4, atol=1e-7
        )


REFUSED = [
    ("stft", {"tile_size": 64, "n_fft": 126, "hop_length": 64}, {"n_fft": 128}),
    ("stft", {"tile_size": 64, "n_fft": 128, "win_length": 129, "hop_length": 64}, {"n_fft": 129}),
    ("stft", {"tile_size": 64, "hop_length": 129}, {"hop_length": 64}),
    ("mel", {"fmax": 8000.5}, {"fmax": 8000}),
    ("mel", {"fmin": 4000.0, "fmax": 4000.0}, {"fmin": 0}),
    ("mel", {"fmin": 8000.0}, {"fmax": 0}),
    ("mel", {"n_fft": 448}, {"n_fft": None}),
    ("mel", {"n_fft": 2048, "win_length": 2049}, {"n_fft": 2049}),
    ("mel", {"tile_size": 64, "hop_length": 129}, {"hop_length": 64}),
    ("mel", {"fmin": 1000.0, "fmax": 1000.5}, {"tile_size": 0}),
    ("cqt", {"bins_per_octave": 28, "tile_size": 230}, {"bins_per_octave": 29}),
    ("cqt", {"fmin": 7000.0}, {"fmin": 32.7}),
    ("cqt", {"fmin": 1e-3, "hop_length": 8}, {"fmin": 0}),
    ("cqt", {"fmin": 1e-300}, {"fmin": 0}),
    ("cqt", {"tile_size": 64, "hop_length": 500_000}, {"hop_length": 3060}),
    ("cwt", {"fmax": 7500.0}, {"fmax": 7111}),
    ("cwt", {"fmin": 7200.0}, {"fmin": 32.7}),
    ("cwt", {"fmin": 1e-3, "hop_length": 8}, {"fmin": 0}),
    ("cwt", {"tile_size": 64, "hop_length": 500_000}, {"hop_length": 2573}),
]


class TestRefusals:
    @pytest.mark.parametrize(("name", "values", "advice"), REFUSED)
    def test_impossible_settings_are_refused_in_a_line_that_says_what_to_set(
        self, name, values, advice
    ):
        """An advice with a value is one that works; 0 stands for a value that is not told."""
        with pytest.raises(UserError) as error:
            build_frontend(settings_of(name, **values))
        message = str(error.value)
        assert "\n" not in message
        for setting, value in advice.items():
            assert setting in message
            if value:
                assert str(value) in message
        if 0 not in advice.values():
            build_frontend(settings_of(name, **{**values, **advice}))

    def test_an_unknown_front_end_is_refused_with_the_names_of_the_known(self):
        with pytest.raises(UserError, match=", ".join(FRONTENDS)):
            build_frontend(settings_of("wavelet"))


# The oracles. Front ends compute in float32: an error of some 2e-7 of the frame's loudest bin,
# which is 0.02 dB at -80 dB re full scale, hence the floor and the tolerance of stft and mel.
FLOOR_DB, TOLERANCE_DB = -80, 0.05


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
    expected = whole[1 : made.tile_size + 1]
    assert power.shape == expected.shape
    assert np.abs(level(power, FLOOR_DB) - level(expected, FLOOR_DB)).max() < TOLERANCE_DB


@pytest.mark.parametrize(
    ("values", "n_fft", "win_length"),
    [
        ({}, 2048, 448),
        (CASES["8k"], 256, 128),
        (CASES["wide"], 2048, 1024),
        ({"tile_size": 65, "fmin": 300.0, "fmax": 6000.0, "n_fft": 1024}, 1024, 1024),
    ],
)
def test_mel_is_librosas_with_triangles_of_height_1(signal, values, n_fft, win_length):
    made = settings_of("mel", **values)
    frontend = build_frontend(made)
    weights = librosa.filters.mel(
        sr=made.sample_rate,
        n_fft=n_fft,
        n_mels=made.tile_size,
        fmin=made.fmin or 0,
        fmax=made.fmax,
        htk=False,
        norm=None,
        dtype=np.float64,
    )
    power = power_of(frontend, signal)
    expected = weights @ librosa_power(
        signal, n_fft=n_fft, win_length=win_length, hop_length=made.hop_length
    )
    assert power.shape == expected.shape
    assert np.abs(level(power, FLOOR_DB) - level(expected, FLOOR_DB)).max() < TOLERANCE_DB
    bands = librosa.mel_frequencies(
        made.tile_size + 2, fmin=made.fmin or 0, fmax=made.fmax or made.sample_rate / 2
    )
    np.testing.assert_allclose(frontend.frequencies, bands[1:-1], rtol=1e-12)


CQT_CASES = [
    (CASES["8k"], 9),
    ({"tile_size": 65, "hop_length": 441}, 9),
    ({"tile_size": 84, "sample_rate": 22050, "hop_length": 512, "bins_per_octave": 12}, 12),
    ({"hop_length": 640}, 29),
]


@pytest.mark.parametrize(("values", "bins_per_octave"), CQT_CASES)
def test_cqt_is_the_direct_sum(signal, values, bins_per_octave):
    """The filters' responses are cut at -80 dB, and at 0 Hz: 1.5e-4 of full scale at most.

    That is 0.13 dB at -40 dB re full scale.
    """
    made = settings_of("cqt", **values)
    frontend = build_frontend(made)
    power = power_of(frontend, signal)
    expected = cqt_power(
        signal,
        sample_rate=made.sample_rate,
        hop_length=made.hop_length,
        frequencies=frontend.frequencies,
        bins_per_octave=bins_per_octave,
    )
    assert power.shape == expected.shape
    assert np.abs(np.sqrt(power) - np.sqrt(expected)).max() < 1.5e-4
    assert np.abs(level(power, -40) - level(expected, -40)).max() < 0.13


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
        spectra = librosa.cqt(
            signal,
            hop_length=made.hop_length,
            tuning=0,
            scale=False,
            sparsity=0,
            pad_mode="constant",
            **options,
            **bins,
        )
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
    expected = cwt_power(
        signal,
        sample_rate=made.sample_rate,
        hop_length=made.hop_length,
        frequencies=frontend.frequencies[rows],
    )
    assert len(rows) > 3
    assert power.shape == expected.shape
    assert np.abs(np.sqrt(power) - np.sqrt(expected)).max() < 1.5e-4
    assert np.abs(level(power, -40) - level(expected, -40)).max() < 0.13


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
