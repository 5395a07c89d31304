"""One timeline of many recordings: where each begins in columns, and how long the gaps are.

Arithmetic alone, in whole microseconds, samples and columns; no sound is read. Each recording is
tokenized by itself, so its ids do not depend on the others. Places are counted from the timeline's
start, never from the recording before, so that rounding errors do not add up.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError

# Seconds by which a recording may begin before the one before it ends: times in names are whole
# seconds, and the clock of the samples is another than that of the names.
_TOLERANCE = Fraction(2)


class Recorded(NamedTuple):
    """What the timeline needs to know of a recording."""

    path: Path
    start_utc: datetime | None
    samples: int  # at the tokenizer's sample rate
    columns: int  # of its tokens; the last one may be partly filling


class _Placement(NamedTuple):
    """A recording's part of a timeline."""

    recording: Path
    gap: int  # columns of `<gap>` before it; 0 before the first
    column: int  # place of its first column on the timeline
    columns: int  # number of its columns on the timeline, from its first; seldom less than all
    start_utc: datetime  # true time of its first sample


def lay_out(
    recordings: Iterable[Recorded],
    *,
    sample_rate: int,
    hop: Fraction,
    max_gap: float | None = None,
) -> list[_Placement]:
    """Segments of one timeline, in the order of their start; a column lasts exactly `hop` seconds.

    A recording is placed on the column nearest to its true time, but not before the end of the
    one before it. If files touch, it may be up to _TOLERANCE seconds late. If it would be later
    (the clock of the samples runs slow, or each last column is partly filling), the last columns
    of the one before, which share their time with it, are left out.

    Raises UserError if a start is not known, if recordings overlap by more than that, or if
    a gap is longer than `max_gap` seconds.
    """
    known = [(_known_start(recorded), recorded) for recorded in recordings]
    known.sort(key=lambda pair: (pair[0], pair[1].path.as_posix()))
    segments: list[_Placement] = []
    end, total = Fraction(0), 0  # of the recording before: in seconds, and in columns
    for start, recorded in known:
        true = _seconds(start - known[0][0])
        overlap = end - true
        if overlap > _TOLERANCE:
            raise _overlap(segments[-1].recording, recorded.path, overlap)
        end = true + Fraction(recorded.samples, sample_rate)
        nearest = floor(true / hop + Fraction(1, 2))
        latest = max(nearest, floor((true + _TOLERANCE) / hop))
        column = min(max(nearest, total), latest)
        if column < total:
            before = segments[-1]
            segments[-1] = before._replace(columns=column - before.column)
            if column == before.column and overlap > hop:
                raise _overlap(before.recording, recorded.path, overlap)
        gap = max(column - total, 0)
        if max_gap is not None and gap * hop > max_gap:
            raise UserError(
                f"{recorded.path} begins {float(gap * hop) / 86400:.1f} days after the recording "
                "before it ends: tokenize the two deployments apart"
            )
        segments.append(_Placement(recorded.path, gap, column, recorded.columns, start))
        total = column + recorded.columns
    return segments


def _known_start(recorded: Recorded) -> datetime:
    if recorded.start_utc is None:
        raise UserError(
            f"{recorded.path}: neither header nor name says when it began: "
            "describe the names, as in --timestamp-pattern %Y%m%d_%H%M%S"
        )
    return recorded.start_utc


def _seconds(difference: timedelta) -> Fraction:
    return Fraction(difference // timedelta(microseconds=1), 1_000_000)


def _overlap(first: Path, second: Path, seconds: Fraction) -> UserError:
    return UserError(
        f"{second} begins {float(seconds):.1f} s before {first} ends: "
        "a timeline has one recorder, so tokenize their files apart"
    )
