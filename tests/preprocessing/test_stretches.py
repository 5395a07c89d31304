"""Stretches of recordings: all samples of the spans, once, near their true time."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.gaps import follow_each_other, timelines
from ulmo.preprocessing.reading import audio
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.stretches import (
    MAX_GAP_SECONDS,
    check_gaps,
    clip_spans,
    plan_stretches,
    read_stretches,
)
from ulmo.preprocessing.times.timing import WHOLE, Span
from ulmo.tokens import nearest_column

RATE = 1000
HOP = Fraction(40, 1000)


def ends_at(spans, total):
    """Spans with a last frame each, in a file of so many frames."""
    return [
        span._replace(frames=total - span.frame if span.frames is None else span.frames)
        for span in spans
    ]


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A recording whose samples are their own numbers, in millionths."""
    path = tmp_path_factory.mktemp("audio") / "x.wav"
    soundfile.write(path, np.arange(9000, dtype=np.float32) / 1e6, RATE, subtype="FLOAT")
    return path


@given(spans=timelines(RATE), hop=st.sampled_from([HOP, Fraction(1, 1000), Fraction(7, 3)]))
def test_every_frame_is_within_a_column_of_its_true_time(spans, hop):
    """However many gaps there are, errors do not add up."""
    planned = plan_stretches(spans, RATE, hop)
    assert [span for stretch in planned for span in stretch.spans] == list(spans)
    taken = []
    for stretch in planned:
        column, frames = nearest_column(stretch.start, hop), 0
        for span in ends_at(stretch.spans, 9000):
            placed = column * hop + Fraction(frames, RATE)
            assert -hop <= placed - span.offset <= hop / 2
            frames += span.frames
        taken.append((column, column + ceil(Fraction(frames, RATE) / hop)))
    assert follow_each_other(taken)


@given(spans=timelines(RATE))
def test_a_gap_of_two_columns_or_more_is_one(spans):
    planned = plan_stretches(spans, RATE, HOP)
    starts = {stretch.start for stretch in planned}
    for before, span in pairwise(spans):
        gap = span.offset - before.offset - Fraction(before.frames, RATE)
        assert span.offset in starts or gap < 2 * HOP
        assert span.offset not in starts or span.offset - spans[0].offset > 0


@given(
    spans=timelines(RATE),
    block=st.sampled_from([7, 100, 1 << 16]),
    total=st.integers(1, 9000),
    first=st.integers(0, 300),
)
def test_every_frame_in_a_span_is_read_once(numbered, spans, block, total, first):
    """Frames outside are read too, for the verdict, and left out."""
    with pytest.MonkeyPatch.context() as patch, open_recording(numbered) as recording:
        patch.setattr(audio, "BLOCK_FRAMES", block)
        length = min(total, 9000 - first)
        stretches = read_stretches(
            *(recording, None, RATE, spans), hop=HOP, first=first, frames=length
        )
        found = {each.start: np.concatenate(list(each.blocks)) for each in stretches}
        assert recording.frames_read == length
    expected = {}
    for stretch in plan_stretches(spans, RATE, HOP):
        frames = [
            np.arange(max(span.frame, first), min(span.frame + span.frames, first + length))
            for span in ends_at(stretch.spans, 9000)
        ]
        if len(joined := np.concatenate(frames)):
            expected[stretch.start] = joined
    assert list(found) == list(expected)
    for start, samples in found.items():
        assert np.array_equal(np.round(samples * 1e6), expected[start])


def test_a_recording_without_gaps_is_read_as_it_is(numbered):
    with open_recording(numbered) as recording:
        stretch = next(read_stretches(recording, None, RATE, WHOLE, hop=HOP))
        found = np.concatenate(list(stretch.blocks))
    assert stretch.start == 0
    assert np.array_equal(found, np.arange(9000, dtype=np.float32) / np.float32(1e6))


def test_a_stretch_that_is_not_read_is_passed_over(numbered):
    spans = (Span(0, 100, Fraction(0)), Span(100, None, Fraction(9)))
    with open_recording(numbered) as recording:
        starts = [s.start for s in read_stretches(recording, None, RATE, spans, hop=HOP)]
        assert recording.frames_read == 9000
    assert starts == [0, 9]


@given(
    spans=timelines(RATE),
    start=st.floats(0, 20),
    seconds=st.none() | st.floats(0.001, 20),
)
def test_a_clip_has_the_frames_of_its_time(spans, start, seconds):
    def times(spans):
        return {
            span.frame + index: round(span.offset * RATE) + index
            for span in ends_at(spans, 9000)
            for index in range(min(span.frames, 9000 - span.frame))
        }

    first = round(start * RATE)
    end = np.inf if seconds is None else first + max(round(seconds * RATE), 1)
    expected = {f: time for f, time in times(spans).items() if first <= time < end}
    assert times(clip_spans(spans, RATE, start, seconds)) == expected


HOUR = 3600
CYCLES = {  # hertz, seconds of sound, and seconds from one such sound to the next
    "HARP": (200_000, 75, 25 * 60),
    "HARP, decimated": (2_000, 75, 25 * 60),
    "AudioMoth, 8 kHz": (8_000, 3, HOUR),
    "AudioMoth, 48 kHz": (48_000, 1, HOUR),
    "AudioMoth, 384 kHz": (384_000, 1, 12 * HOUR),
}


@pytest.mark.parametrize("recorder", CYCLES)
@pytest.mark.parametrize("cycles", [1, 2, 24, 160])
def test_gaps_of_recorders_are_kept(recorder, cycles):
    rate, sound, period = CYCLES[recorder]
    gaps = min(cycles * (period - sound), MAX_GAP_SECONDS)
    check_gaps(Fraction(gaps), cycles * sound * rate)


@pytest.mark.parametrize(
    ("frames", "hours"),
    [(0, 1), (16_383, 1), (16_384, 2), (100_000, 7), (166 * 16_384, 167), (10**10, 168)],
)
def test_gaps_that_last_too_long_for_so_few_frames_are_refused(frames, hours):
    check_gaps(Fraction(hours * HOUR), frames)
    words = rf"{hours}\.5 h in all, and its {frames} frames allow {hours} h: use ulmo-tokenize"
    with pytest.raises(RefusedError, match=words) as caught:
        check_gaps(Fraction(hours * HOUR + HOUR // 2), frames)
    assert caught.value.reason == "long_gaps"
