"""When a recording was made, and where time was left out in it.

A broken header or a name without a time is not an error: the time is then unknown. A file that
cannot be read is an error: it may hold another time.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

from ulmo.config import ClockSettings, UserError, printable
from ulmo.preprocessing.reading.opening import refusing
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.times.audiomoth import is_triggered, triggered_timing
from ulmo.preprocessing.times.metadata import Broadcast, Metadata, read_metadata
from ulmo.preprocessing.times.names import read_name
from ulmo.preprocessing.times.soundtrap import soundtrap_timing
from ulmo.preprocessing.times.timestamps import find_time, parse_pattern, read_stamp
from ulmo.preprocessing.times.timing import EPOCH as EPOCH
from ulmo.preprocessing.times.timing import WHOLE as WHOLE
from ulmo.preprocessing.times.timing import Span as Span
from ulmo.preprocessing.times.timing import Start as Start
from ulmo.preprocessing.times.timing import Timing as Timing
from ulmo.preprocessing.times.zones import parse_timezone

DAY = 24 * 3600
NEVER_FIRED = "recorded with a trigger that never fired"
SAME_TIME = 2  # seconds by which the two times in a `bext` chunk may differ

_DATE = r"(?P<year>\d{4})[-_:/. ](?P<month>\d\d)[-_:/. ](?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)[-_:. ](?P<minute>\d\d)[-_:. ](?P<second>\d\d)"
# Firmware 1.0 names no zone and means UTC, the only zone of its clock.
AUDIOMOTH = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4}) "
    r"(?:\((?P<zone>UTC(?:[+-]\d{1,2}(?::\s?\d{1,2})?)?)\) (?:by|during)|by AudioMoth)",
    re.ASCII,
)
BROADCAST = re.compile(f"{_DATE} {_TIME}", re.ASCII)


class Clock(NamedTuple):
    """How to find the times of recordings."""

    pattern: re.Pattern[str] | None = None
    timezone: tzinfo = UTC

    @classmethod
    def of(cls, settings: ClockSettings) -> Self:
        """The clock for some settings; UserError if the settings are invalid."""
        text = settings.timestamp_pattern
        pattern = None if text is None else parse_pattern(text)
        return cls(pattern, parse_timezone(settings.timezone))

    def check(self, names: Iterable[str]) -> None:
        """Raise UserError if there are names, and none of them fits the user's pattern."""
        example = None
        for name in names:
            if self.pattern is None or find_time(self.pattern, name, self.timezone):
                return
            example = example or name
        if example:
            raise UserError(
                f"--timestamp-pattern fits none of the files' names, such as {printable(example)}: "
                "correct it, or leave it out to take the times from headers and usual names"
            )

    def timing(self, path: Path) -> Timing:
        """When each frame was taken. RefusedError if the file, or its log, cannot be read.

        The start is given by the first of these that has an existing time: the name, by `pattern`;
        the header: `harp`, GUANO, `wamd`, AudioMoth's comment, `bext`, iXML, DATE; a SoundTrap's
        log beside the file; the name, as recorders write it. Times without a zone are in
        `timezone`. Spans come from `harp`, from the markers in a triggered recording of an
        AudioMoth, which is read once for them, or from a SoundTrap's log.
        """
        with refusing(path):
            header = read_metadata(path)
            log = soundtrap_timing(path, header.sample_rate)
            timing = header.harp
            if timing is None and is_triggered(path, header):
                timing = triggered_timing(path, header)
        timing = (timing or log or Timing(None)).bounded()
        timing = timing._replace(
            log=log.log if log else None, slowed=header.is_slowed, signature=header.signature
        )
        return self._started(timing, path, header, log)

    def _started(
        self, timing: Timing, path: Path, header: Metadata, log: Timing | None = None
    ) -> Timing:
        """A timing with the first time that is found, or with a note on one in the name."""
        times = self._times(path, header, log)
        start = next((Start(time, source) for source, time in times if time), None)
        unread = None if start else read_name(path.name, self.timezone).unread
        note = unread and f"its name holds a time that is not understood: {unread!r}"
        return timing._replace(start=start, note=timing.note or note)

    def row(self, path: Path, timing: Timing | None, refusal: RefusedError) -> dict[str, Any]:
        """The columns of recordings.parquet for a recording that was refused.

        One that nothing triggered has no sound by rights: its status is `ok`. No flags: they are
        about sound that was read. Without a timing, it has the time in its name.
        """
        facts = refusal.facts()
        timing = timing or self._started(Timing(None), path, Metadata())
        if refusal.reason in ("no_samples", "too_short") and not timing.spans:
            detail = f"{NEVER_FIRED}: it has no sound"
            facts |= {"status": "ok", "reason": None, "detail": detail, "frames_missing": 0}
        return timing.facts(facts) | {"flags": []}

    def _times(
        self, path: Path, header: Metadata, log: Timing | None
    ) -> Iterator[tuple[str, datetime | None]]:
        """The sources of a time and what they give, in their order."""
        zone = self.timezone
        if self.pattern:
            yield "pattern", find_time(self.pattern, path.name, zone)
        if header.harp and header.harp.start:
            yield header.harp.start.source, header.harp.start.utc
        for stamp in header.guano_values("Timestamp"):
            yield "guano", read_stamp(stamp, zone)
        yield "wamd", read_stamp(header.wamd or "", zone)
        for comment in header.comments:
            yield "comment", find_time(AUDIOMOTH, comment, UTC)
        if header.bext:
            yield "bext", _broadcast_time(header.bext, zone)
        if header.ixml:
            yield "ixml", _broadcast_time(header.ixml, zone)
        yield "date", read_stamp(header.date or "", zone)
        if log and log.start:
            yield log.start.source, log.start.utc
        yield "name", read_name(path.name, zone).utc


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
