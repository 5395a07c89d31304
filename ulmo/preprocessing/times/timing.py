"""When each frame of a recording was taken: a start, and spans between which time was left out."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple, Self

from ulmo.preprocessing.reading.quality import in_order
from ulmo.preprocessing.reading.refusal import in_words
from ulmo.storage.plain_file import Signature
from ulmo.storage.sidecar import Stamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# Why a recording with a flag has no place on a timeline.
_OBSTACLES = {
    "time_not_linear": "time was or may have been left out in it, and it is not known where",
    "time_expanded": "it plays slower than the sound was (GUANO TE)",
}


def obstacle_of(flags: Iterable[str]) -> str | None:
    """Why a recording with these flags has no place on a timeline; None if it has one."""
    return next((_OBSTACLES[flag] for flag in flags if flag in _OBSTACLES), None)


class Start(NamedTuple):
    """When a recording's first sample was taken, and the source of that time."""

    utc: datetime  # aware, in UTC, to the microsecond
    source: str  # a name of the table of sources in docs/clock.md

    def after(self, seconds: float) -> datetime:
        """The time `seconds` later, in UTC, to the microsecond."""
        return self.utc + timedelta(seconds=seconds)

    @property
    def microseconds(self) -> int:
        """Microseconds since 1970."""
        return (self.utc - EPOCH) // timedelta(microseconds=1)

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet about the time."""
        return {"start_utc": self.microseconds, "start_source": self.source}


class Span(NamedTuple):
    """Consecutive frames of a file between which no time was left out."""

    frame: int  # the first, counted in the file
    frames: int | None  # None: to the end of the file
    offset: Fraction  # true time of the first frame, in seconds from the recording's first sample


WHOLE = (Span(0, None, Fraction(0)),)
# Each stretch costs 2 ms, however short. An AudioMoth writes at least 16,384 frames between two
# gaps, other recorders many more; so a file may have one gap every 4,096 frames, and some more.
_FRAMES_OF_A_GAP, _FREE_GAPS = 4096, 256
# No battery lasts so long. At the highest rate, samples of so many seconds can be counted in a
# float, and no time is later than 2150.
_MOST_YEARS = 50
_YEAR = 365 * 24 * 3600  # seconds


def _fault(gaps: int, span: Span) -> str | None:
    """Why a span is not used that has so many gaps before it; None if it is."""
    if gaps > _FREE_GAPS + span.frame // _FRAMES_OF_A_GAP:
        return f"{gaps} gaps within {span.frame} frames are more than a recorder leaves: not used"
    if span.offset > _MOST_YEARS * _YEAR:
        return f"its gaps last more than {_MOST_YEARS} years: not used"
    return None


class Timing(NamedTuple):
    """When each frame of a recording was taken."""

    start: Start | None  # None: unknown
    spans: tuple[Span, ...] = WHOLE  # in the order of time; frames outside them are no sound
    linear: bool = True  # False: time was left out somewhere, and it is not known where
    note: str | None = None  # why a time that stands there was not used; see `facts`
    slowed: bool = False  # the file plays slower than the sound was (GUANO TE), as of bats
    log: Stamp | None = None  # of the log beside the recording as it was read; None without one
    signature: Signature | None = None  # of the file whose header was read

    def bounded(self) -> Self:
        """The same; not linear, and as one span, if no recorder leaves such gaps.

        Gaps are counted up to each of them: where the last one is said to be proves nothing.
        """
        note = next(filter(None, map(_fault, range(len(self.spans)), self.spans)), None)
        return self._replace(spans=WHOLE, linear=False, note=note) if note else self

    @property
    def obstacle(self) -> str | None:
        """Why the recording has no place on a timeline; None if it has one."""
        return obstacle_of(self._flags)

    @property
    def _flags(self) -> tuple[str, ...]:
        true = {"time_not_linear": self.linear, "time_expanded": not self.slowed}
        return tuple(flag for flag in true if not true[flag])

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        """The columns of recordings.parquet in `found`, and those about the time.

        The note becomes `detail`, behind the one in `found`.
        """
        flags = in_order(found["flags"], self._flags)
        detail = in_words(found.get("detail"), self.note) or None
        known = {"flags": list(flags), "detail": detail}
        return {**(self.start.facts() if self.start else {}), **found, **known}
