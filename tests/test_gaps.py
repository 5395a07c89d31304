"""Recordings in which time was left out: tokens at their true time, between them `<gap>`."""

import io
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings

import ulmo.encoding
from tests.gaps import BLOCK, NOON, set_timing, timelines, write_triggered
from tests.small_tokenizers import HOP, RATE, WINDOW, sound
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Moments
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.spectrogram import find_constants, levels
from ulmo.preprocessing.stretches import Stretch, plan_stretches
from ulmo.preprocessing.times.clock import WHOLE, Span
from ulmo.tokens import nearest_column

STRIDE = 4
COLUMN = Fraction(HOP * STRIDE, RATE)
TOTAL = 7000
pytestmark = pytest.mark.filterwarnings("ignore:the sound is fainter")  # stretches of few samples


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(ulmo.encoding, "WINDOW_COLUMNS", WINDOW)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "x.wav"
    soundfile.write(path, sound(TOTAL), RATE, subtype="FLOAT")
    return path


def samples_of(stretch):
    """The samples of a planned stretch of the recording."""
    ends = [TOTAL if s.frames is None else s.frame + s.frames for s in stretch.spans]
    parts = [sound(TOTAL)[s.frame : end] for s, end in zip(stretch.spans, ends, strict=True)]
    return np.concatenate(parts)


def expected_of(tokenizer, spans):
    """Each stretch by itself, at the column nearest to its true time."""
    gap = tokenizer.vocabulary.special("<gap>")
    made = [(nearest_column(s.start, COLUMN), samples_of(s)) for s in spans]
    alone = [(column, tokenizer.encode(s, sample_rate=RATE)) for column, s in made]
    alone = [(column, tokens) for column, tokens in alone if len(tokens.ids)]
    length = max((column + len(tokens.ids) for column, tokens in alone), default=0)
    ids = np.full((length, 4), gap, np.int32)
    distances = np.zeros((length, 4), np.float32)
    for column, tokens in alone:
        assert (ids[column:] == gap).all()
        ids[column : column + len(tokens.ids)] = tokens.ids
        distances[column : column + len(tokens.ids)] = tokens.distances
    frames = [column * STRIDE + tokens.frames for column, tokens in alone]
    return ids, distances, max(frames, default=0)


@pytest.mark.parametrize("mode", ["corpus", "tile", "level", "pcen"])
def test_a_stretch_has_the_tokens_of_its_samples_at_their_true_time(mode, tokenizer_of, recording):
    tokenizer = tokenizer_of(mode=mode)

    @settings(max_examples=20)
    @given(spans=timelines(RATE))
    def check(spans):
        with pytest.MonkeyPatch.context() as patch:
            set_timing(patch, spans)
            found = tokenizer.encode(recording)
        ids, distances, frames = expected_of(tokenizer, plan_stretches(spans, RATE, COLUMN))
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_array_equal(found.distances, distances)
        assert (found.frames, found.start, found.start_utc) == (frames, 0, NOON.utc)
        assert found.seconds.tolist() == [float(COLUMN * i) for i in range(len(ids))]

    check()


def test_a_recording_is_normalised_by_all_its_stretches(tokenizer_of):
    prep = tokenizer_of(mode="recording").manifest.prep
    frontend = build_frontend(prep)
    parts = [sound(1500), sound(900)[::-1] / 3]
    stretches = [Stretch(Fraction(9 * i), [part]) for i, part in enumerate(parts)]
    found = find_constants(lambda: stretches, frontend, prep, None)
    both = [np.concatenate(list(levels([part], frontend, prep)), axis=1) for part in parts]
    assert found == Moments.of(np.concatenate(both, axis=1)).normalization()


@pytest.mark.parametrize("mode", ["corpus", "recording"])
def test_threads_and_batches_change_no_bit(mode, tokenizer_of, recording, monkeypatch):
    spans = (Span(0, 3000, Fraction(0)), Span(3100, 20, Fraction(4)), Span(3120, None, Fraction(5)))
    set_timing(monkeypatch, spans)
    expected = tokenizer_of(mode=mode).encode(recording)
    found = tokenizer_of(mode=mode, threads=2).encode(recording, batch_size=3)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


class TestTriggered:
    def test_clicks_are_where_they_were(self, tokenizer_of, tmp_path):
        """A recording of an AudioMoth: the distances say where sound is, as silence is one code."""
        path = tmp_path / "20230501_120000T.WAV"
        rng = np.random.default_rng(0)
        parts, clicks = [], []
        for blocks in (3, 40, 1, 700):
            quiet = np.zeros(int(rng.integers(900, 3000)), np.float32)
            quiet[at := int(rng.integers(300, 600))] = 0.9
            clicks.append((len(parts), at))
            parts += [quiet, blocks]
        placed = write_triggered(path, *parts, rate=RATE)
        tokenizer = tokenizer_of()
        gap = tokenizer.vocabulary.special("<gap>")
        tokens = tokenizer.encode(path)
        silence = tokenizer.encode(np.zeros(4000, np.float32), sample_rate=RATE)
        is_sound = (tokens.distances != silence.distances[20]).any(axis=1)
        is_sound &= (tokens.ids != gap).any(axis=1)
        for (_, at), (_, place) in zip(clicks, placed, strict=True):
            near = np.abs(tokens.seconds - (place + at) / RATE) <= 2 * float(COLUMN)
            assert is_sound[near].any()
        assert len(tokens.ids) * COLUMN >= Fraction(placed[-1][1] + len(placed[-1][0]), RATE)

    def test_from_an_open_file_too(self, tokenizer_of, tmp_path):
        spans = (Span(0, 900, Fraction(0)), Span(900, None, Fraction(3)))
        path = tmp_path / "x.wav"
        soundfile.write(path, sound(2000), RATE)
        with pytest.MonkeyPatch.context() as patch:
            set_timing(patch, spans)
            found = tokenizer_of().encode(io.BytesIO(path.read_bytes()))
            np.testing.assert_array_equal(found.ids, tokenizer_of().encode(path).ids)
        assert len(found.ids) == 75 + 14

    def test_that_nothing_triggered_has_no_tokens(self, tokenizer_of, tmp_path):
        path = tmp_path / "20230501_120000T.WAV"
        soundfile.write(path, np.zeros(0), RATE, subtype="PCM_16")
        assert tokenizer_of().encode(path).ids.shape == (0, 4)
        write_triggered(path, 7, rate=RATE)
        assert tokenizer_of().encode(path).ids.shape == (0, 4)
        soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE, subtype="PCM_16")
        with pytest.raises(RefusedError, match="no_samples"):
            tokenizer_of().encode(tmp_path / "x.wav")


def test_gaps_that_are_long_for_so_little_sound_are_refused(tokenizer_of, recording, monkeypatch):
    """7,000 frames may have gaps of an hour in all."""
    spans = (Span(0, 800, Fraction(0)), Span(800, 800, Fraction(1800)))
    set_timing(monkeypatch, (*spans, Span(1600, None, 3600 + Fraction(1600, RATE))))
    assert len(tokenizer_of().encode(recording).ids) == ceil((3600 + Fraction(7000, RATE)) / COLUMN)
    set_timing(monkeypatch, (*spans, Span(1600, None, Fraction(3601))))
    with pytest.raises(RefusedError) as caught:
        tokenizer_of().encode(recording)
    assert caught.value.reason == "long_gaps"


class TestDecoding:
    @pytest.fixture
    def tokens(self, tokenizer_of, recording, monkeypatch):
        spans = (Span(0, 3010, Fraction(0)), Span(3010, None, Fraction(5)))
        set_timing(monkeypatch, spans)
        return tokenizer_of().encode(recording)

    def test_frames_of_a_gap_are_zeros(self, tokens, tokenizer_of):
        """1.505 s of sound are 38 columns; 5 s are 125."""
        tokenizer = tokenizer_of()
        plane = np.concatenate(list(tokenizer.decode(tokens)[..., 0]), axis=1)
        assert not plane[:, 38 * STRIDE : 125 * STRIDE].any()
        for first, end in ((0, 38), (125, len(tokens.ids))):
            frames = min(end * STRIDE, tokens.frames) - first * STRIDE
            alone = replace(tokens, ids=tokens.ids[first:end], frames=frames)
            expected = np.concatenate(list(tokenizer.decode(alone)[..., 0]), axis=1)
            found = plane[:, first * STRIDE : first * STRIDE + frames]
            np.testing.assert_array_equal(found, expected[:, :frames])

    def test_sound_of_a_gap_is_silence(self, tokens, tokenizer_of):
        found = tokenizer_of().resynthesize(tokens, iterations=1)
        assert len(found) == tokens.frames * HOP
        assert not found[38 * STRIDE * HOP : 125 * STRIDE * HOP].any()
        assert found[: 38 * STRIDE * HOP].any()
        assert found[125 * STRIDE * HOP :].any()

    def test_many_gaps(self, tokenizer_of, recording):
        @settings(max_examples=10)
        @given(spans=timelines(RATE))
        def check(spans):
            with pytest.MonkeyPatch.context() as patch:
                set_timing(patch, spans)
                tokens = tokenizer_of().encode(recording)
            tiles = tokenizer_of().decode(tokens)
            assert len(tiles) == -(-tokens.frames // 32)
            assert np.isfinite(tiles).all()

        check()


def test_a_marker_is_no_sound(tokenizer_of, tmp_path):
    """A block of a marker is as long as 3.2 columns, and none of them is there."""
    path = tmp_path / "20230501_120000T.WAV"
    first, second = sound(1600), sound(3200)[1600:]
    write_triggered(path, first, 1, second, rate=RATE)
    tokens = tokenizer_of().encode(path)
    assert len(tokens.ids) == round((1600 + BLOCK) / (HOP * STRIDE)) + 20
    is_gap = (tokens.ids == tokenizer_of().vocabulary.special("<gap>")).all(axis=1)
    assert np.flatnonzero(is_gap).tolist() == [20, 21, 22]


def test_expanded_time_has_gaps_of_the_true_length(tokenizer_of, tmp_path):
    """Columns of half the length."""
    path = tmp_path / "20230501_120000T.WAV"
    ((first, _), (second, place)) = write_triggered(path, sound(1600), 5, sound(900), rate=RATE)
    tokens = tokenizer_of().encode(path, time_expansion=2)
    assert tokens.sample_rate == 2 * RATE
    assert tokens.hop / tokens.sample_rate == float(COLUMN) / 2
    begin = round(place / RATE / (COLUMN / 2))
    parts = (tokens.ids[:40], tokens.ids[begin:])
    for part, samples in zip(parts, (first, second), strict=True):
        alone = tokenizer_of().encode(samples, sample_rate=RATE, time_expansion=2)
        np.testing.assert_array_equal(part, alone.ids)
    assert (tokens.ids[40:begin] == tokenizer_of().vocabulary.special("<gap>")).all()
    assert abs(tokens.seconds[begin] - place / RATE) <= float(COLUMN) / 4


def test_times_that_are_not_true_are_said(tokenizer_of, recording, monkeypatch):
    set_timing(monkeypatch, WHOLE, linear=False)
    with pytest.warns(UserWarning, match="not known where: times of its tokens are not true"):
        tokenizer_of().encode(recording)
