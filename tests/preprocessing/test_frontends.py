"""Every front end keeps the contract of FrontEnd, and refuses what it cannot do."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from tests.preprocessing.signals import CASES, impulses, level, noise, power_of, settings_of, sine
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, check_used, count_frames
from ulmo.preprocessing.frontends.base import _Segments


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
            octaves = octave_of_rows(made)
            rows = octaves == octaves[index] if made.frontend == "dwt" else [index]
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

    def test_silence_has_no_power_and_one_sample_is_an_impulse_in_frame_0(self, case):
        made, frontend = case
        assert (power_of(frontend, np.zeros(3 * made.hop_length)) == 0).all()
        whole = power_of(frontend, impulses(5 * made.hop_length, 0))
        one = power_of(frontend, [1])
        assert one.shape == (made.tile_size, 1)
        assert (one > 0).all()
        np.testing.assert_array_equal(one, whole[:, :1])

    def test_a_tone_is_in_the_bin_whose_centre_is_nearest(self, case):
        """In the time-mean of its power, at a bin's centre and at 0.45 of the way to the next.

        A band of `mel` whose flanks are narrower than the window's main lobe (two of its bins to
        either side) may lose to a neighbour that is a little wider or holds one FFT bin more. The
        lowest and highest bins of `stft` also hear the tone's mirror image: four at either end
        are left out. The bins of `dwt` are its octaves. Near the edge of a wavelet's band, where
        its samples alias, the power swings once in 20 coefficients or less: hence the mean over
        200 of the longest or more.
        """
        made, frontend = case
        wavelet = made.frontend in ("dwt", "wpt")
        reach = -(-(8000 if wavelet else frontend.left + frontend.right) // made.hop_length)
        frames = -(-200 * 256 // made.hop_length) if wavelet else 64
        bins = octave_of_rows(made) if made.frontend == "dwt" else np.arange(made.tile_size)
        lobe = 2 * made.sample_rate / (made.win_length or 2 * made.tile_size)
        for index, tone, width in tones_by_bins(made, frontend.frequencies):
            signal = sine((2 * reach + frames) * made.hop_length, tone, made.sample_rate)
            heard = power_of(frontend, signal)[:, reach:-reach].mean(axis=1, dtype=np.float64)
            off = abs(bins[heard.argmax()] - index)
            assert off <= (1 if made.frontend == "mel" and width <= lobe else 0)


@pytest.mark.parametrize("name", [name for name in FRONTENDS if FRONTENDS[name].frame_by_frame])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_what_follows_changes_no_bit_of_a_frame_that_does_not_reach_it(name, options):
    """Nothing may follow (zeros, which need not be computed), or a sample at the very end."""
    made = settings_of(name, **options)
    frontend = build_frontend(made)
    reach = frontend.left + frontend.right
    length = reach + (frontend.block_frames - 1) * made.hop_length
    untouched = (length - 1 - reach) // made.hop_length + 1
    for samples in (1, made.hop_length, made.hop_length + 1, reach, length // 2, length - 1):
        ended = np.zeros(length, np.float32)
        ended[:samples] = noise(samples)
        followed = ended.copy()
        followed[-1] = 1
        one, other = frontend.power(ended), frontend.power(followed)
        np.testing.assert_array_equal(one[:, :untouched], other[:, :untouched])


def tones_by_bins(made, frequencies):
    """Bins, tones in hertz near their centres, and hertz to the centre of the next bin."""
    if made.frontend == "dwt":
        frequencies = made.sample_rate / 2 * 2.0 ** (np.arange(8) - 7.5)
        for index, frequency in enumerate(frequencies):
            for octaves in (-0.45, 0, 0.45):
                yield index, frequency * 2**octaves, np.nan
        return
    for index in np.linspace(4, made.tile_size - 5, 7).astype(int):
        for neighbour in (index - 1, index, index + 1):
            distance = frequencies[neighbour] - frequencies[index]
            yield index, frequencies[index] + 0.45 * distance, np.diff(frequencies)[index]


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
        found = power_of(frontend, *np.split(whole, sorted(cuts)))
        np.testing.assert_array_equal(found, power_of(frontend, whole))

    @pytest.mark.parametrize("name", FRONTENDS)
    def test_single_samples(self, name):
        frontend = build_frontend(settings_of(name, **CASES["odd"]))
        whole = noise(3000)
        found = power_of(frontend, *whole[:, None])
        np.testing.assert_array_equal(found, power_of(frontend, whole))

    @pytest.mark.parametrize("name", FRONTENDS)
    def test_what_follows_is_without_effect_beyond_the_filters_reach(self, name):
        frontend = build_frontend(settings_of(name, **CASES["8k"]))
        hop = frontend.hop_length
        whole = noise(60 * hop)
        sound = 40 - -(-frontend.right // hop)
        part, full = (power_of(frontend, s)[:, :sound] for s in (whole[: 40 * hop], whole))
        np.testing.assert_allclose(part, full, rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("name", FRONTENDS)
    def test_the_edge_of_a_block_leaves_no_trace(self, name):
        """Moved by as many frames as a block has, or fewer, the power is the same to float32.

        An error of 1e-6 of full scale in amplitude is -120 dB. All steps of the wavelets' bands
        divide the hop here, so that what moves by frames moves by coefficients.
        """
        frontend = build_frontend(settings_of(name, **CASES["8k"]))
        signal = noise(20 * frontend.hop_length)
        expected = np.sqrt(power_of(frontend, np.pad(signal, (40 * frontend.hop_length, 0))))
        for frames in range(frontend.block_frames - 3, 2 * frontend.block_frames, 29):
            moved = power_of(frontend, np.pad(signal, ((40 + frames) * frontend.hop_length, 0)))
            np.testing.assert_allclose(np.sqrt(moved[:, frames:]), expected, rtol=0, atol=1e-6)

    @settings(max_examples=60)
    @given(data=st.data())
    def test_segments_are_slices(self, data):
        length = data.draw(st.integers(1, 40))
        step = data.draw(st.integers(1, length))
        lead = data.draw(st.integers(0, length))
        whole = np.arange(data.draw(st.integers(0, 200)), dtype=np.float32)
        cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
        cutter = _Segments(length, step, lead=lead)
        found = [
            segment.tolist()
            for block in np.split(whole, sorted(cuts))
            for segment in cutter.feed(block)
        ]
        led = [0.0] * lead + whole.tolist()
        starts = range(0, len(led) - length + 1, step)
        assert found == [led[start : start + length] for start in starts]
        assert cutter.received == len(whole)

    @pytest.mark.parametrize("name", FRONTENDS)
    @pytest.mark.parametrize("settings_name", ["default", "48k", "odd", "wide"])
    def test_threads_change_no_bit(self, name, settings_name):
        frontend = build_frontend(settings_of(name, **CASES[settings_name]))
        whole = noise(2 * frontend.block_frames * frontend.hop_length)
        powers = []
        for threads in (1, 2):
            with threadpool_limits(threads):
                powers.append(power_of(frontend, whole))
        np.testing.assert_array_equal(*powers)


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
    ("dwt", {"tile_size": 8, "wavelet_level": 8}, {"wavelet_level": 7}),
    ("dwt", {"wavelet": "morl"}, {"wavelet": PrepSettings().wavelet}),
    ("dwt", {"wavelet_level": 10, "hop_length": 16385}, {"hop_length": 16384}),
    ("wpt", {"tile_size": 65, "wavelet_level": 6}, {"wavelet_level": 7}),
    ("wpt", {"wavelet": "sym99"}, {"wavelet": PrepSettings().wavelet}),
    ("wpt", {"hop_length": 99_999}, {"hop_length": 99_840}),
    ("wpt", {"hop_length": 999_999}, {"hop_length": 999_936}),
    ("wpt", {"wavelet": "dmey"}, {"wavelet": "sym20"}),
    ("dwt", {"wavelet": "bior2.2"}, {"wavelet": "sym20"}),
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


class TestSettingsOfOthers:
    @pytest.mark.parametrize("name", FRONTENDS)
    def test_every_front_end_heeds_just_what_the_table_says(self, name):
        """A setting changes what comes out, or is refused: nothing is ignored in silence."""
        plain = settings_of(name, tile_size=32, hop_length=40)
        others = {
            **{"n_fft": 512, "win_length": 50, "fmin": 100.0, "fmax": 3000.0},
            **{"bins_per_octave": 24, "wavelet": "db4", "wavelet_level": 6},
        }
        sound = noise(4000)
        for setting, value in others.items():
            made = PrepSettings.read(plain.model_dump() | {setting: value})
            if setting in FRONTENDS[name].settings:
                check_used(made)
                built = [build_frontend(one) for one in (plain, made)]
                powers = [power_of(one, sound) for one in built]
                assert powers[0].shape != powers[1].shape or (powers[0] != powers[1]).any()
            else:
                with pytest.raises(UserError, match=f"^{setting} is not a setting of {name} "):
                    check_used(made)

    @pytest.mark.parametrize(
        ("values", "mode", "other", "match"),
        [
            ({"pcen_gain": 0.5}, "pcen", "corpus", "^only pcen uses pcen_gain"),
            ({"level_range_db": 60}, "level", "pcen", "^only level uses level_range_db"),
            ({"floor_db": -90}, "pcen", "level", "^level does not use floor_db: .*level_range_db"),
        ],
    )
    def test_a_modes_settings_need_that_mode(self, values, mode, other, match):
        check_used(PrepSettings(**values, normalization=mode))
        with pytest.raises(UserError, match=match):
            check_used(PrepSettings(**values, normalization=other))
