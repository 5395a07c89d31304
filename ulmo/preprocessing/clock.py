"""When a recording was made: by a user's pattern, by its header, else by its name.

A header that is broken, and a name that tells nothing, are simply no time.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

from ulmo.config import ClockSettings
from ulmo.preprocessing.metadata import Broadcast, read_metadata
from ulmo.preprocessing.timestamps import TimestampPattern, find_time, time_of_name
from ulmo.preprocessing.zones import parse_timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 24 * 3600
SAME_TIME = 2
"""Seconds within which `bext` says the same twice, once in samples and once in whole seconds."""

_DATE = r"(?P<year>\d{4})[-_:/. ](?P<month>\d\d)[-_:/. ](?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)[-_:. ](?P<minute>\d\d)[-_:. ](?P<second>\d\d)"
ISO = re.compile(
    r"\A(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?"
    r"\s?(?P<zone>Z|[+-]\d\d:?\d\d|[+-]\d\d)?\Z",
    re.ASCII,
)
AUDIOMOTH = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4}) "
    r"(?:\((?P<zone>UTC(?:[+-]\d{1,2}(?::\s?\d{1,2})?)?)\) (?:by|during)|by AudioMoth)",
    re.ASCII,
)
"""Firmware 1.0 names no zone, and means UTC: its clock knew no other."""
BROADCAST = re.compile(f"{_DATE} {_TIME}", re.ASCII)


class Start(NamedTuple):
    """When a recording's first sample was taken, and what says so."""

    utc: datetime
    """Aware, in UTC, to the microsecond."""
    source: str
    """pattern, guano, comment, bext, date or name."""

    def after(self, seconds: float) -> datetime:
        """UTC so many seconds later, to the microsecond."""
        return self.utc + timedelta(seconds=seconds)

    @property
    def microseconds(self) -> int:
        """Since 1970."""
        return (self.utc - EPOCH) // timedelta(microseconds=1)

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet about the time."""
        return {"start_utc": self.microseconds, "start_source": self.source}


class Clock(NamedTuple):
    """How the times of recordings are told."""

    pattern: TimestampPattern | None
    timezone: tzinfo

    @classmethod
    def of(cls, settings: ClockSettings) -> Self:
        """The clock of some settings; UserError where they cannot work."""
        pattern = settings.timestamp_pattern
        return cls(
            None if pattern is None else TimestampPattern.parse(pattern),
            parse_timezone(settings.timezone),
        )

    def start(self, path: Path) -> Start | None:
        """When a recording began; None where nothing tells it."""
        return recording_start(path, pattern=self.pattern, timezone=self.timezone)


def recording_start(
    path: Path, *, pattern: TimestampPattern | None = None, timezone: tzinfo | None = None
) -> Start | None:
    """When a recording began, by the first of these that tells a time that exists.

    The name, by `pattern`; the header: GUANO, AudioMoth's comment, `bext`, DATE; the name, as
    recorders write it. Times without a zone are in `timezone` (default UTC). None where nothing
    tells it; no file is a reason to raise.
    """
    zone = timezone or UTC
    if pattern is not None and (time := pattern.find(path.name, zone)):
        return Start(time, "pattern")
    if found := _start_of_header(path, zone):
        return found
    time = time_of_name(path.name, zone)
    return Start(time, "name") if time else None


def _start_of_header(path: Path, zone: tzinfo) -> Start | None:
    try:
        header = read_metadata(path)
    except OSError:
        return None
    for line in (header.guano or "").split("\n"):
        key, _, stamp = line.partition(":")
        if key.strip() == "Timestamp" and (time := find_time(ISO, stamp.strip(" \t\r\0"), zone)):
            return Start(time, "guano")
    for comment in header.comments:
        if time := find_time(AUDIOMOTH, comment, UTC):
            return Start(time, "comment")
    if header.bext and (time := _broadcast_time(header.bext, zone)):
        return Start(time, "bext")
    time = find_time(ISO, header.date or "", zone)
    return Start(time, "date") if time else None


def _broadcast_time(bext: Broadcast, zone: tzinfo) -> datetime | None:
    """OriginationDate and OriginationTime, refined by TimeReference where both tell one time.

    TimeReference counts samples since midnight, but of a timecode: a recorder that runs on the
    time of day has it say what OriginationTime says, to the sample; elsewhere it is a place on
    an editor's timeline, or begins at one hour, and is none of the clock's. Of most writers 0 is
    no midnight, but nothing.
    """
    local = find_time(BROADCAST, f"{bext.date} {bext.time}", UTC)
    if local is None:
        return None
    seconds = local.hour * 3600 + local.minute * 60 + local.second
    late = Fraction(0)
    if bext.reference and bext.sample_rate:
        late = Fraction(bext.reference, bext.sample_rate) - seconds
        late -= DAY * round(late / DAY)
    if abs(late) < SAME_TIME:
        local += timedelta(microseconds=round(late * 1_000_000))
    return local.replace(tzinfo=zone).astimezone(UTC)
