import json
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import AugmentSettings, PrepSettings, UserError
from ulmo.preprocessing.augment import (
    NOISE_RANGE_DB,
    View,
    check_views,
    degrade,
    draw_view,
    generator,
    view_tiles,
)
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.reading.audio import resample
from ulmo.preprocessing.spectrogram import normalized_tiles

SIZE, RATE, HOP = 32, 4000, 16
WINDOW = 2 * SIZE
SETTINGS = PrepSettings(
    frontend="stft", tile_size=SIZE, sample_rate=RATE, hop_length=HOP, normalization="corpus"
)
IN_DB = Normalization(offset=0, scale=1)
DEFAULT = AugmentSettings(views=2)
STILL = AugmentSettings(
    views=2,
    rate_spread=0,
    hop_factors=(1,),
    window_factors=(1,),
    gain_spread_db=0,
    noise_db=-200,
    time_mask=0,
    frequency_mask=0,
)
"""Nothing is varied."""
PLAIN = View(RATE, HOP, WINDOW, gain_db=0.0, noise_db=-200.0)
NOISE = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)


def settings_of(frontend):
    return SETTINGS.model_copy(update={"frontend": frontend})


def tone(frequency, samples=6000):
    return (0.5 * np.sin(2 * np.pi * frequency / RATE * np.arange(samples))).astype(np.float32)


def clicks(*places, samples=6000):
    signal = np.zeros(samples, np.float32)
    signal[list(places)] = 0.9
    return signal


def views_of(samples, view=PLAIN, *, augment=STILL, starts=(0,), constants=IN_DB, seed=0):
    """Views of the tiles that begin at some samples."""

    level = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
    resampled = resample([samples], RATE, view.sample_rate)
    options = {"level": float(level), "constants": constants, "rng": np.random.default_rng(seed)}
    return list(view_tiles(resampled, view, SETTINGS, augment, starts, **options))


def values_of(samples, view=PLAIN, **options):
    """Cells (M, M) of the first view."""
    return views_of(samples, view, **options)[0].tile.values[..., 0]


class TestDraw:
    @pytest.mark.parametrize("frontend", FRONTENDS)
    def test_all_that_may_be_drawn_is_and_nothing_else(self, frontend):
        """Each spread is reached to nine tenths by 300 even draws (1e-13 that it is not)."""
        rng = np.random.default_rng(0)
        drawn = [draw_view(settings_of(frontend), DEFAULT, rng) for _ in range(300)]
        assert {view.hop_length for view in drawn} == {13, 16, 20}
        windowed = "win_length" in FRONTENDS[frontend].settings
        assert {view.win_length for view in drawn} == ({32, 64} if windowed else {None})
        for values, low, high in (
            ([view.sample_rate for view in drawn], 0.9 * RATE, 1.1 * RATE),
            ([view.gain_db for view in drawn], -6, 6),
            ([view.noise_db for view in drawn], -40 - NOISE_RANGE_DB, -40),
        ):
            tenth = (high - low) / 10
            assert low <= min(values) < low + tenth
            assert high - tenth < max(values) <= high

    def test_without_spreads_a_view_is_plain(self):
        view = draw_view(SETTINGS, STILL, np.random.default_rng(0))
        assert view._replace(noise_db=-200.0) == PLAIN
        assert -240 <= view.noise_db <= -200

    @pytest.mark.parametrize(
        ("values", "window"),
        [({}, 64), ({"n_fft": 128}, 128), ({"n_fft": 128, "win_length": 100}, 100)],
    )
    @pytest.mark.parametrize("frontend", ["stft", "mel"])
    def test_window_factors_are_of_the_window_that_the_settings_give(
        self, frontend, values, window
    ):
        settings = settings_of(frontend).model_copy(update=values)
        augment = STILL.model_copy(update={"window_factors": (0.5,)})
        view = draw_view(settings, augment, np.random.default_rng(0))
        assert view.win_length == window // 2

    def test_no_length_is_under_the_least(self):
        settings = SETTINGS.model_copy(update={"hop_length": 1, "win_length": 2})
        augment = STILL.model_copy(update={"hop_factors": (0.1,), "window_factors": (0.1,)})
        view = draw_view(settings, augment, np.random.default_rng(0))
        assert (view.hop_length, view.win_length) == (1, 2)


class TestSeed:
    def numbers(self, *what, seed=0):
        return tuple(generator(DEFAULT.model_copy(update={"view_seed": seed}), *what).random(4))

    def test_numbers_are_those_of_the_seed_and_of_what_they_are_for(self):
        every = [
            self.numbers(path, channel, view, seed=seed)
            for path in ("a.wav", "b/a.wav", "ä.wav")
            for channel in (0, 1)
            for view in (1, 2)
            for seed in (0, 1)
        ]
        assert len(set(every)) == 3 * 2 * 2 * 2
        assert self.numbers("b/a.wav", 1, 2, seed=1) in every

    def test_golden_numbers(self):
        """Views that are made again, elsewhere, must be the same for ever."""
        assert generator(DEFAULT, "a.wav", 0, 1).integers(0, 1000, 4).tolist() == [75, 94, 859, 986]

    @pytest.mark.parametrize("constants", [IN_DB, None])
    def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(self, constants):
        def made(seed):
            rng = np.random.default_rng(seed)
            view = draw_view(SETTINGS, DEFAULT, rng)
            options = {"augment": DEFAULT, "starts": (0, 512), "constants": constants}
            tiles = views_of(NOISE, view, **options, seed=seed)
            return [tile.describe(view).encode() + tile.tile.values.tobytes() for tile in tiles]

        every = [made(seed) for seed in (3, 3, 4)]
        assert every[0] == every[1]
        assert not set(every[0]) & set(every[2])


class TestParameters:
    @pytest.mark.parametrize("constants", [IN_DB, None])
    def test_with_nothing_varied_a_view_is_the_tile(self, constants):
        """1e-3 dB: the noise of -200 dB lies under the last bit of nearly every sample."""
        settings = SETTINGS if constants else SETTINGS.model_copy(update={"normalization": "tile"})
        plain = list(normalized_tiles([NOISE], build_frontend(SETTINGS), settings, constants))
        seen = views_of(
            NOISE, starts=[tile.start_frame * HOP for tile in plain], constants=constants
        )
        for one, other in zip(plain, seen, strict=True):
            assert other.tile.start_frame == one.start_frame
            assert other.tile.valid_frames == one.valid_frames
            np.testing.assert_allclose(other.tile.values, one.values, atol=1e-3)

    @pytest.mark.parametrize("sample_rate", [3600, 4000, 4400])
    def test_another_rate_shifts_pitch_and_tempo(self, sample_rate):
        """A tone at 1000 Hz * rate / RATE appears at 1000 Hz, the 16th bin of 62.5 Hz."""
        view = PLAIN._replace(sample_rate=sample_rate)
        found = values_of(tone(1000 * sample_rate / RATE), view)
        assert (found[:, 4:].argmax(axis=0) == 15).all()
        found = values_of(clicks(90, 90 + 320), view).mean(axis=0)
        first, last = found[:14].argmax(), 14 + found[14:].argmax()
        assert abs(last - first - 320 / HOP * sample_rate / RATE) <= 1
        assert last - first == {3600: 18, 4000: 20, 4400: 22}[sample_rate]

    @pytest.mark.parametrize("hop_length", [10, 16, 20])
    def test_another_hop_moves_frames_apart(self, hop_length):
        found = values_of(clicks(80, 240), PLAIN._replace(hop_length=hop_length)).mean(axis=0)
        middle = 160 // hop_length
        first, last = found[:middle].argmax(), middle + found[middle:].argmax()
        assert (first, last) == (80 // hop_length, 240 // hop_length)

    def test_a_shorter_window_is_finer_in_time_and_coarser_in_frequency(self):
        """The main lobe of Hann is four bins of its window wide, the window's length four hops."""
        spans = {}
        for window in (32, 64):
            view = PLAIN._replace(win_length=window)
            lobe = values_of(tone(1000), view)[:, 16]
            click = values_of(clicks(256), view).max(axis=0)
            spans[window] = ((lobe > lobe.max() - 30).sum(), (click > click.max() - 30).sum())
        assert spans == {32: (7, 1), 64: (3, 3)}

    @pytest.mark.parametrize("gain_db", [-6.0, 0.5, 6.0])
    def test_gain_shifts_levels(self, gain_db):
        """1e-4 dB: float32 at -100 dB holds 8e-6."""
        found = values_of(NOISE, PLAIN._replace(gain_db=gain_db))
        np.testing.assert_allclose(found - values_of(NOISE), gain_db, atol=1e-4)

    @pytest.mark.parametrize("noise_db", [-40.0, -20.0, 0.0])
    @pytest.mark.parametrize("gain_db", [0.0, 6.0])
    def test_noise_is_relative_to_the_level_and_shares_the_gain(self, noise_db, gain_db):
        """2 %: the standard deviation of 40 000 samples is known to 0.35 %."""
        view = PLAIN._replace(noise_db=noise_db, gain_db=gain_db)
        sound = tone(700, 40_000)
        (found,) = degrade([sound], view, 0.25, np.random.default_rng(0))
        gain = 10 ** (gain_db / 20)
        added = found / gain - sound
        assert added.std() == pytest.approx(0.25 * 10 ** (noise_db / 20), rel=0.02)
        spectrum = np.abs(np.fft.rfft(added.astype(np.float64))) ** 2
        octaves = [part.mean() for part in np.split(spectrum[1:], 8)]
        assert max(octaves) < 1.2 * min(octaves)  # white: 2500 bins each, to 2 %

    def test_silence_is_given_no_noise(self):
        found = views_of(np.zeros(3000, np.float32), PLAIN._replace(noise_db=0.0))[0]
        assert (found.tile.values == SETTINGS.floor_db).all()

    @given(cuts=st.lists(st.integers(0, 500), max_size=8))
    def test_noise_does_not_depend_on_how_the_samples_come(self, cuts):
        view = PLAIN._replace(noise_db=-10.0, gain_db=3.0)
        whole, parts = (
            np.concatenate(list(degrade(blocks, view, 0.1, np.random.default_rng(0))))
            for blocks in ([NOISE[:500]], np.split(NOISE[:500], sorted(cuts)))
        )
        np.testing.assert_array_equal(parts, whole)
        assert whole.dtype == np.float32


Masked = namedtuple("Masked", "masked whole time_mask frequency_mask valid_frames")
"""A view with masks, and the same without."""


class TestMasks:
    @pytest.fixture(scope="class", params=[0, 5700], ids=["full", "last"])
    @staticmethod
    def every(request):
        """60 views of a tile; the last one of a recording has few valid frames."""
        augment = STILL.model_copy(update={"time_mask": 0.5, "frequency_mask": 0.25})
        made = []
        for seed in range(60):
            options = {"starts": (request.param,), "constants": None, "seed": seed}
            seen = views_of(NOISE, augment=augment, **options)[0]
            whole = values_of(NOISE, **options)
            told = json.loads(seen.describe(PLAIN))
            masks = tuple(told["time_mask"]), tuple(told["frequency_mask"])
            made.append(Masked(seen.tile.values[..., 0], whole, *masks, seen.tile.valid_frames))
        return made

    def test_what_is_told_is_0_and_the_rest_is_not_touched(self, every):
        assert {case.valid_frames for case in every} in ({32}, {19})
        for case in every:
            hidden = np.zeros((SIZE, SIZE), bool)
            hidden[:, slice(*case.time_mask)] = True
            hidden[slice(*case.frequency_mask), : case.valid_frames] = True
            assert (case.masked[hidden] == 0).all()
            np.testing.assert_array_equal(case.masked[~hidden], case.whole[~hidden])

    def test_widths_are_within_their_shares_and_reach_them(self, every):
        for place, length, share in ((2, every[0].valid_frames, 0.5), (3, SIZE, 0.25)):
            masks = [case[place] for case in every]
            assert all(0 <= first <= last <= length for first, last in masks)
            widths = [last - first for first, last in masks]
            assert (min(widths), max(widths)) == (0, int(share * length))

    def test_they_lie_anywhere(self, every):
        for place, length in ((2, every[0].valid_frames), (3, SIZE)):
            covered = {cell for case in every for cell in range(*case[place])}
            assert covered == set(range(length))

    def test_a_description_holds_all_that_was_drawn(self):
        view = View(4100, 13, None, gain_db=-1.5, noise_db=-44.25)
        seen = views_of(NOISE)[0]
        assert seen.time_mask[0] == seen.time_mask[1]
        assert seen.frequency_mask[0] == seen.frequency_mask[1]  # of share 0 there are no masks
        told = json.loads(seen.describe(view))
        assert list(told) == [*View._fields, "time_mask", "frequency_mask"]
        assert told.items() >= view._asdict().items()


class TestStarts:
    @pytest.mark.parametrize("seed", range(12))
    def test_a_view_begins_within_a_hop_before_its_tile(self, seed):
        """And a click 160 samples behind the tile's start is shown there, to a frame."""
        view = draw_view(SETTINGS, DEFAULT, np.random.default_rng(seed))
        starts = range(0, len(NOISE), SIZE * HOP)
        seen = views_of(NOISE, view, starts=starts)
        assert len(seen) == len(starts)
        for start, (tile, *_) in zip(starts, seen, strict=True):
            late = tile.start_frame * view.hop_length / view.sample_rate - start / RATE
            assert -view.hop_length / view.sample_rate < late <= 0

        augment = STILL.model_copy(update={"rate_spread": 0.1, "hop_factors": (0.8, 1.0, 1.25)})
        view = draw_view(SETTINGS, augment, np.random.default_rng(seed))
        found = views_of(clicks(1536 + 160), view, starts=(512, 1536))[1].tile.values[..., 0]
        expected = 160 * view.sample_rate / RATE / view.hop_length
        assert abs(found.mean(axis=0).argmax() - expected) <= 1

    def test_what_would_begin_behind_the_end_begins_at_the_last_frame(self):
        coarse = PLAIN._replace(hop_length=20, sample_rate=3600)
        for start in (528, 600):
            (tile, *_) = views_of(NOISE[:529], coarse, starts=(start,))[0]
            assert (tile.start_frame, tile.valid_frames) == (23, 1)

    def test_of_no_samples_there_are_no_views(self):
        assert views_of(NOISE[:0], starts=(0, 512)) == []


def positive_pair(samples, settings, augment, rng, *, constants=None):
    """Two views (M, M, 1) of the beginning of samples, as training draws them."""
    check_views(settings, augment)
    level = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    options = {"level": level, "constants": constants, "rng": rng}
    views = (draw_view(settings, augment, rng) for _ in range(2))
    tiles = (
        view_tiles(
            resample([samples], settings.sample_rate, view.sample_rate),
            *(view, settings, augment, [0]),
            **options,
        )
        for view in views
    )
    return tuple(next(each).tile.values for each in tiles)


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("mode", ["tile", "pcen", "level"])
def test_every_front_end_makes_finite_views(frontend, mode):
    settings = settings_of(frontend).model_copy(update={"normalization": mode})
    check_views(settings, DEFAULT)
    constants = None if mode == "tile" else Normalization(offset=0.5, scale=0.5)
    rng = np.random.default_rng(0)
    for samples in (NOISE, np.zeros(3000, np.float32), NOISE[:50]):
        pair = positive_pair(samples, settings, DEFAULT, rng, constants=constants)
        for values in pair:
            assert values.shape == (SIZE, SIZE, 1)
            assert values.dtype == np.float32
            assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("frontend", "factors", "text"),
    [
        ("stft", {"window_factors": (1.0, 2.0)}, "hop_factors 1 and window_factors 2: win_length"),
        ("stft", {"hop_factors": (1.0, 4.5)}, "hop_factors 4.5 and window_factors 1: hop_length"),
        ("mel", {"hop_factors": (4.5,)}, "hop_factors 4.5 and window_factors 1: hop_length 72"),
        ("stft", {"hop_factors": (2.5,), "window_factors": (1.0, 0.5)}, "window_factors 0.5: hop"),
    ],
)
def test_views_that_cannot_be_met_are_refused_in_one_line(frontend, factors, text):
    augment = STILL.model_copy(update=factors)
    with pytest.raises(UserError) as caught:
        check_views(settings_of(frontend), augment)
    assert str(caught.value).startswith("a view with hop_factors ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "frontend", [name for name, kind in FRONTENDS.items() if "win_length" not in kind.settings]
)
def test_window_factors_bind_no_front_end_without_a_window(frontend):
    check_views(settings_of(frontend), STILL.model_copy(update={"window_factors": (10.0,)}))
