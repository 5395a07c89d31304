"""Time zones as people and recorders write them."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ulmo.config import UserError

OFFSET = re.compile(
    r"(?:UTC)?(?P<sign>[+-])"
    r"(?:(?P<hours>\d\d)(?P<minutes>\d\d)|(?P<hour>\d{1,2})(?::\s?(?P<minute>\d{1,2}))?)",
    re.ASCII,
)
MAX_OFFSET = timedelta(hours=14)
FOREIGN_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""In folders of zones, and not for us: another thing on each machine, or with leap seconds."""


def parse_timezone(text: str) -> tzinfo:
    """A zone by its IANA name, or an offset such as +02:00, -0330 or UTC+1; else UserError."""
    try:
        return parse_offset(text)
    except ValueError:
        pass
    try:
        if not text.startswith(FOREIGN_ZONES):
            return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # it depends on the text which one zoneinfo raises
        pass
    raise UserError(
        f"timezone {text!r} is not known: give an offset such as +02:00, or an IANA name "
        "such as Europe/Berlin"
    )


def parse_offset(text: str) -> tzinfo:
    """The zone of an offset, of Z or of UTC; ValueError where a text is none."""
    if text in ("Z", "UTC"):
        return UTC
    match = OFFSET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no offset")
    minutes = int(match["minutes"] or match["minute"] or 0)
    offset = timedelta(hours=int(match["hours"] or match["hour"]), minutes=minutes)
    if minutes > 59 or offset > MAX_OFFSET:
        raise ValueError(f"{text!r} is no offset")
    return timezone(-offset if match["sign"] == "-" else offset)
