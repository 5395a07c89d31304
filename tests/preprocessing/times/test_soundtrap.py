from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import wav_bytes
from ulmo.preprocessing.times.clock import WHOLE, Clock, Span, Start
from ulmo.preprocessing.times.xml_text import MAX_XML_BYTES, read_xml

RATE = 48000
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)
NAME = "5678.230101130000.wav"  # in the zone of the computer that unpacked it
CONFIG = (
    '<CFG ID="2" FTYPE="wav"><FS> 576000 </FS><SUFFIX> dwv </SUFFIX></CFG>'
    '<CFG ID="3" FTYPE="wav"><FS> 48000 </FS><SUFFIX> wav </SUFFIX></CFG>'
)


def log(*facts, number=3, before="", config=CONFIG):
    """A log as the host writes it: an event with one attribute each."""
    event = '<PROC_EVENT ID="{}"><WavFileHandler {}="{}" /></PROC_EVENT>'
    events = "".join(event.format(number, *fact) for fact in facts)
    return f'<?xml version="1.0" encoding="UTF-8" ?>{before}<ST>{config}{events}</ST>'.encode()


START = ("SamplingStartTimeUTC", "2023-01-01T12:00:00")
FACTS = (START, ("SamplingTimePeriod", "60000000 us"))


def timing_of(folder, content, name=NAME):
    data = bytes(2 * RATE)
    (folder / name).write_bytes(wav_bytes(data, sample_rate=RATE, bits=16))
    (folder / name).with_suffix(".log.xml").write_bytes(content)
    return Clock().timing(folder / name)


@pytest.mark.parametrize(
    ("facts", "late"),
    [
        ((START,), 0),
        ((START, ("SamplingStartTimeSubS", "250000 us")), 250000),
        ((("SamplingStartTimeUTC", "2023-01-01 12:00:00 UTC"),), 0),
        ((("SamplingStartTimeUTC", "2023-01-01 13:00:00 CET"),), 0),  # of PAMGuard's x3 library
    ],
)
def test_the_log_gives_utc_where_the_name_is_local(tmp_path, facts, late):
    start = Start(NOON.replace(microsecond=late), "log")
    assert timing_of(tmp_path, log(*facts)) == (start, WHOLE, True, None, False)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<ST>", log(), log(("SamplingStartTimeUTC", "1/2/2023 12:00:00 PM"))),
        log(START, before='<!DOCTYPE ST [<!ENTITY a "b">]>'),
        log(START, ("Info", "x" * MAX_XML_BYTES)),
        log(("SamplingStartTimeUTC", "2023-01-01T12:00:00 BST")),
        log(START, ("SamplingStartTimeSubS", "99000000 us")),
        b"<a>" * 40 + log(START)[38:],
    ],
)
def test_a_log_without_a_time_leaves_the_names(tmp_path, content):
    timing = timing_of(tmp_path, content)
    assert timing.start == Start(NOON.replace(hour=13), "name")


def test_a_log_that_ends_early_is_read_as_far_as_it_goes(tmp_path):
    assert timing_of(tmp_path, log(START)[:-5]).start == Start(NOON, "log")


def test_the_handler_of_the_wav_file_counts(tmp_path):
    other = ("SamplingStartTimeUTC", "2020-01-01T00:00:00")
    both = log(other, number=2)[:-5] + log(START)[38:].removeprefix(b"<ST>" + CONFIG.encode())
    assert timing_of(tmp_path, both).start == Start(NOON, "log")


class TestGaps:
    @staticmethod
    def gap(frame, microseconds):
        text = f"Sampling Gap {microseconds} us at sample {frame} ( {frame / RATE:.1f} s), chunk 7"
        return ("Info", text)

    @given(
        frames=st.lists(st.integers(1, RATE - 1), unique=True, max_size=5).map(sorted),
        gaps=st.lists(st.integers(1, 10**9), min_size=5, max_size=5),
    )
    def test_gaps_with_a_place(self, tmp_path_factory, frames, gaps):
        infos = [self.gap(frame, gap) for frame, gap in zip(frames, gaps, strict=False)]
        known = ("CumulativeSamplingGap", f"{sum(gaps[: len(frames)])} us")
        timing = timing_of(tmp_path_factory.mktemp("trap"), log(*infos, known, *FACTS))
        ends = [*frames[1:], None]
        expected = [Span(0, frames[0] if frames else None, Fraction(0))]
        for index, (frame, end) in enumerate(zip(frames, ends, strict=False)):
            late = Fraction(sum(gaps[: index + 1]), 10**6)
            expected.append(Span(frame, end and end - frame, Fraction(frame, RATE) + late))
        assert timing == (Start(NOON, "log"), tuple(expected), True, None, False)

    def test_a_gap_that_was_filled_with_zeros_is_none(self, tmp_path):
        infos = (self.gap(100, 10**6), ("Info", "added 48000 zeros"), self.gap(200, 2 * 10**6))
        known = ("CumulativeSamplingGap", "3000000 us")
        spans = timing_of(tmp_path, log(*infos, known, *FACTS)).spans
        assert spans == (Span(0, 200, Fraction(0)), Span(200, None, Fraction(200, RATE) + 2))

    @pytest.mark.parametrize(
        "facts",
        [
            (("CumulativeSamplingGap", "5000000 us"),),
            (("CumulativeSamplingGap", "-5000000 us"),),
            (("Info", "Sampling Gap {0} us at sample {1} ({2} s), chunk {3}"),),  # x3 library
            (("Info", "Sampling Gap 9000 us at sample 200 ( 1 s)"),) * 2,
            (("Info", "Sampling Gap -9000 us at sample 200 ( 1 s)"),),
        ],
    )
    def test_a_gap_without_a_place_makes_time_not_linear(self, tmp_path, facts):
        timing = timing_of(tmp_path, log(*facts, *FACTS))
        assert timing[:3] == (Start(NOON, "log"), WHOLE, False)
        assert timing.note == "its log counts time that was left out, and does not say where"

    @pytest.mark.parametrize("text", ["-52 us", "90000 us", "", "none"])
    def test_rounding_is_no_gap(self, tmp_path, text):
        assert timing_of(tmp_path, log(("CumulativeSamplingGap", text), *FACTS)).linear


@given(st.binary(max_size=300))
def test_no_xml_raises(content):
    assert isinstance(read_xml(b'<a b="c">' + content), list)


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a/>" + b" " * MAX_XML_BYTES,
        b"<a>" * 100 + b"</a>" * 100,
        b"<r>" + b"<a/>" * 30_000 + b"</r>",
    ],
)
def test_xml_that_is_refused_gives_nothing(content):
    assert read_xml(content) == []


def test_a_log_in_capitals_is_the_same_log(tmp_path):
    gap = ("Info", "Sampling Gap 60000000 us at sample 24000 (0.5 s), chunk 100")
    plain = log(*FACTS, gap, ("CumulativeSamplingGap", "60000000 us"))
    declaration, tag, rest = plain.partition(b"<ST>")
    capitals = declaration + tag + rest.upper()
    assert len(timing_of(tmp_path, plain).spans) == 2
    assert timing_of(tmp_path, capitals) == timing_of(tmp_path, plain)
