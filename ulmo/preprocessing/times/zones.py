"""Time zones, and what may follow a time in text: a fraction, AM or PM, a zone."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ulmo.config import UserError

# Names that mean one zone wherever they are used, in hours from UTC. The American ones are those of
# RFC 5322, section 4.3, without CST and CDT.
ZONE_HOURS = {
    **{"UT": 0, "UTC": 0, "GMT": 0, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3},
    **{"EDT": -4, "EST": -5, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8},
    **{"NDT": -2.5, "NST": -3.5, "AKDT": -8, "AKST": -9, "HDT": -9, "HST": -10, "BRT": -3},
    **{"AWST": 8, "ACST": 9.5, "ACDT": 10.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13},
    **{"SAST": 2, "WIB": 7, "HKT": 8, "SGT": 8, "JST": 9, "KST": 9, "CHST": 10},
}
# Names of several zones, or words: Central or Cuba or China, British or Bangladesh, India or
# Israel or Ireland, Atlantic or Arabia, Gulf or Guam, Samoa or Singapore.
AMBIGUOUS_ZONES = {
    *("CST", "CDT", "BST", "IST", "IDT", "AST", "ADT", "GST", "SST", "AMT", "AMST", "ECT", "MET"),
    *("PKT", "PHT", "CAT", "EAT", "WAT", "ART", "WEST", "EAST", "WAST", "IRST", "LMT", "WET"),
    # Names that the tz database had until 2016, and that no hours are given for here.
    *("YEKT", "OMST", "KRAT", "NOVT", "IRKT", "YAKT", "VLAT", "MAGT", "SAKT", "PETT", "SAMT"),
    *("ULAT", "HOVT", "HKST", "IRDT", "ALMT", "QYZT", "WITA", "CLST", "PYST", "UYST", "EGST"),
    *("WGST", "PMST", "LHST", "FJST", "VOST", "DAVT", "MAWT", "SYOT", "TAHT", "GALT", "BNT"),
}
_UNKNOWN_ZONE = re.compile(r"[A-Z][SD]T|[A-Z]{2}DT|(?:UTC|GMT).*")  # as names of zones look
_OFFSET = re.compile(
    r"(?:UTC?|GMT)?\s?(?P<sign>[+-])"
    r"(?:(?P<hours>\d\d)(?P<minutes>\d\d)|(?P<hour>\d{1,2})(?::\s?(?P<minute>\d{1,2}))?)",
    re.ASCII | re.IGNORECASE,
)
_MAX_OFFSET = timedelta(hours=14)
# Not accepted, though zoneinfo knows them: they differ by machine, or count leap seconds.
_FOREIGN_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")

_SPACES = " \u00a0\u202f"  # the last is what macOS puts before PM
_BETWEEN = rf"[{_SPACES}_.(\[-]{{0,2}}"
_END = r"(?![A-Za-z\d])"
# Digits behind a point or comma; behind an underscore only milli- or microseconds. Not the
# beginning of an identifier such as .5AFCD4F4.
_FRACTION = re.compile(r"(?:[.,](\d+)(?!\d|[A-Za-z]+\d)|_(\d{3}|\d{6})(?!\d))", re.ASCII)
_LETTERS = re.compile(r"[A-Za-z]*", re.ASCII)
_HALF = re.compile(rf"{_BETWEEN}([AaPp])\.?[Mm]\.?{_END}", re.ASCII)
# Other minutes exist in no zone: such digits are a counter. In +05-30 they may be either.
_MINUTES = "(?:00|15|30|45)"
_ZONE = re.compile(
    rf"(?P<between>{_BETWEEN})(?P<zone>(?i:UTC?|GMT)?[{_SPACES}]?[+-]\d{{1,2}}"
    rf"(?::?{_MINUTES}|(?![_-]{_MINUTES}(?!\d)))|[Zz]|[A-Za-z]{{2,4}}(?![+-]\d))"
    rf"{_END}(?![.:,]\d)",
    re.ASCII,
)
_WORD = re.compile(rf"[{_SPACES}_.(\[-]+([A-Za-z]+(?:[+-]?\d*))", re.ASCII)
_SIGNED = re.compile(rf"[{_SPACES}_.]?(?:\+\d|-\d{{1,4}}(?!\d))", re.ASCII)  # more digits: a date
_APART = re.compile(rf"\Z|[{_SPACES}_.()\[\]{{}},;@~#&+-]")


class Tail(NamedTuple):
    """What follows the seconds of a time, as far as it belongs to it."""

    fraction: str | None = None  # digits of a second
    half: str | None = None  # a or p: before or after noon, of a time of 12 hours
    zone: tzinfo | None = None
    rest: str = ""  # what follows the time

    @property
    def is_whole(self) -> bool:
        """Whether the rest is certainly no part of the time.

        It is apart from it, and does not begin with a sign and digits, nor with a word that may
        name a zone.
        """
        if not _APART.match(self.rest):
            return False
        if self.zone is not None:
            return True
        word = _WORD.match(self.rest)
        return not _SIGNED.match(self.rest) and not (word and _may_be_zone(word[1]))


def read_tail(text: str, *, iso: bool = False) -> Tail:
    """Read what follows a time.

    A minus sign and digits are a zone directly after a time in ISO 8601 (`iso`) or a fraction,
    after a space or an underscore, after UTC or GMT, and with a colon. Elsewhere they may be a
    counter.

    >>> read_tail(".25 PM EST_site").rest
    '_site'
    """
    fraction = half = zone = None
    text = text.replace("\u2212", "-")
    if (match := _FRACTION.match(text)) and (match[1] or _ends_or_zone(text[match.end() :])):
        fraction, text = match[1] or match[2], text[match.end() :]
    if match := _HALF.match(text):
        half, text = match[1].lower(), text[match.end() :]
    if match := _ZONE.match(text):
        name, between = match["zone"].strip(), match["between"]
        apart = between[-1:] in ("_", " ", "(", "[") and len(name) in (3, 5)
        direct = not between and bool(iso or fraction)
        counter = re.fullmatch(r"-\d+", name) and not (apart or direct)
        if not counter and (zone := parse_zone(name)):
            text = text[match.end() :]
    if half is None and zone is None and re.match(rf"T{_END}", text):
        text = text[1:]  # AudioMoth: a triggered recording
    return Tail(fraction, half, zone, text)


def parse_zone(text: str) -> tzinfo | None:
    """The zone of Z, of a name in ZONE_HOURS in capitals, or of an offset; None for others."""
    if text.upper() in ("Z", "UTC", "UT", "GMT"):
        return UTC
    if text in ZONE_HOURS:
        return timezone(timedelta(hours=ZONE_HOURS[text]))
    try:
        return parse_offset(text)
    except ValueError:
        return None


def _ends_or_zone(text: str) -> bool:
    """Whether no letters follow, or those of a zone: _123 and _123Z are fractions, _123m is not."""
    match = _LETTERS.match(text)
    return match is None or not match[0] or parse_zone(match[0]) is not None


def _may_be_zone(word: str) -> bool:
    known = ZONE_HOURS.keys() | AMBIGUOUS_ZONES
    begins = len(word) == 4 and word.isupper() and word[:3] in known
    is_like = begins or _UNKNOWN_ZONE.fullmatch(word.upper()) is not None
    return word in known or word.upper() in ZONE_HOURS or is_like


def parse_timezone(text: str) -> tzinfo:
    """A zone by its IANA name, or by an offset such as +02:00, -0330 or UTC+1; else UserError."""
    if text.upper() in ("Z", "UTC"):
        return UTC
    try:
        return parse_offset(text)
    except ValueError:
        pass
    try:
        if not text.startswith(_FOREIGN_ZONES):
            return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # zoneinfo raises any of these, depending on the text
        pass
    raise UserError(
        f"timezone {text!r} is not known: give an offset such as +02:00, or an IANA name "
        "such as Europe/Berlin"
    )


def parse_offset(text: str) -> tzinfo:
    """The zone of an offset, with UTC or GMT before it or not; else ValueError."""
    if match := _OFFSET.fullmatch(text):
        minutes = int(match["minutes"] or match["minute"] or 0)
        offset = timedelta(hours=int(match["hours"] or match["hour"]), minutes=minutes)
        if minutes <= 59 and offset <= _MAX_OFFSET:
            return timezone(-offset if match["sign"] == "-" else offset)
    raise ValueError(f"{text!r} is not an offset")
