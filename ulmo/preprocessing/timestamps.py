"""Times and time zones in text: how recorders name their files, and patterns that a user writes.

Each regular expression has named groups: year (or year2), month (or month_name) and day (or
year_day), hour, minute, second, fraction, zone; or epoch, seconds since 1970 in hexadecimal.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ulmo.config import UserError

YEARS = range(1990, 2101)  # any other number is not taken for a year
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
DATE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
TIME = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
DASHED = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
FRACTION = r"(?:[.,](?P<fraction>\d{1,9}))?"
# Other minutes exist in no zone: such digits are a counter after a hyphen.
ZONE = r"(?P<zone>Z(?![A-Za-z])|[+-](?:0\d|1[0-4]):?(?:00|15|30|45))"
EDGE = r"(?:(?<!\d)|(?!\d))"  # not between two digits
# AudioMoth recorders wrote hexadecimal names between these.
FIRST_HEX, LAST_HEX = datetime(2017, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
OFFSET = re.compile(
    r"(?:UTC)?(?P<sign>[+-])"
    r"(?:(?P<hours>\d\d)(?P<minutes>\d\d)|(?P<hour>\d{1,2})(?::\s?(?P<minute>\d{1,2}))?)",
    re.ASCII,
)
MAX_OFFSET = timedelta(hours=14)
# Not accepted, though zoneinfo knows them: they differ by machine, or count leap seconds.
FOREIGN_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")


class NamePattern(NamedTuple):
    """How recorders name their files."""

    name: str
    recorder: str  # recorders known to use it
    regex: str  # searched in the file's name; it must not touch further digits
    examples: tuple[str, ...]
    utc: bool = False  # whether these names are in UTC, whatever the recorder's zone


# Tried in this order: the first that gives an existing time is used.
NAME_PATTERNS = (
    NamePattern(
        "ooi",
        "hydrophones of the Ocean Observatories Initiative",
        rf"[A-Z\d]{{2}}-[A-Z\d]+-[A-Z\d]*-[A-Z]DH-{DASHED}T(?P<hour>\d\d):?(?P<minute>\d\d):?"
        rf"(?P<second>\d\d){FRACTION}",
        ("OO-HYEA2--YDH-2019-07-04T00:00:15.000015.flac",),
        utc=True,
    ),
    NamePattern(
        "iso",
        "ISO 8601; scripts and NoiseNet",
        rf"{DASHED}T(?P<hour>\d\d)(?P<mark>[:_-])(?P<minute>\d\d)(?P=mark)(?P<second>\d\d)"
        rf"{FRACTION}{ZONE}?",
        ("2023-01-01T12:00:00.250+10:00.wav", "site_2023-01-01T12-00-00Z.flac"),
    ),
    NamePattern(
        "iso-basic",
        "Frontier Labs BAR, JASCO AMAR, Ocean Sonics icListen",
        rf"{DATE}T{TIME}{FRACTION}{ZONE}?",
        (
            "20230101T120000+1000_REC_-27.3+153.1.flac",
            "AMAR123.20230101T120000Z.wav",
            "SBW1234_20230101T120000.000Z.wav",
        ),
    ),
    NamePattern(
        "swift",
        "Cornell Swift and SwiftOne",
        rf"{DATE}_{TIME}_{ZONE}",
        ("SwiftOne_20230101_120000_-0400.wav",),
    ),
    NamePattern(
        "date-time",
        "AudioMoth; Wildlife Acoustics Song Meter (SM2, SM3, SM4, Mini); Ocean Sonics icListen",
        rf"{DATE}[ _$-]{TIME}(?:{ZONE}|_(?P<fraction>\d{{3}}))?",
        (
            "20231124_161500.WAV",
            "24F319016080B3C7_20231124_161500T.WAV",
            "SITE_20230101_120000.wav",
            "SITE_0+1_20230101$120000.wav",
            "SITE_0+1_20230101_120000_000.wav",
            "SBW1234_20230101_120000.wav",
        ),
    ),
    NamePattern(
        "birdnet-pi",
        "BirdNET-Pi, Haikubox",
        rf"{DASHED}-birdnet-(?:RTSP_\d+-)?"
        r"(?P<hour>\d\d)(?P<mark>[:_-])(?P<minute>\d\d)(?P=mark)(?P<second>\d\d)",
        ("2023-01-01-birdnet-12:00:00.wav", "2023-01-01-birdnet-RTSP_1-12:00:00.wav"),
    ),
    NamePattern(
        "separated",
        "Pettersson (after renaming), Avisoft, Peersonic, OwlSense",
        r"(?P<year>\d{4})(?P<dash>[-_.])(?P<month>\d\d)(?P=dash)(?P<day>\d\d)[ _T-]{1,2}"
        r"(?P<hour>\d\d)(?P<mark>[:_.-])(?P<minute>\d\d)(?P=mark)(?P<second>\d\d)",
        (
            "M00012_2023-01-01_12-00-00.wav",
            "ABC2023-01-01_12_00_00_M00667.wav",
            "Wav0123_2023_01_01__12_00_00.wav",
        ),
    ),
    NamePattern(
        "soundtrap",
        "Ocean Instruments SoundTrap",
        rf"\d{{3,}}\.(?P<year2>\d\d)(?P<month>\d\d)(?P<day>\d\d){TIME}",
        ("5678.230101120000.wav",),
    ),
    NamePattern(
        "digits",
        "loggers that write fourteen digits",
        rf"{DATE}{TIME}",
        ("20230101120000.wav",),
    ),
    NamePattern(
        "audiomoth-hex",
        "AudioMoth until firmware 1.2.1: seconds since 1970 in capital hexadecimal digits",
        r"\A(?=\d*[A-F])(?P<epoch>[0-9A-F]{8})(?=\.[^.]*\Z|\Z)",
        ("5E8A1B2C.WAV",),
        utc=True,
    ),
)

# The directives of strptime, each with exactly this number of digits.
DIRECTIVES = {
    "Y": r"(?P<year>\d{4})",
    "y": r"(?P<year2>\d\d)",
    "m": r"(?P<month>\d\d)",
    "b": rf"(?P<month_name>(?i:{'|'.join(MONTHS)}))",
    "d": r"(?P<day>\d\d)",
    "j": r"(?P<year_day>\d{3})",
    "H": r"(?P<hour>\d\d)",
    "M": r"(?P<minute>\d\d)",
    "S": r"(?P<second>\d\d)",
    "f": r"(?P<fraction>\d{1,9})",
    "z": r"(?P<zone>Z|[+-]\d\d:?\d\d)",
    "%": "%",
}
NEEDED = {"M": "H", "S": "M", "f": "S"}
EXAMPLE = "as in --timestamp-pattern %Y%m%d_%H%M%S"


def parse_pattern(text: str) -> re.Pattern[str]:
    """The expression for a user's pattern of strptime's directives and plain text.

    UserError if they cannot give a time.

    >>> find_time(parse_pattern("REC_%y%m%d-%H%M"), "x_REC_230101-1200.wav", UTC)
    datetime.datetime(2023, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)
    """
    parts = re.findall(r"%.?|[^%]+", text, re.DOTALL)
    used = [part[1:] for part in parts if part[0] == "%" and part != "%%"]
    for letter in used:
        if letter not in DIRECTIVES:
            known = " ".join(f"%{name}" for name in DIRECTIVES)
            raise _invalid(text, f"{'%' + letter!r} is not one of {known}")
        if used.count(letter) > 1:
            raise _invalid(text, f"%{letter} occurs twice")
        if NEEDED.get(letter, letter) not in used:
            raise _invalid(text, f"%{letter} needs %{NEEDED[letter]}")
    for first, second in (("Y", "y"), ("m", "b"), ("j", "m"), ("j", "b"), ("j", "d")):
        if {first, second} <= set(used):
            raise _invalid(text, f"%{first} and %{second} mean the same")
    if not ({"Y", "y"} & set(used) and ("j" in used or ("d" in used and {"m", "b"} & set(used)))):
        raise _invalid(text, "it has no date of year, month and day")
    regex = "".join(DIRECTIVES[p[1:]] if p[0] == "%" else re.escape(p) for p in parts)
    return re.compile(f"{EDGE}{regex}{EDGE}", re.ASCII)


def _invalid(text: str, reason: str) -> UserError:
    return UserError(f"timestamp pattern {text!r}: {reason}, {EXAMPLE}")


def time_of_name(name: str, zone: tzinfo) -> datetime | None:
    """The time in a recorder's file name, in UTC; a name without a zone is in `zone`."""
    for pattern in NAME_PATTERNS:
        regex = re.compile(f"{EDGE}{pattern.regex}{EDGE}", re.ASCII)  # re keeps it
        if time := find_time(regex, name, UTC if pattern.utc else zone):
            return time
    return None


def find_time(regex: re.Pattern[str], text: str, zone: tzinfo) -> datetime | None:
    """The first match that is an existing time, in UTC; a text without a zone is in `zone`."""
    times = (_utc(match.groupdict(), zone) for match in regex.finditer(text))
    return next((time for time in times if time is not None), None)


def _utc(groups: Mapping[str, str | None], zone: tzinfo) -> datetime | None:
    """The time that the groups give, in UTC; None if it does not exist.

    When clocks change, a local time that occurs twice is the earlier one, and one that does not
    occur is counted from before the change (PEP 495, fold 0).
    """
    given = {name: value for name, value in groups.items() if value is not None}
    if "epoch" in given:
        time = datetime.fromtimestamp(int(given["epoch"], 16), UTC)
        return time if FIRST_HEX <= time < LAST_HEX else None
    year = int(given.get("year") or given["year2"])
    if "year2" in given:  # as in POSIX: 69 to 99 are in the last century
        year += 1900 if year >= 69 else 2000
    if year not in YEARS:
        return None
    try:
        name = given.get("month_name")
        month = MONTHS.index(name.lower()) + 1 if name else int(given.get("month", 1))
        days = timedelta(days=int(given.get("year_day", 1)) - 1)
        date = datetime(year, month, int(given.get("day", 1))) + days
        if date.year != year:  # it has no such day
            return None
        local = date.replace(
            hour=int(given.get("hour", 0)),
            minute=int(given.get("minute", 0)),
            second=int(given.get("second", 0)),
            microsecond=int(given.get("fraction", "0")[:6].ljust(6, "0")),
            tzinfo=_parse_offset(given["zone"]) if "zone" in given else zone,
        )
        return local.astimezone(UTC)
    except ValueError:
        return None


def parse_timezone(text: str) -> tzinfo:
    """A zone by its IANA name, or by an offset such as +02:00, -0330 or UTC+1; else UserError."""
    try:
        return _parse_offset(text)
    except ValueError:
        pass
    try:
        if not text.startswith(FOREIGN_ZONES):
            return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # zoneinfo raises any of these, depending on the text
        pass
    raise UserError(
        f"timezone {text!r} is not known: give an offset such as +02:00, or an IANA name "
        "such as Europe/Berlin"
    )


def _parse_offset(text: str) -> tzinfo:
    """The zone of an offset, of Z or of UTC; else ValueError."""
    if text in ("Z", "UTC"):
        return UTC
    if match := OFFSET.fullmatch(text):
        minutes = int(match["minutes"] or match["minute"] or 0)
        offset = timedelta(hours=int(match["hours"] or match["hour"]), minutes=minutes)
        if minutes <= 59 and offset <= MAX_OFFSET:
            return timezone(-offset if match["sign"] == "-" else offset)
    raise ValueError(f"{text!r} is not an offset")
