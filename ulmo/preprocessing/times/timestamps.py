"""Times in text: stamps of headers, and patterns that a user writes.

Each regular expression has named groups: year (or year2), month (or month_name) and day (or
year_day), hour, half (a or p), minute, second, fraction, zone; or epoch, seconds since 1970 in
hexadecimal.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from ulmo.config import UserError
from ulmo.preprocessing.times.zones import Tail, parse_zone, read_tail

YEARS = range(1990, 2101)  # any other number is not taken for a year
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
EDGE = r"(?:(?<!\d)|(?!\d))"  # not between two digits
# AudioMoth recorders wrote hexadecimal names between these.
FIRST_HEX, LAST_HEX = datetime(2017, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
_STAMP = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)",
    re.ASCII,
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
    "I": r"(?P<hour>\d\d)",
    "p": r"(?P<half>[AaPp])\.?[Mm]\.?",
    "M": r"(?P<minute>\d\d)",
    "S": r"(?P<second>\d\d)",
    "f": r"(?P<fraction>\d{1,9})",
    "z": r"(?P<zone>(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?|Z|[A-Z]{2,4})",
    "%": "%",
}
NEEDED = {"M": ("H", "I"), "S": ("M",), "f": ("S",), "I": ("p",), "p": ("I",)}
SAME = (("Y", "y"), ("m", "b"), ("H", "I"))  # pairs of which a pattern has one
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
        needed = NEEDED.get(letter, (letter,))
        if not set(needed) & set(used):
            raise _invalid(text, f"%{letter} needs %{' or %'.join(needed)}")
    for first, second in (*SAME, ("j", "m"), ("j", "b"), ("j", "d")):
        if {first, second} <= set(used):
            raise _invalid(text, f"%{first} and %{second} mean the same")
    if not ({"Y", "y"} & set(used) and ("j" in used or ("d" in used and {"m", "b"} & set(used)))):
        raise _invalid(text, "it has no date of year, month and day")
    regex = "".join(DIRECTIVES[p[1:]] if p[0] == "%" else re.escape(p) for p in parts)
    return re.compile(f"{EDGE}{regex}{EDGE}", re.ASCII)


def _invalid(text: str, reason: str) -> UserError:
    return UserError(f"timestamp pattern {text!r}: {reason}, {EXAMPLE}")


def find_time(regex: re.Pattern[str], text: str, zone: tzinfo) -> datetime | None:
    """The first match that is an existing time, in UTC; a text without a zone is in `zone`."""
    times = (time_of(match.groupdict(), zone) for match in regex.finditer(text))
    return next((time for time in times if time is not None), None)


def read_stamp(text: str, zone: tzinfo) -> datetime | None:
    """The time of a text that is nothing but a time, such as 2023-01-01T12:00:00.5+10:00, in UTC.

    A text without a zone is in `zone`. None for any other text.

    >>> read_stamp("2023-01-01 02:00:00 PM EST", UTC)
    datetime.datetime(2023, 1, 1, 19, 0, tzinfo=datetime.timezone.utc)
    """
    text = text.strip(" \t\r\n\0")
    match = _STAMP.match(text)
    tail = read_tail(text[match.end() :], iso=True) if match else None
    return time_of(match.groupdict(), zone, tail) if match and tail and not tail.rest else None


def time_of(
    groups: Mapping[str, str | None], zone: tzinfo, tail: Tail | None = None
) -> datetime | None:
    """The time of an expression's groups and of what follows them, in UTC.

    None if it does not exist. When clocks change, a local time that occurs twice is the earlier
    one, and one that does not occur is counted from before the change (PEP 495, fold 0).
    """
    given = {name: value for name, value in groups.items() if value is not None}
    if tail:
        zone = tail.zone or zone
        given |= {"fraction": tail.fraction} if tail.fraction else {}
        given |= {"half": tail.half} if tail.half else {}
    if "epoch" in given:
        time = datetime.fromtimestamp(int(given["epoch"], 16), UTC)
        return time if FIRST_HEX <= time < LAST_HEX else None
    return _from_parts(given, zone)


def _from_parts(given: Mapping[str, str], zone: tzinfo) -> datetime | None:
    year = int(given.get("year") or given["year2"])
    if "year2" in given:  # as in POSIX: 69 to 99 are in the last century
        year += 1900 if year >= 69 else 2000
    if year not in YEARS:
        return None
    if "zone" in given:
        named = parse_zone(given["zone"])
        if named is None:
            return None
        zone = named
    hour = int(given.get("hour", 0))
    if "half" in given:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (given["half"].lower() == "p")
    try:
        name = given.get("month_name")
        month = MONTHS.index(name.lower()) + 1 if name else int(given.get("month", 1))
        days = timedelta(days=int(given.get("year_day", 1)) - 1)
        date = datetime(year, month, int(given.get("day", 1))) + days
        if date.year != year:  # it has no such day
            return None
        local = date.replace(
            hour=hour,
            minute=int(given.get("minute", 0)),
            second=int(given.get("second", 0)),
            microsecond=int(given.get("fraction", "0")[:6].ljust(6, "0")),
            tzinfo=zone,
        )
        return local.astimezone(UTC)
    except ValueError:
        return None
