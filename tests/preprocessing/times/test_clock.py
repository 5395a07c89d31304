import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile
from guano import GuanoFile

from tests.oracles import chunk, fmt_chunk, wav_bytes
from ulmo.config import ClockSettings, UserError
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.times import metadata
from ulmo.preprocessing.times.clock import WHOLE, Clock, Start
from ulmo.preprocessing.times.timestamps import parse_pattern
from ulmo.preprocessing.times.zones import parse_timezone

RATE = 48000
DATA = bytes(2000)
NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))
MALFORMED = Path(__file__).parents[4] / "shared" / "malformed"


def bext(date="2023-01-01", time="12:00:00", reference=0):
    """A bext chunk, version 0 (EBU Tech 3285, section 2.3)."""
    fields = (b"a survey", b"recorder", b"", date.encode(), time.encode(), reference, 0)
    return chunk(b"bext", struct.pack("<256s32s32s10s8sQH254x", *fields))


def guan(stamp, before="GUANO|Version: 1.0\n"):
    return chunk(b"guan", f"{before}Timestamp: {stamp}\nMake: x\n".encode())


GUANO = guan("2023-01-01T12:00:00Z")


def info(comment):
    """LIST/INFO with a comment in a field of fixed length, as AudioMoth writes it."""
    return chunk(b"LIST", b"INFO" + chunk(b"ICMT", comment.encode().ljust(384, b"\0")))


def start_of(tmp_path, content, name="x.wav", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return Clock(**options).timing(path).start


def wav(before=b"", after=b"", data=DATA, **options):
    return wav_bytes(data, sample_rate=RATE, before=before, after=after, **options)


def test_the_facts_of_a_start_are_columns_of_its_row():
    start = Start(datetime(1970, 1, 1, 0, 1, microsecond=5, tzinfo=UTC), "name")
    assert start.facts() == {"start_utc": 60_000_005, "start_source": "name"}


class TestGuano:
    @pytest.mark.parametrize(
        ("stamp", "expected"),
        [
            ("2023-01-01T12:00:00", NOON - timedelta(hours=2)),
            ("2023-01-01 12:00:00", NOON - timedelta(hours=2)),
            ("2023-01-01T12:00:00Z", NOON),
            ("2023-01-01T12:00:00.25Z", NOON + timedelta(seconds=0.25)),
            ("2023-01-01T12:00:00.123456789+04:00", NOON + timedelta(0, -14400, 123456)),
            ("2023-01-01 12:00:00-0330", NOON + timedelta(hours=3.5)),
            ("  2023-01-01T12:00:00Z \r", NOON),
        ],
    )
    def test_stamps(self, tmp_path, stamp, expected):
        assert start_of(tmp_path, wav(guan(stamp)), timezone=EAST) == Start(expected, "guano")

    @pytest.mark.parametrize("stamp", ["", "2023-01-01", "2023-13-01T12:00:00", "12:00:00", "soon"])
    def test_what_is_no_time(self, tmp_path, stamp):
        assert start_of(tmp_path, wav(guan(stamp))) is None

    def test_of_two_chunks_the_first(self, tmp_path):
        content = wav(GUANO + guan("2022-01-01T12:00:00Z"))
        assert start_of(tmp_path, content) == Start(NOON, "guano")

    def test_a_makers_own_stamp_is_another_thing(self, tmp_path):
        content = wav(guan("2023-01-01T12:00:00Z", before="X|Timestamp: 2001-01-01T00:00:00Z\n"))
        assert start_of(tmp_path, content) == Start(NOON, "guano")

    @pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=-5))])
    def test_what_guano_py_writes(self, tmp_path, zone):
        """The reference implementation, which writes it behind the sound."""
        path = tmp_path / "x.wav"
        soundfile.write(path, np.zeros(1001), RATE, subtype="PCM_U8")
        guano = GuanoFile(str(path))
        guano["GUANO|Version"] = "1.0"
        guano["Timestamp"] = datetime(2023, 1, 1, 12, 0, 0, 250000, tzinfo=zone)
        guano.write(make_backup=False)
        offset = zone.utcoffset(None) if zone else timedelta(hours=2)
        expected = NOON + timedelta(seconds=0.25) - offset
        assert Clock(timezone=EAST).timing(path).start == Start(expected, "guano")


class TestComment:
    @pytest.mark.parametrize(
        ("comment", "hours"),
        [
            ("(UTC) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state", 0),
            ("by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state was < 3.6V", 0),
            ("(UTC+1) by AudioMoth 24F3190361DA539A at medium gain setting while battery", 1),
            ("(UTC-10) by AudioMoth 24F3190361DA539A at medium gain while battery was 4.1V", -10),
            ("(UTC+5:30) during deployment 0000000000000001 by AudioMoth 24F3 at high gain", 5.5),
            ("(UTC-0:30) by AudioMoth 24F3190361DA539A using external microphone at low", -0.5),
        ],
    )
    def test_every_firmware(self, tmp_path, comment, hours):
        """As the source of the firmware writes it: 1.0 to 1.10."""
        content = wav(info(f"Recorded at 12:00:00 01/01/2023 {comment}"))
        found = start_of(tmp_path, content, timezone=EAST)
        assert found == Start(NOON - timedelta(hours=hours), "comment")

    @pytest.mark.parametrize(
        "comment",
        [
            "Recorded at 12:00:00 01/13/2023 (UTC) by AudioMoth",
            "Recorded at 12:00:00 01/01/2023 in the garden",
            "Recorded at 12:00:00 01/01/2023 (UTC+99) by AudioMoth",
            "a thrush, 2023-01-01T12:00:00Z",
            "",
        ],
    )
    def test_other_comments(self, tmp_path, comment):
        assert start_of(tmp_path, wav(info(comment))) is None

    @pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "RF64"])
    def test_what_libsndfile_writes(self, tmp_path, kind):
        path = tmp_path / "x.any"
        with soundfile.SoundFile(path, "w", 16000, 1, format=kind) as file:
            file.title, file.artist = "a title", "x" * 300
            file.comment = "Recorded at 12:00:00 01/01/2023 (UTC) by AudioMoth 24F3"
            file.write(np.zeros(20_000))
        assert Clock(timezone=EAST).timing(path).start == Start(NOON, "comment")


class TestDate:
    @pytest.mark.parametrize(
        ("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")]
    )
    @pytest.mark.parametrize(
        ("date", "expected"),
        [
            ("2023-01-01T12:00:00Z", NOON),
            ("2023-01-01 14:00:00", NOON),
            ("2023-01-01", None),
            ("2023", None),
        ],
    )
    def test_only_a_full_time(self, tmp_path, kind, subtype, date, expected):
        path = tmp_path / "x.any"
        with soundfile.SoundFile(path, "w", 16000, 1, format=kind, subtype=subtype) as file:
            file.date = date
            file.write(np.zeros(2000))
        found = Clock(timezone=EAST).timing(path).start
        assert found == (expected and Start(expected, "date"))


class TestBroadcast:
    @pytest.mark.parametrize(
        ("fields", "late"),
        [
            ({}, 0),
            ({"date": "2023/01/01", "time": "12-00-00"}, 0),
            ({"date": "2023:01:01", "time": "12.00.00"}, 0),
            ({"reference": 12 * 3600 * RATE}, 0),
            ({"reference": 12 * 3600 * RATE + 12345}, 12345 / RATE),
            ({"reference": 12 * 3600 * RATE - 1}, -1 / RATE),
            ({"reference": 12 * 3600 * RATE + 2 * RATE}, 0),  # another clock
            ({"reference": 3600 * RATE}, 0),
            ({"reference": (1 << 64) - 1}, 0),
            ({"reference": 36 * 3600 * RATE + RATE}, 1),  # a timecode that went on past midnight
        ],
    )
    def test_the_time_of_day_and_the_samples_since_midnight(self, tmp_path, fields, late):
        expected = NOON + timedelta(seconds=late)
        assert start_of(tmp_path, wav(bext(**fields))) == Start(expected, "bext")

    @pytest.mark.parametrize(
        ("time", "reference", "expected"),
        [
            ("00:00:00", 24 * 3600 * RATE - RATE // 2, datetime(2022, 12, 31, 23, 59, 59, 500000)),
            ("00:00:01", 0, datetime(2023, 1, 1, 0, 0, 1)),  # no samples: not midnight
        ],
    )
    def test_around_midnight(self, tmp_path, time, reference, expected):
        found = start_of(tmp_path, wav(bext(time=time, reference=reference)))
        assert found == Start(expected.replace(tzinfo=UTC), "bext")

    def test_it_is_local(self, tmp_path):
        berlin = parse_timezone("Europe/Berlin")
        summer = start_of(tmp_path, wav(bext(date="2023-07-01")), timezone=berlin)
        assert summer.utc == datetime(2023, 7, 1, 10, tzinfo=UTC)
        assert summer.utc.tzinfo is UTC

    @pytest.mark.parametrize(
        "fields", [{"date": "0000-00-00"}, {"date": "", "time": ""}, {"time": "24:00:00"}]
    )
    def test_what_is_no_time(self, tmp_path, fields):
        assert start_of(tmp_path, wav(bext(**fields))) is None


class TestOrder:
    def test_pattern_then_header_then_name(self, tmp_path):
        name = "20240101_120000_x20250101.wav"
        pattern = parse_pattern("x%Y%m%d")
        comment = info("Recorded at 00:00:00 01/01/2022 (UTC) by AudioMoth")
        every = guan("2021-01-01T00:00:00Z") + bext() + comment

        def told(content, pattern=None):
            start = start_of(tmp_path, content, name, pattern=pattern)
            return start.utc.year, start.source

        assert told(wav(every), pattern) == (2025, "pattern")
        assert told(wav(every), parse_pattern("y%Y%m%d")) == (2021, "guano")
        assert told(wav(every)) == (2021, "guano")
        assert told(wav(bext() + comment)) == (2022, "comment")
        assert told(wav(bext())) == (2023, "bext")
        assert told(wav()) == (2024, "name")
        assert told(b"no sound") == (2024, "name")

    def test_a_stamp_that_is_no_time_gives_way(self, tmp_path):
        assert start_of(tmp_path, wav(guan("soon") + bext())) == Start(NOON, "bext")

    def test_folders_tell_nothing(self, tmp_path):
        (tmp_path / "20230101_120000").mkdir()
        assert start_of(tmp_path, wav(), "20230101_120000/x.wav") is None

    @pytest.mark.parametrize("name", ["20230101_120000.wav", "none"])
    def test_a_file_that_cannot_be_read_has_only_a_name(self, tmp_path, name):
        """Its header would perhaps say another time, so there is none but in its row."""
        for path in (tmp_path / name, tmp_path):
            with pytest.raises(RefusedError, match="unreadable") as error:
                Clock().timing(path)
            assert error.value.path == path
        row = Clock().row(tmp_path / name, None, error.value)
        assert (row["status"], row["reason"]) == ("refused", "unreadable")
        assert row.get("start_source") == ("name" if name != "none" else None)


class TestWhereChunksLie:
    @pytest.mark.parametrize(
        "content",
        [
            wav(after=GUANO),
            wav(data=DATA[:-1], after=GUANO),
            # no byte of padding behind an odd number of bytes
            wav()[:-1].replace(b"data" + struct.pack("<I", 2000), b"data" + struct.pack("<I", 1999))
            + GUANO,
            wav(GUANO, data_size=0),  # a crashed recorder
            wav(GUANO, data_size=0xFFFFFFFF),
            wav(GUANO)[:-1500],
            wav(chunk(b"JUNK", bytes(100_000)) + GUANO),
            wav(guan("2023-01-01T12:00:00Z\n" + "Note: " + "x" * 100_000)),
        ],
    )
    def test_wherever_it_lies(self, tmp_path, content):
        assert start_of(tmp_path, content) == Start(NOON, "guano")

    def test_behind_the_sound_of_an_rf64_file(self, tmp_path):
        sizes = chunk(b"ds64", struct.pack("<QQQI", 72 + len(DATA), len(DATA), 0, 0))
        content = b"RF64\xff\xff\xff\xffWAVE" + sizes + fmt_chunk(sample_rate=RATE)
        content += chunk(b"data", DATA, size=0xFFFFFFFF) + bext(reference=12 * 3600 * RATE + 1200)
        assert start_of(tmp_path, content) == Start(NOON + timedelta(seconds=0.025), "bext")

    def test_the_sound_is_not_read(self, tmp_path, monkeypatch):
        """A gigabyte of it, in a sparse file."""
        path = tmp_path / "x.wav"
        size = 1 << 30
        tail = GUANO
        with path.open("wb") as file:
            file.write(wav(data=b"", data_size=size))
            file.seek(44 + size)
            file.write(tail)
        taken = []
        read_chunks = metadata.read_chunks

        def counted(file, size):
            for found in read_chunks(file, size):
                before = file.tell()
                yield found
                taken.append(file.tell() - before)

        monkeypatch.setattr(metadata, "read_chunks", counted)
        assert Clock().timing(path).start == Start(NOON, "guano")
        assert sum(taken) < 1000

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"RIFF", wav(GUANO)[:60], wav(chunk(b"guan", b"")), wav(b"guan" + b"\xff" * 4)),
            *(wav(chunk(b"bext", bext()[8:348])), wav(chunk(b"LIST", b"INFO"))),
            wav(chunk(b"LIST", b"adtl" + chunk(b"ICMT", b"Recorded at"))),
            wav(chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"", size=1 << 31))),
            *(b"fLaC", b"fLaC\x84\xff\xff\xff", b"fLaC\x84\0\0\x10" + b"\xff" * 16),
            *(b"OggS", b"OggS" + b"\xff" * 300),
            b"OggS" + bytes(22) + b"\x01\x0b\x03vorbis\xff\xff\xff\xff",
        ],
    )
    def test_broken_headers_are_no_time(self, tmp_path, content):
        assert start_of(tmp_path, content) is None


@pytest.mark.parametrize(
    "filling", [b" ", b"\n", b"Timestamp: ", b"Timestamp:" + b" " * 5000 + b"x"]
)
def test_a_hostile_text_costs_no_time(tmp_path, filling):
    """64 KiB of it are looked at once: seconds would show a search that goes back and forth."""
    content = (b"Timestamp:" + filling * (200_000 // len(filling)))[:200_000]
    began = datetime.now(UTC)
    assert start_of(tmp_path, wav(chunk(b"guan", content))) is None
    assert datetime.now(UTC) - began < timedelta(seconds=2)


@pytest.mark.skipif(not MALFORMED.is_dir(), reason="no malformed files")
def test_malformed_files_tell_no_time_but_three():
    """Those were exported by an editor, which says when."""
    starts = {path.name: Clock().timing(path).start for path in MALFORMED.rglob("*.wav")}
    told = {name: start for name, start in starts.items() if start is not None}
    exported = datetime(2017, 10, 6, 21, 23, 15, tzinfo=UTC)
    made = Start(datetime(2016, 7, 31, 10, 25, 9, tzinfo=UTC), "date")
    assert told == {
        "testsamples_nonstandard-01.wav": Start(exported, "bext"),
        "testsamples_waveformatextensible-ieeefloat-44100Hz-mono.wav": made,
        "testsamples_fuzz_crash-e5471f5b58397287b509db7d026e95f1724454f5.wav": made,
    }


@pytest.mark.parametrize(
    ("field", "slowed"),
    [
        *(("TE: 10", True), ("TE:20", True), ("TE: 8.5", True)),
        *(("TE: 1", False), ("TE: 0", False), ("TE: -10", False), ("TE: x", False), ("TE:", False)),
        *(("TE: 1e9", False), ("TE: 10 x", False), ("NOTE: 10", False), ("", False)),
    ],
)
def test_a_file_that_plays_slower_than_the_sound_has_a_flag(tmp_path, field, slowed):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(chunk(b"guan", f"GUANO|Version: 1.0\n{field}\n".encode())))
    timing = Clock().timing(path)
    assert timing.slowed is slowed
    assert timing.facts({"flags": ["clipped"]})["flags"] == ["clipped"] + ["time_expanded"] * slowed
    assert (timing.obstacle is not None) is slowed
    refused = RefusedError("bad_header", "it is no sound")
    assert Clock().row(path, timing, refused)["flags"] == []  # of what was not read


class TestClock:
    def test_of_settings(self, tmp_path):
        chosen = Clock.of(ClockSettings(timestamp_pattern="x%Y%m%d%H", timezone="+02:00"))
        start = start_of(tmp_path, wav(), "x2023010114.wav", **chosen._asdict())
        assert start == Start(NOON, "pattern")
        assert Clock.of(ClockSettings()) == Clock()

    @pytest.mark.parametrize("given", [{"timestamp_pattern": "%H"}, {"timezone": "Nowhere"}])
    def test_settings_that_cannot_work(self, given):
        with pytest.raises(UserError):
            Clock.of(ClockSettings(**given))

    def test_a_pattern_that_fits_no_name_says_so_at_once(self):
        clock = Clock(pattern=parse_pattern("x%y%m%d"))
        Clock().check(["a.wav"])
        clock.check([])
        clock.check(["a.wav", "x230501.wav"])
        with pytest.raises(UserError, match=r"fits none of the files' names, such as a\\n\.wav: "):
            clock.check(["a\n.wav", "x239901.wav"])

    def test_why_a_name_gives_no_time(self, tmp_path):
        path = tmp_path / "20230101_120000_CST.wav"
        note = "its name holds a time that is not understood: '_CST'"
        path.write_bytes(wav())
        assert Clock().timing(path)[:6] == (None, WHOLE, True, note, False, None)
        assert Clock().row(path, None, RefusedError("unreadable", "so it is"))["detail"] == (
            f"so it is; {note}"
        )
        path.write_bytes(wav(GUANO))
        assert Clock().timing(path)[:4] == (Start(NOON, "guano"), WHOLE, True, None)

    def test_microseconds_and_what_comes_after(self):
        start = Start(NOON, "name")
        assert start.microseconds == int(NOON.timestamp()) * 10**6
        assert start.after(86400 + 1.6e-6) == NOON + timedelta(days=1, microseconds=2)
