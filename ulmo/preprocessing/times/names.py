"""How recorders name their files, and the time in a name."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import NamedTuple

from ulmo.preprocessing.times.timestamps import EDGE, time_of
from ulmo.preprocessing.times.zones import read_tail

_DATE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_SHORT_DATE = r"(?P<year2>[0-6]\d)(?P<month>\d\d)(?P<day>\d\d)"
_DASHED = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
_MARKED = r"(?P<hour>\d\d)(?P<mark>[:_-])(?P<minute>\d\d)(?P=mark)(?P<second>\d\d)"
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}\Z")


class NamePattern(NamedTuple):
    """How recorders name their files, up to the seconds."""

    name: str
    recorder: str  # recorders known to use it
    regex: str  # searched in the name without its ending; it must not touch further digits
    examples: tuple[str, ...]
    utc: bool = False  # whether these names are in UTC, whatever the recorder's zone


# Tried in this order: the first that gives an existing time is used.
NAME_PATTERNS = (
    NamePattern(
        "ooi",
        "hydrophones of the Ocean Observatories Initiative",
        rf"[A-Z\d]{{2}}-[A-Z\d]+-[A-Z\d]*-[A-Z]DH-{_DASHED}T(?P<hour>\d\d):?(?P<minute>\d\d):?"
        r"(?P<second>\d\d)",
        ("OO-HYEA2--YDH-2019-07-04T00:00:15.000015.flac",),
        utc=True,
    ),
    NamePattern(
        "iso",
        "ISO 8601; scripts and NoiseNet",
        rf"{_DASHED}T{_MARKED}",
        ("2023-01-01T12:00:00.250+10:00.wav", "site_2023-01-01T12-00-00Z.flac"),
    ),
    NamePattern(
        "iso-basic",
        "Frontier Labs BAR, JASCO AMAR, Ocean Sonics icListen, Loggerhead",
        rf"{_DATE}T{_TIME}(?P<fraction>\d{{3}})?",
        (
            "20230101T120000+1000_REC_-27.3+153.1.flac",
            "AMAR123.20230101T120000Z.wav",
            "SBW1234_20230101T120000.000Z.wav",
        ),
    ),
    NamePattern(
        "date-time",
        "AudioMoth; Song Meter; Ocean Sonics icListen; Cornell Swift; MARS; PAMGuard",
        rf"{_DATE}[ _$.-]{_TIME}",
        (
            "20231124_161500.WAV",
            "24F319016080B3C7_20231124_161500T.WAV",
            "SITE_20230101_120000.wav",
            "SITE_0+1_20230101$120000.wav",
            "SITE_0+1_20230101_120000_000.wav",
            "SBW1234_20230101_120000.wav",
            "SwiftOne_20230101_120000_-0400.wav",
            "PAM_20230101_120000_000.wav",
        ),
    ),
    NamePattern(
        "birdnet-pi",
        "BirdNET-Pi, Haikubox",
        rf"{_DASHED}-birdnet-(?:RTSP_\d+-)?{_MARKED}",
        ("2023-01-01-birdnet-12:00:00.wav", "2023-01-01-birdnet-RTSP_1-12:00:00.wav"),
    ),
    NamePattern(
        "separated",
        "Pettersson (after renaming), Avisoft, Peersonic, OwlSense, Anabat Swift, macOS",
        r"(?P<year>\d{4})(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)(?:[ _T-]{1,2}| at )"
        r"(?P<hour>\d{1,2})(?P<mark>[:_.-])(?P<minute>\d\d)(?P=mark)(?P<second>\d\d)",
        (
            "M00012_2023-01-01_12-00-00.wav",
            "ABC2023-01-01_12_00_00_M00667.wav",
            "Wav0123_2023_01_01__12_00_00.wav",
            "Recording 2023-01-01 12.00.00 PM.wav",
        ),
    ),
    NamePattern(
        "dashed-date",
        "a date with dashes and a time without",
        rf"(?P<year>\d{{4}})(?P<dash>[-_.])(?P<month>\d\d)(?P=dash)(?P<day>\d\d)[ _T-]{_TIME}",
        ("site_2023-01-01_120000.wav",),
    ),
    NamePattern(
        "letters",
        "hours, minutes and seconds with letters",
        r"(?P<year>\d{4})(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)[ _T-]{1,2}"
        r"(?P<hour>\d\d)h(?P<minute>\d\d)m(?P<second>\d\d)s?",
        ("2023-01-01 12h00m00s.wav",),
    ),
    NamePattern(
        "minutes",
        "ISO 8601 without seconds",
        rf"{_DATE}T(?P<hour>\d\d)(?P<minute>\d\d)(?![.,]\d)",
        ("20230101T1200Z.wav",),
    ),
    NamePattern(
        "dashed-minutes",
        "Arbimon: without seconds",
        rf"{_DASHED}[_T ](?P<hour>\d\d)[:-](?P<minute>\d\d)(?![-:_.,]\d)",
        ("site-2023-01-01_12-00.wav",),
    ),
    NamePattern(
        "day-of-year",
        "ISO 8601 with the day of the year",
        rf"(?P<year>\d{{4}})[-.](?P<year_day>\d{{3}})[_T-]{_TIME}",
        ("2023-001_120000.wav",),
    ),
    NamePattern(
        "soundtrap",
        "Ocean Instruments SoundTrap",
        rf"\d{{3,}}\.(?P<year2>\d\d)(?P<month>\d\d)(?P<day>\d\d){_TIME}",
        ("5678.230101120000.wav",),
    ),
    NamePattern(
        "harp",
        "HARP, as Triton writes it",
        rf"{_SHORT_DATE}_{_TIME}(?=(?:\.d\d+)?\.x\Z)",
        ("CINMS_C_01_230101_120000.x.wav", "SITE_A_01_230101_120000.d100.x.wav"),
        utc=True,
    ),
    NamePattern(
        "short-year",
        "WISPR, gliders: year, month and day of two digits each",
        rf"(?<!\d{{6}}[_-]){_SHORT_DATE}(?P<dash>[_-]){_TIME}(?![_-]\d{{6}}(?!\d))",
        ("WISPR_230101_120000.flac", "pmar_230101-120000.wav"),
    ),
    NamePattern(
        "digits",
        "loggers that write fourteen digits, or seventeen with milliseconds",
        rf"{_DATE}{_TIME}(?P<fraction>\d{{3}})?",
        ("20230101120000.wav",),
    ),
    NamePattern(
        "audiomoth-hex",
        "AudioMoth until firmware 1.2.1: seconds since 1970 in capital hexadecimal digits",
        r"\A(?=\d*[A-F])(?P<epoch>[0-9A-F]{8})\Z",
        ("5E8A1B2C.WAV",),
        utc=True,
    ),
)


class NameTime(NamedTuple):
    """The time in a file's name."""

    utc: datetime | None  # None: the name has no time, or one that is not understood
    unread: str | None = None  # the part of a time, or behind it, that is not understood


def read_name(name: str, zone: tzinfo) -> NameTime:
    """The time in a recorder's file name; a name without a zone is in `zone`.

    It is read whole or not at all: with the fraction, the AM or PM and the zone that follow it. If
    letters or signs follow that may belong to it and are not understood, there is no time.
    """
    stem = _SUFFIX.sub("", name)
    for regex, is_utc in _compiled():
        home = UTC if is_utc else zone
        match = regex.search(stem)
        while match:
            groups = match.groupdict()
            if time_of(groups, home):
                return _with_tail(match, home)
            if _is_midnight(groups) and time_of(groups | {"hour": "00"}, home):
                return NameTime(None, match[0])
            match = regex.search(stem, match.start() + 1)
    return NameTime(None)


@cache  # when the first name is read: not every command reads names
def _compiled() -> tuple[tuple[re.Pattern[str], bool], ...]:
    """The pattern of each of NAME_PATTERNS, and whether its times are UTC."""
    return tuple(
        (re.compile(f"{EDGE}{pattern.regex}{EDGE}", re.ASCII), pattern.utc)
        for pattern in NAME_PATTERNS
    )


def _with_tail(match: re.Match[str], zone: tzinfo) -> NameTime:
    """The time of a match, which exists, with what follows it."""
    text = match.string[match.end() :]
    tail = read_tail(text, iso=bool(re.search(r"T\d\d:?\d\d(?::?\d\d)?\Z", match[0])))
    time = time_of(match.groupdict(), zone, tail) if tail.is_whole else None
    return NameTime(time, None if time else text)


def _is_midnight(groups: Mapping[str, str | None]) -> bool:
    """Whether the time is 24:00:00, the end of a day to some and its beginning to others."""
    clock = [groups.get(name) for name in ("hour", "minute", "second")]
    return clock[0] == "24" and clock[1] == "00" and clock[2] in ("00", None)


def unread_names(paths: Iterable[str]) -> list[str]:
    """The paths, with "/" between folders, whose name holds a time that is not understood."""
    return [path for path in paths if read_name(path.rpartition("/")[2], UTC).unread]
