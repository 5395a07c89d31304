"""When a recording was made: by a user's pattern, else by its header, else by its name.

A broken header or a name without a time is not an error: the time is then unknown.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import ClockSettings
from ulmo.preprocessing.harp import harp_timing
from ulmo.preprocessing.metadata import Broadcast, Metadata, read_metadata
from ulmo.preprocessing.timestamps import find_time, parse_pattern, parse_timezone, time_of_name
from ulmo.preprocessing.timing import EPOCH as EPOCH
from ulmo.preprocessing.timing import WHOLE as WHOLE
from ulmo.preprocessing.timing import Span as Span
from ulmo.preprocessing.timing import Start as Start
from ulmo.preprocessing.timing import Timing as Timing
from ulmo.storage.plain_file import open_file, signature_of

DAY = 24 * 3600
SAME_TIME = 2  # seconds by which the two times in a `bext` chunk may differ

_DATE = r"(?P<year>\d{4})[-_:/. ](?P<month>\d\d)[-_:/. ](?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)[-_:. ](?P<minute>\d\d)[-_:. ](?P<second>\d\d)"
ISO = re.compile(
    r"\A(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?"
    r"\s?(?P<zone>Z|[+-]\d\d:?\d\d|[+-]\d\d)?\Z",
    re.ASCII,
)
# Firmware 1.0 names no zone and means UTC, the only zone of its clock.
AUDIOMOTH = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4}) "
    r"(?:\((?P<zone>UTC(?:[+-]\d{1,2}(?::\s?\d{1,2})?)?)\) (?:by|during)|by AudioMoth)",
    re.ASCII,
)
BROADCAST = re.compile(f"{_DATE} {_TIME}", re.ASCII)


class Clock(NamedTuple):
    """How to find the start times of recordings."""

    pattern: re.Pattern[str] | None = None
    timezone: tzinfo = UTC

    @classmethod
    def of(cls, settings: ClockSettings) -> Self:
        """The clock for some settings; UserError if the settings are invalid."""
        text = settings.timestamp_pattern
        pattern = None if text is None else parse_pattern(text)
        return cls(pattern, parse_timezone(settings.timezone))

    def timing(self, path: Path) -> Timing:
        """When each frame was taken. Never raises for a broken or unreadable file.

        The start is given by the first of these that has an existing time: the name, by `pattern`;
        the header: `harp`, GUANO, AudioMoth's comment, `bext`, DATE; the name, as recorders write
        it. Times without a zone are in `timezone`.
        """
        try:
            with open_file(path) as file:
                timing = harp_timing(file, signature_of(file).size)
        except OSError:
            timing = None
        timing = timing or Timing(None)
        for source, time in self._times(path, timing):
            if time:
                return timing._replace(start=Start(time, source))
        return timing

    def start(self, path: Path) -> Start | None:
        """When a recording began; None if no time is found."""
        return self.timing(path).start

    def _times(self, path: Path, timing: Timing) -> Iterator[tuple[str, datetime | None]]:
        """The sources of a time and what they give, in their order."""
        zone = self.timezone
        if self.pattern:
            yield "pattern", find_time(self.pattern, path.name, zone)
        if timing.start:
            yield timing.start.source, timing.start.utc
        try:
            header = read_metadata(path)
        except OSError:
            header = Metadata()
        for line in (header.guano or "").split("\n"):
            key, _, stamp = line.partition(":")
            if key.strip() == "Timestamp":
                yield "guano", find_time(ISO, stamp.strip(" \t\r\0"), zone)
        for comment in header.comments:
            yield "comment", find_time(AUDIOMOTH, comment, UTC)
        if header.bext:
            yield "bext", _broadcast_time(header.bext, zone)
        yield "date", find_time(ISO, header.date or "", zone)
        yield "name", time_of_name(path.name, zone)


def _broadcast_time(bext: Broadcast, zone: tzinfo) -> datetime | None:
    """OriginationDate and OriginationTime, refined by TimeReference if both give the same time.

    TimeReference counts samples since midnight of a timecode. If a recorder's timecode runs with
    the time of day, TimeReference is OriginationTime to the sample. Elsewhere it is a position on
    an editor's timeline, or starts at one hour, and is not used. Most writers mean "unset" by 0.
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
