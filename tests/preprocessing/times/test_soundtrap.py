import errno
import os
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gaps import SOUNDTRAP_CONFIG
from tests.gaps import soundtrap_log as log
from tests.oracles import wav_bytes
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.times.clock import WHOLE, Clock, Span, Start
from ulmo.preprocessing.times.xml_text import read_xml
from ulmo.storage.sidecar import MAX_SIDECAR_BYTES

RATE = 48000
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)
NAME = "5678.230101130000.wav"  # in the zone of the computer that unpacked it
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
    assert timing_of(tmp_path, log(*facts))[:5] == (start, WHOLE, True, None, False)


@pytest.mark.parametrize(
    "content",
    [
        *(log(), log(("SamplingStartTimeUTC", "1/2/2023 12:00:00 PM"))),
        log(("SamplingStartTimeUTC", "2023-01-01T12:00:00 BST")),
        log(START, ("SamplingStartTimeSubS", "99000000 us")),
    ],
)
def test_a_log_without_a_time_leaves_the_names(tmp_path, content):
    timing = timing_of(tmp_path, content)
    assert timing[:4] == (Start(NOON.replace(hour=13), "name"), WHOLE, True, None)


GAP = ("Info", "Sampling Gap 60000000 us at sample 24000 (0.5 s), chunk 100")
GAPS = log(*FACTS, GAP, ("CumulativeSamplingGap", "60000000 us"))
LONG = log(*FACTS, ("Info", "x" * MAX_SIDECAR_BYTES), GAP)
MANY = log(*FACTS, *[("Info", "x")] * 10_001, GAP)
DAMAGE = "it is cut or damaged"


@pytest.mark.parametrize(
    ("content", "source", "fault"),
    [
        (b"", "name", DAMAGE),
        (b"<ST>", "name", DAMAGE),
        (b"no XML", "name", DAMAGE),
        (GAPS[: GAPS.index(b"Gap")], "log", DAMAGE),
        (GAPS[:-1], "log", DAMAGE),
        (GAPS + b"<ST>", "log", DAMAGE),
        (GAPS.replace(b"chunk", b"chunk\0"), "log", DAMAGE),
        (GAPS[:-50] + bytes(50), "log", DAMAGE),
        (
            log(START, before='<!DOCTYPE ST [<!ENTITY a "b">]>'),
            "name",
            "a document type is not read",
        ),
        (GAPS.replace(b"UTF-8", b"no-such"), "name", DAMAGE),
        (b"<a>" * 40 + log(START)[38:], "name", "it has too many elements"),
        (MANY, "log", "it has too many elements"),
        (LONG, "log", "it is longer than 1 MiB"),
        (log(*FACTS) + b" " * MAX_SIDECAR_BYTES, "log", "it is longer than 1 MiB"),
    ],
)
def test_a_log_that_is_not_read_to_its_end_makes_time_not_linear(tmp_path, content, source, fault):
    """It may count a gap there. The sound is read, and the start is used if it was read."""
    timing = timing_of(tmp_path, content)
    start = NOON.replace(hour=13 if source == "name" else 12)
    note = f"its log was not read to its end ({fault}), and may count time that was left out"
    assert timing[:4] == (Start(start, source), WHOLE, False, note)
    assert timing.obstacle is not None


def test_no_place_to_cut_a_log_goes_unnoticed():
    """Each byte is one; white space alone may be lost behind the last tag."""
    content = GAPS + b"\r\n"
    for end in range(len(content)):
        assert bool(read_xml(content[:end]).fault) == (end < len(GAPS)), end


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, os.strerror(errno.EISDIR)),
        (os.mkfifo, "it is a pipe or a device, and no file"),
        (lambda path: path.symlink_to("gone"), os.strerror(errno.ENOENT)),
        (lambda path: path.symlink_to(path.name), os.strerror(errno.ELOOP)),
    ],
)
def test_a_log_that_cannot_be_opened_is_not_the_same_as_none(tmp_path, make, why):
    path = tmp_path / NAME
    path.write_bytes(wav_bytes(bytes(2 * RATE), sample_rate=RATE, bits=16))
    assert Clock().timing(path).log is None
    make(path.with_suffix(".log.xml"))
    with pytest.raises(RefusedError) as error:
        Clock().timing(path)
    assert (error.value.path, error.value.reason) == (path, "unreadable")
    assert error.value.detail == f"its log cannot be read: {why}"


def test_the_log_of_a_file_that_no_soundtrap_made_says_nothing(tmp_path):
    (tmp_path / "x.ogg").write_bytes(b"OggS")
    (tmp_path / "x.log.xml").write_bytes(b"<ST>")
    assert Clock().timing(tmp_path / "x.ogg")[:4] == (None, WHOLE, True, None)


def test_the_handler_of_the_wav_file_counts(tmp_path):
    other = ("SamplingStartTimeUTC", "2020-01-01T00:00:00")
    both = log(other, number=2)[:-5] + log(START)[38:].removeprefix(
        b"<ST>" + SOUNDTRAP_CONFIG.encode()
    )
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
        assert timing[:5] == (Start(NOON, "log"), tuple(expected), True, None, False)

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
    assert isinstance(read_xml(b'<a b="c">' + content).elements, list)


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a>" * 100 + b"</a>" * 100,
    ],
)
def test_xml_that_is_refused_gives_nothing(content):
    found = read_xml(content)
    assert (found.elements, bool(found.fault)) == ([], True)


def test_no_more_than_so_many_elements_are_read():
    found = read_xml(b"<r>" + b"<a/>" * 30_000 + b"</r>")
    assert (len(found.elements), found.fault) == (20_000, "it has too many elements")


def test_a_log_in_capitals_is_the_same_log(tmp_path):
    declaration, tag, rest = GAPS.partition(b"<ST>")
    capitals = declaration + tag + rest.upper()
    assert len(timing_of(tmp_path, GAPS).spans) == 2
    assert timing_of(tmp_path, capitals)[:5] == timing_of(tmp_path, GAPS)[:5]
