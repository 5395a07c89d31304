from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import UserError
from ulmo.pipelines.tokenize.timeline import _TOLERANCE, Placement, Recorded, lay_out

RATE = 16000
HOP_LENGTH, STRIDE = 160, 16
HOP = Fraction(HOP_LENGTH * STRIDE, RATE)
"""160 ms."""


def columns_of(samples):
    """As the tokenizer counts them: frames of 160 samples, 16 to a column, both rounded up."""
    frames = -(-samples // HOP_LENGTH)
    return -(-frames // STRIDE)


def recorded(name, second, seconds):
    """A recording that begins and lasts so many seconds."""
    samples = round(seconds * RATE)
    return Recorded(Path(name), Fraction(second), samples, columns_of(samples))


def laid(*recordings):
    segments = lay_out(recordings, sample_rate=RATE, hop=HOP)
    return [(str(s.recorded.path), s.column, s.columns) for s in segments]


def test_a_gap_is_as_long_as_recording_stopped():
    first, second = recorded("a", 0, 8), recorded("b", 24, 16)
    assert lay_out([second, first], sample_rate=RATE, hop=HOP) == [
        Placement(first, 0, 0, 50),
        Placement(second, 100, 150, 100),
    ]


@pytest.mark.parametrize(
    ("second", "column"),
    [
        ("8", 50),
        ("8.079999", 50),  # less than half a column
        ("8.08", 51),
        ("8.239999", 51),
        ("8.24", 52),
        ("7.9", 50),  # a name of whole seconds
        ("6", 50),
        ("3608", 22550),
    ],
)
def test_the_next_recording_stands_on_the_nearest_column(second, column):
    assert laid(recorded("a", 0, 8), recorded("b", Fraction(second), 8)) == [
        ("a", 0, 50),
        ("b", column, 50),
    ]


def test_files_that_touch_give_way_only_when_they_would_be_late():
    """Ten seconds are 62.5 columns, so each file is half a column longer than its time."""
    segments = laid(*(recorded(f"{i:03}", 10 * i, 10) for i in range(100)))
    late = [column * HOP - 10 * i for i, (_, column, _) in enumerate(segments)]
    assert late[:4] == [0, Fraction("0.08"), Fraction("0.16"), Fraction("0.24")]
    assert max(late) <= _TOLERANCE
    assert min(late) >= 0
    assert [columns for _, _, columns in segments[:25]] == [63] * 25
    assert {columns for _, _, columns in segments} == {62, 63}


def test_a_sample_clock_that_runs_slow_does_not_add_up():
    """20 ppm over a year of continuous hours, which is ten minutes."""
    hours = [recorded(f"{i:05}", 3600 * i, 3600 * 1.00002) for i in range(24 * 365)]
    segments = lay_out(hours, sample_rate=RATE, hop=HOP)
    assert all(0 <= s.column * HOP - 3600 * i <= _TOLERANCE for i, s in enumerate(segments))
    assert {segment.gap for segment in segments} == {0}
    assert min(s.columns for s in segments) >= columns_of(hours[0].samples) - 1


@pytest.mark.parametrize(
    "recordings",
    [
        [recorded("a.wav", 0, 10), recorded("b.wav", 7, 10)],
        [recorded("a.wav", 0, 3600), recorded("c.wav", 3600, 60), recorded("b.wav", 30, 10)],
        [recorded("a.wav", 0, 10), recorded("b.wav", 0, 10)],
    ],
)
def test_recordings_that_overlap_are_refused(recordings):
    with pytest.raises(UserError, match=r"b\.wav begins .* s before a\.wav ends: .*files apart"):
        lay_out(recordings, sample_rate=RATE, hop=HOP)


def test_no_recording_is_lost_among_those_of_one_second():
    """Half a second each: within the tolerance two by two, and more sound than time."""
    many = [recorded(f"{i}.wav", 0, 0.5) for i in range(4)]
    assert laid(*many) == [(f"{i}.wav", 4 * i, 4) for i in range(4)]
    with pytest.raises(UserError, match=r"4\.wav begins 0\.5 s before 3\.wav ends"):
        lay_out([*many, recorded("4.wav", 0, 0.5)], sample_rate=RATE, hop=HOP)


def test_gaps_within_one_recording_count_together():
    parts = [recorded("a", 4 * 86400 * i, 1) for i in range(3)]
    options = {"sample_rate": RATE, "hop": HOP, "max_gap": 7 * 86400}
    assert len(lay_out(parts[:2], **options)) == 2
    with pytest.raises(UserError, match=r"the gaps in a last 8\.0 days in all: set --gaps one"):
        lay_out(parts, **options)
    assert len(lay_out(parts, **options, gaps="one")) == 3
    others = [part._replace(path=Path(str(i))) for i, part in enumerate(parts)]
    assert len(lay_out(others, **options)) == 3


def test_nothing_is_no_timeline():
    assert lay_out([], sample_rate=RATE, hop=HOP) == []


@given(
    sample_rate=st.sampled_from([8000, 16000, 22050, 44100, 256000]),
    hop_samples=st.integers(1, 200_000),
    steps=st.lists(
        st.tuples(
            st.integers(0, 10**6),  # samples beyond an hour's, or a short file's
            st.booleans(),
            st.integers(-2_000_000, 2_000_000) | st.integers(0, 40 * 86_400 * 10**6),
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_every_recording_is_near_its_true_time(sample_rate, hop_samples, steps):
    """Files of an hour or a moment, over years; what follows an hour may begin 2 s too early."""
    hop = Fraction(hop_samples, sample_rate)
    recordings = []
    moment = 0  # microseconds
    for number, (extra, hourly, pause) in enumerate(steps):
        samples = extra + (3600 * sample_rate if hourly else 0)
        columns = -(-samples // hop_samples)
        recordings.append(Recorded(Path(f"{number:03}"), Fraction(moment, 10**6), samples, columns))
        end = moment + samples * 10**6 // sample_rate + 1
        moment = end + (pause if hourly else abs(pause))
    segments = lay_out(recordings, sample_rate=sample_rate, hop=hop)
    assert [segment.recorded for segment in segments] == recordings
    ends = [0, *(segment.column + segment.columns for segment in segments)]
    gaps = [segment.column - end for segment, end in zip(segments, ends, strict=False)]
    assert [segment.gap for segment in segments] == gaps
    assert min(gaps) >= 0
    for before, here, segment in zip([None, *segments], recordings, segments, strict=False):
        late = segment.column * hop - segment.recorded.start
        touches = before is not None and segment.column == before.column + before.columns
        assert -hop / 2 <= late <= (max(hop / 2, _TOLERANCE) if touches else hop / 2)
        assert 0 <= segment.columns <= here.columns
    for segment, recording, following in zip(segments, recordings, segments[1:], strict=False):
        length = following.recorded.start - segment.recorded.start
        shared = max(Fraction(recording.samples, sample_rate) - length, 0)
        assert (recording.columns - segment.columns) * hop <= shared + 2 * hop
    for gaps, longest in (("keep", 10**9), ("one", 1), ("omit", 0)):
        short = lay_out(recordings, sample_rate=sample_rate, hop=hop, gaps=gaps)
        assert [each.gap for each in short] == [min(each.gap, longest) for each in segments]
        assert [each.columns for each in short] == [each.columns for each in segments]
        ends = [0, *(each.column + each.columns for each in short)]
        assert [each.column - each.gap for each in short] == ends[:-1]
