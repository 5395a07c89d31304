"""When each frame of a recording was taken: a start, and spans between which time was left out."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple, Self

from ulmo.preprocessing.reading.quality import in_order
from ulmo.preprocessing.reading.refusal import in_words

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class Timing(NamedTuple):
    """When each frame of a recording was taken."""

    start: Start | None  # None: unknown
    spans: tuple[Span, ...] = WHOLE  # in the order of time; frames outside them are no sound
    linear: bool = True  # False: time was left out somewhere, and it is not known where
    note: str | None = None  # why a time that stands there was not used; see `facts`
    slowed: bool = False  # the file plays slower than the sound was (GUANO TE), as of bats

    def bounded(self) -> Self:
        """The same; not linear, and as one span, if it has more gaps than any recorder leaves."""
        last = self.spans[-1].frame if self.spans else 0
        gaps = len(self.spans) - 1
        if gaps <= _FREE_GAPS + last // _FRAMES_OF_A_GAP:
            return self
        note = f"{gaps} gaps within {last} frames are more than a recorder leaves: not used"
        return self._replace(spans=WHOLE, linear=False, note=note)

    @property
    def obstacle(self) -> str | None:
        """Why the recording has no place on a timeline; None if it has one."""
        if not self.linear:
            return "time was left out in it, and it is not known where"
        return "it plays slower than the sound was (GUANO TE)" if self.slowed else None

    def facts(self, found: dict[str, Any]) -> dict[str, Any]:
        """The columns of recordings.parquet in `found`, and those about the time.

        The note becomes `detail`, behind the one in `found`.
        """
        true = {"time_not_linear": self.linear, "time_expanded": not self.slowed}
        flags = in_order(found["flags"], (flag for flag in true if not true[flag]))
        detail = in_words(found.get("detail"), self.note) or None
        known = {"flags": list(flags), "detail": detail}
        return {**(self.start.facts() if self.start else {}), **found, **known}
