"""What is heard of a recording, beside slower ways to find it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmo.config import PrepSettings
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.hearing import WINDOW, Hearing
from ulmo.preprocessing.reading.audio import pick_channel, resample

RATE = 8000
PREP = PrepSettings(sample_rate=RATE, hop_length=80, tile_size=64, normalization="level")
NOISE = np.random.default_rng(4).normal(0, 0.1, (3, 4 * RATE)).astype(np.float32)
FIRST, SECOND, THIRD = NOISE


def tone(hertz, rate, seconds=1.0, amplitude=0.5):
    times = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def heard(samples, rate=RATE, *, channel=None, cuts=(), prep=PREP):
    """A Hearing after all of the samples, (n,) or (n, channels), in blocks."""
    columns = samples[:, None] if samples.ndim == 1 else samples
    frontend = build_frontend(prep)
    hearing = Hearing(frontend, prep)
    blocks = hearing.pick(np.split(columns, sorted(cuts)), channel)
    changed = hearing.resample(blocks, rate, prep.true_rate)
    assert sum(block.shape[1] for block in hearing.power(stream_power(frontend, changed))) >= 0
    return hearing


class TestPassingOn:
    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, 4 * RATE), max_size=5), st.sampled_from([None, 0, 2]))
    def test_all_is_passed_on_as_without_it(self, cuts, channel):
        hearing = Hearing(build_frontend(PREP), PREP)
        blocks = np.split(NOISE.T, sorted(cuts))
        picked = list(hearing.pick(blocks, channel))
        for one, other in zip(picked, pick_channel(blocks, channel), strict=True):
            np.testing.assert_array_equal(one, other)
        changed = np.concatenate(list(hearing.resample(picked, RATE, 6000)))
        np.testing.assert_array_equal(changed, np.concatenate(list(resample(picked, RATE, 6000))))

    def test_the_level_is_the_root_mean_square_of_a_channel(self):
        for samples in (FIRST, FIRST + np.float32(0.25), FIRST[:0]):
            expected = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0
            assert heard(samples).level == pytest.approx(expected, rel=1e-6)


def antiphase(*parts):
    """Sound that cancels in the given parts (begin, end) of it."""
    other = FIRST.copy()
    for begin, end in parts:
        other[begin:end] *= -1
    return np.stack([FIRST, other], axis=1)


ALL = len(FIRST)
CANCELLED = {
    "antiphase": antiphase((0, ALL)),
    "antiphase, a sixth louder": antiphase((0, ALL)) * np.float32([1, 1.15]),
    "a quarter of it": antiphase((ALL // 4, ALL // 2)),
    "beside a silent third": np.column_stack([antiphase((0, ALL)), 0 * FIRST]),
    "beside a faint third": np.column_stack([antiphase((0, ALL)), 0.1 * THIRD]),
    "with constants": antiphase((0, ALL)) + np.float32([0.3, 0.2]),
    "a tone half a period late": np.stack([tone(500, RATE, 2), -tone(500, RATE, 2)], axis=1),
    "shorter than a window": antiphase((0, ALL))[:100],
}
KEPT = {
    "mono": FIRST,
    "equal": np.stack([FIRST, FIRST], axis=1),
    "uncorrelated": np.stack([FIRST, SECOND], axis=1),
    "three uncorrelated": NOISE.T,
    "a dead channel": np.stack([FIRST, 0 * FIRST], axis=1),
    "a constant channel": np.stack([FIRST, 0 * FIRST - 0.3], axis=1),
    "constants that cancel": np.stack([FIRST + 0.3, FIRST - 0.3], axis=1),
    "one channel late": np.stack([FIRST[:-7], FIRST[7:]], axis=1),
    "a twentieth of it": antiphase((ALL // 2, ALL // 2 + ALL // 20)),
    "partly antiphase": np.stack([FIRST, 0.7 * SECOND - 0.7 * FIRST], axis=1),
    "silence": np.zeros((ALL, 2), np.float32),
    "constants": np.ones((ALL, 2), np.float32) * np.float32([0.1, -0.1]),
    "nothing": np.zeros((0, 2), np.float32),
}


class TestCancelled:
    @pytest.mark.parametrize("name", CANCELLED)
    def test_channels_that_cancel(self, name):
        assert "cancelled" in heard(CANCELLED[name]).flags
        assert "cancelled" not in heard(CANCELLED[name], channel=0).flags

    @pytest.mark.parametrize("name", KEPT)
    def test_channels_that_do_not(self, name):
        assert "cancelled" not in heard(KEPT[name]).flags

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, ALL), max_size=12), st.integers(0, 8))
    def test_wherever_the_blocks_are_cut(self, cuts, windows):
        """Eight windows, some of them lost: it is a tenth of the power from one on."""
        samples = antiphase((0, windows * WINDOW))
        assert ("cancelled" in heard(samples, cuts=cuts).flags) == (windows > 0)


def share_above(samples, rate, hertz):
    """The share of the power above a frequency, by one Fourier transform."""
    powers = np.abs(np.fft.rfft(samples.astype(np.float64) - samples.mean(dtype=np.float64))) ** 2
    return powers[np.fft.rfftfreq(len(samples), 1 / rate) > hertz].sum() / powers.sum()


class TestShareAbove:
    @settings(max_examples=30, deadline=None)
    @given(
        rate=st.sampled_from([4000, 8000, 9000, 44100, 384_000]),
        powers=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
        constant=st.sampled_from([0, 0.5]),
        cuts=st.lists(st.integers(0, 4000), max_size=4),
    )
    def test_it_is_what_a_fourier_transform_shows(self, rate, powers, constant, cuts):
        low = tone(min(rate, RATE) / 5, rate, amplitude=powers[0] / 3)
        high = tone(rate * 0.48, rate, amplitude=powers[1] / 3)
        hearing = heard(low + high + np.float32(constant), rate, cuts=cuts)
        assert hearing.bandwidth_hz == min(rate, RATE) / 2
        expected = share_above(low + high, rate, min(rate, RATE) / 2)
        assert hearing.share_above == pytest.approx(expected, abs=0.01)
        if abs(expected - 1 / 3) > 0.01:
            assert ("above_bandwidth" in hearing.flags) == (expected > 1 / 3)

    def test_white_noise_at_six_times_the_rate(self):
        assert heard(FIRST, 6 * RATE).share_above == pytest.approx(5 / 6, abs=0.02)

    def test_faint_sound_on_a_large_constant(self):
        """The resampler rings where the constant begins and ends, which counts as heard."""
        faint = tone(100_000, 384_000, 4, amplitude=1e-3) + np.float32(0.05)
        assert heard(faint, 384_000).share_above > 0.9

    def test_silence_and_nothing_have_none(self):
        for samples in (0 * FIRST, 0 * FIRST + 0.5, FIRST[:0]):
            assert heard(samples, 6 * RATE).share_above is None

    @pytest.mark.parametrize(("hertz", "expected"), [(500, 0), (2500, 1)])
    def test_a_front_end_that_ends_early(self, hertz, expected):
        prep = PREP.model_copy(update={"fmax": 1500.0})
        hearing = heard(tone(hertz, 44100), 44100, prep=prep)
        assert hearing.bandwidth_hz == pytest.approx(1500, rel=0.1)
        assert hearing.share_above == pytest.approx(expected, abs=0.01)

    def test_runs_are_weighed_by_their_energy(self):
        """Three runs of a tone that is heard and one of a tone above: a quarter."""
        hearing = Hearing(build_frontend(PREP), PREP)
        for hertz in (1000, 1000, 10_000, 1000):
            list(hearing.resample([tone(hertz, 44100)], 44100, RATE))
        assert hearing.share_above == pytest.approx(0.25, abs=0.01)

    def test_expanded_time_raises_the_bandwidth(self):
        expanded = PREP.with_sound(10, None)
        bat = tone(35_000, 384_000)
        assert heard(bat, 384_000).flags == ("above_bandwidth",)
        hearing = heard(bat, 384_000, prep=expanded)
        assert (hearing.bandwidth_hz, hearing.flags) == (40_000, ())


class TestBelowFloor:
    @pytest.mark.parametrize(
        ("prep", "decibels", "expected"),
        [
            (PREP, -75, True),
            (PREP, -65, False),
            (PREP.model_copy(update={"level_least_db": -40.0}), -45, True),
            (PREP.model_copy(update={"normalization": "corpus"}), -105, True),
            (PREP.model_copy(update={"normalization": "corpus"}), -95, False),
            (PREP.model_copy(update={"normalization": "pcen"}), -105, True),
            (PREP.model_copy(update={"normalization": "tile", "floor_db": -60.0}), -65, True),
        ],
    )
    def test_sound_under_the_floor(self, prep, decibels, expected):
        samples = tone(1000, RATE, amplitude=10 ** (decibels / 20))
        assert heard(samples, prep=prep).flags == (("below_floor",) if expected else ())

    def test_one_loud_click_is_enough(self):
        samples = 1e-6 * FIRST
        samples[12_345] = 0.5
        assert heard(samples).flags == ()

    def test_what_is_not_heard_counts_for_nothing(self):
        assert heard(np.stack([FIRST, -FIRST], axis=1)).flags == ("cancelled",)  # explains it
        assert heard(np.stack([FIRST, -FIRST], axis=1), channel=1).flags == ()
        assert heard(np.stack([FIRST, 0 * FIRST], axis=1), channel=1).flags == ("below_floor",)
        assert heard(FIRST[:0]).flags == ()

    def test_silence_is_flagged_once(self):
        facts = heard(0 * FIRST).facts({"status": "ok", "flags": ("silent",)})
        assert facts == {
            "status": "ok",
            "flags": ("silent",),
            "bandwidth_hz": RATE / 2,
            "share_above": None,
        }
