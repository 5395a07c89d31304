"""One timeline of many recordings: where each begins in columns, and how long the gaps are.

Arithmetic alone, in whole microseconds, samples and columns; no sound is read. A recording is
tokenized by itself, so its ids are those of the file alone; only its place is told here. Places
are counted from the timeline's start, never from the recording before, so that no rounding adds
up, however many files there are.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError

_TOLERANCE = Fraction(2)
"""Seconds by which a recording may begin before the one before it ends: names have whole seconds,
and the clocks of samples and of names are not the same."""


class Recorded(NamedTuple):
    """What the timeline needs to know of a recording."""

    path: Path
    start_utc: datetime | None
    samples: int
    """At the tokenizer's sample rate."""
    columns: int
    """Of its tokens; the last one may be partly filling."""


class Placement(NamedTuple):
    """A recording's part of a timeline."""

    recording: Path
    column: int
    """Of the timeline, where the recording's first one stands."""
    columns: int
    """Of the recording, from its first, that stand on the timeline; seldom less than all."""
    start_utc: datetime
    """True time of the recording's first sample."""


def lay_out(
    recordings: Iterable[Recorded],
    *,
    sample_rate: int,
    hop: Fraction,
    tolerance: Fraction = _TOLERANCE,
) -> list[Placement]:
    """Segments of one timeline, by their start; a column lasts `hop` seconds, exactly.

    A recording stands on the column nearest to its true time, but not before the end of the one
    before it: where files touch, it may be late, by `tolerance` seconds at most. Where it would
    be later (the clock of the samples runs slow, or each last column is partly filling), columns
    at the end of the one before, whose time is the next one's too, give way.

    Raises UserError where a start is not known, and where recordings overlap by more.
    """
    known = [(_known_start(recorded), recorded) for recorded in recordings]
    known.sort(key=lambda pair: (pair[0], pair[1].path.as_posix()))
    segments: list[Placement] = []
    end = Fraction(0)
    for start, recorded in known:
        true = _seconds(start - known[0][0])
        overlap = end - true
        if overlap > tolerance:
            raise _overlap(segments[-1].recording, recorded.path, overlap)
        end = true + Fraction(recorded.samples, sample_rate)
        nearest = floor(true / hop + Fraction(1, 2))
        latest = max(nearest, floor((true + tolerance) / hop))
        column = min(max(nearest, total_columns(segments)), latest)
        if column < total_columns(segments):
            before = segments[-1]
            segments[-1] = before._replace(columns=column - before.column)
            if column == before.column and overlap > hop:
                raise _overlap(before.recording, recorded.path, overlap)
        segments.append(Placement(recorded.path, column, recorded.columns, start))
    return segments


def gap_columns(segments: Sequence[Placement]) -> list[int]:
    """Columns of `<gap>` before each segment; 0 before the first."""
    ends = [0, *(segment.column + segment.columns for segment in segments)]
    return [segment.column - end for segment, end in zip(segments, ends, strict=False)]


def total_columns(segments: Sequence[Placement]) -> int:
    """Columns of a timeline, gaps and all."""
    return segments[-1].column + segments[-1].columns if segments else 0


def _known_start(recorded: Recorded) -> datetime:
    if recorded.start_utc is None:
        raise UserError(
            f"{recorded.path}: neither header nor name tells when it began: "
            "say where the name does, as in --timestamp-pattern %Y%m%d_%H%M%S"
        )
    return recorded.start_utc


def _seconds(difference: timedelta) -> Fraction:
    return Fraction(difference // timedelta(microseconds=1), 1_000_000)


def _overlap(first: Path, second: Path, seconds: Fraction) -> UserError:
    return UserError(
        f"{second} begins {float(seconds):.1f} s before {first} ends: "
        "two recorders are no one timeline, tokenize their files apart"
    )
