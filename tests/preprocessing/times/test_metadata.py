"""Times in wamd, iXML and LIST/INFO, and in the APPLICATION blocks of FLAC files."""

import struct
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from tests.oracles import chunk, wav_bytes
from ulmo.preprocessing.times.clock import Clock, Span, Start

RATE = 48000
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


def start_of(folder, content, name="20240101_000000.wav"):
    (folder / name).write_bytes(content)
    return Clock(timezone=EAST).timing(folder / name).start


def wav(before=b"", **options):
    return wav_bytes(bytes(2000), sample_rate=RATE, bits=16, before=before, **options)


def wamd(stamp):
    """Fields of a number, a length and contents: wa_meta.h of Wildlife Acoustics."""
    fields = ((0, b"\1\0"), (1, b"SM4"), (5, stamp.encode()), (0xFFFF, b"\0"))
    return chunk(
        b"wamd", b"".join(struct.pack("<HI", number, len(text)) + text for number, text in fields)
    )


def ixml(*fields):
    texts = "".join(f"<{name}>{text}</{name}>" for name, text in fields)
    text = f'<?xml version="1.0" encoding="UTF-8"?><BWFXML><BEXT>{texts}</BEXT></BWFXML>'
    return chunk(b"iXML", text.encode() + b"\0" * 9)


DATE, TIME = ("BWF_ORIGINATION_DATE", "2023-01-01"), ("BWF_ORIGINATION_TIME", "14:00:00")


def info(**texts):
    parts = b"".join(chunk(name.encode(), text.encode()) for name, text in texts.items())
    return chunk(b"LIST", b"INFO" + parts)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        # The three forms that guano-py knows, and that of the Echo Meter (guano-py#17)
        ("2023-01-01 07:00:00-05:00", NOON),
        ("2023-01-01 14:00:00.250", NOON + timedelta(milliseconds=250)),
        ("2023-01-01 14:00:00", NOON),
        ("2023-01-01 13:00:00+0100", NOON),
        ("2023-01-01 13:00:00+0100\0\0", NOON),
    ],
)
def test_wamd(tmp_path, stamp, expected):
    assert start_of(tmp_path, wav(wamd(stamp))) == Start(expected, "wamd")
    assert start_of(tmp_path, wav(after=wamd(stamp))) == Start(expected, "wamd")


@pytest.mark.parametrize(
    "content",
    [
        *(wamd(""), wamd("2023-01-01"), wamd("2023-01-01 12:00:00 nowhere"), chunk(b"wamd", b"")),
        chunk(b"wamd", struct.pack("<HI", 5, 1 << 31)),
        chunk(b"wamd", bytes(60_000)),
    ],
)
def test_a_wamd_chunk_without_a_time(tmp_path, content):
    assert start_of(tmp_path, wav(content)).source == "name"


@pytest.mark.parametrize(
    ("fields", "late"),
    [
        ((DATE, TIME), 0),
        ((("BWF_ORIGINATION_DATE", "2023:01:01"), ("BWF_ORIGINATION_TIME", "14-00-00")), 0),
        ((DATE, TIME, ("BWF_TIME_REFERENCE_LOW", 14 * 3600 * RATE + 12000)), 0.25),
        (
            (
                *(DATE, TIME, ("TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI", 0)),
                ("TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO", 14 * 3600 * RATE + 24000),
            ),
            0.5,
        ),
        ((DATE, TIME, ("BWF_TIME_REFERENCE_LOW", 3600 * RATE)), 0),  # another clock
        ((DATE, TIME, ("BWF_TIME_REFERENCE_LOW", "many")), 0),
        ((DATE, TIME, ("BWF_TIME_REFERENCE_HIGH", "9" * 5000)), 0),
    ],
)
def test_ixml(tmp_path, fields, late):
    expected = NOON + timedelta(seconds=late)
    assert start_of(tmp_path, wav(ixml(*fields))) == Start(expected, "ixml")


@pytest.mark.parametrize("fields", [(), (DATE,), (TIME,), (DATE, ("BWF_ORIGINATION_TIME", "soon"))])
def test_ixml_without_a_time(tmp_path, fields):
    assert start_of(tmp_path, wav(ixml(*fields))).source == "name"


@pytest.mark.parametrize(
    ("date", "source"),
    [
        ("2023-01-01T12:00:00Z", "date"),
        ("2023-01-01 14:00:00", "date"),
        ("2023-01-01", "name"),
        ("2023", "name"),
    ],
)
def test_the_date_of_list_info_must_have_a_time(tmp_path, date, source):
    start = start_of(tmp_path, wav(info(INAM="x", ICRD=date)))
    assert start.source == source
    assert source == "name" or start.utc == NOON


def test_the_order(tmp_path):
    header = info(ICRD="2023-01-01T12:00:03Z") + ixml(DATE, ("BWF_ORIGINATION_TIME", "14:00:02"))
    assert start_of(tmp_path, wav(header)) == Start(NOON + timedelta(seconds=2), "ixml")
    header += wamd("2023-01-01 12:00:01Z")
    assert start_of(tmp_path, wav(header)) == Start(NOON + timedelta(seconds=1), "wamd")
    header += chunk(b"guan", b"Timestamp: 2023-01-01T12:00:00Z\n")
    assert start_of(tmp_path, wav(header)) == Start(NOON, "guano")


class TestFlac:
    @staticmethod
    def flac(folder, *applications, **options):
        """A FLAC file with APPLICATION blocks behind its STREAMINFO."""
        path = folder / "x.flac"
        soundfile.write(path, np.zeros(2000), RATE, format="FLAC", **options)
        content = path.read_bytes()
        blocks = b"".join(b"\x02" + len(data).to_bytes(3, "big") + data for data in applications)
        return content[:42] + blocks + content[42:]

    @pytest.mark.parametrize("name", [b"guan", b"GUAN"])
    def test_guano(self, tmp_path, name):
        content = self.flac(tmp_path, b"test1234", name + b"Timestamp: 2023-01-01T12:00:00Z\n")
        assert start_of(tmp_path, content) == Start(NOON, "guano")

    def test_chunks_of_a_wav_file(self, tmp_path):
        """As `flac --keep-foreign-metadata` writes them: a block a chunk."""
        comment = "Recorded at 12:00:00 01/01/2023 (UTC) by AudioMoth 24F3"
        foreign = (b"riffRIFF\0\0\0\0WAVE", b"riff" + info(ICMT=comment), b"riffdata\0\0\0\0")
        content = self.flac(tmp_path, *foreign)
        assert start_of(tmp_path, content) == Start(NOON, "comment")

    @pytest.mark.parametrize("application", [b"", b"gua", b"guan", b"riff", b"riffLIST", bytes(99)])
    def test_other_blocks(self, tmp_path, application):
        content = self.flac(tmp_path, application)
        assert start_of(tmp_path, content).source == "name"

    def test_a_log_of_a_soundtrap_beside_it(self, tmp_path):
        """Its gaps are placed by the rate in STREAMINFO."""
        (tmp_path / "x.log.xml").write_text(
            '<ST><PROC_EVENT ID="1"><WavFileHandler Info="Sampling Gap 1000000 us at sample 480" />'
            '</PROC_EVENT><PROC_EVENT ID="1"><WavFileHandler '
            'SamplingStartTimeUTC="2023-01-01T12:00:00" /></PROC_EVENT></ST>',
            encoding="utf-8",
        )
        (tmp_path / "x.flac").write_bytes(self.flac(tmp_path))
        timing = Clock().timing(tmp_path / "x.flac")
        assert timing.start == Start(NOON, "log")
        assert timing.spans[1] == Span(480, None, 1 + Fraction(480, RATE))


@pytest.mark.parametrize("before", [bytes(700), b"ID3\x04\0\0\0\0\2\1" + b"x" * 257])
def test_behind_a_tag_or_nuls_a_header_is_read_too(tmp_path, before):
    made = wav(info(ICRD="2023-01-01T12:00:00Z"))
    assert start_of(tmp_path, before + made) == Start(NOON, "date")
