"""One timeline of stretches of sound: where each begins in columns, and how long the gaps are.

Arithmetic alone, in whole samples and columns; no sound is read. Each stretch is tokenized by
itself, so its ids do not depend on the others. Places are counted from the timeline's start, never
from the stretch before, so that rounding errors do not add up.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats.header import Gaps
from ulmo.tokens import nearest_column

# Seconds by which a recording may begin before the one before it ends: times in names are whole
# seconds, and the clock of the samples is another than that of the names.
_TOLERANCE = Fraction(2)
_LONGEST: dict[Gaps, float] = {"keep": float("inf"), "one": 1, "omit": 0}  # gaps, in columns


class Recorded(NamedTuple):
    """What the timeline needs to know of a stretch of a recording."""

    path: Path
    start: Fraction  # true time of its first sample, in seconds from the timeline's start
    samples: int  # at the tokenizer's sample rate
    columns: int  # of its tokens; the last one may be partly filling


class Placement(NamedTuple):
    """A stretch's part of a timeline."""

    recorded: Recorded
    gap: int  # columns of `<gap>` before it
    column: int  # place of its first column on the timeline
    columns: int  # number of its columns on the timeline, from its first; seldom less than all


def lay_out(
    recordings: Iterable[Recorded],
    *,
    sample_rate: int,
    hop: Fraction,
    max_gap: float | None = None,
    gaps: Gaps = "keep",
) -> list[Placement]:
    """Stretches of one timeline, in the order of their start; a column lasts exactly `hop` seconds.

    A stretch is placed on the column nearest to its true time, but not before the end of the one
    before it. If files touch, it may be up to _TOLERANCE seconds late. If it would be later (the
    clock of the samples runs slow, or each last column is partly filling), the last columns of the
    one before, which share their time with it, are left out.

    gaps: as many `<gap>` columns as the gap lasts (keep), at most one, or none (omit). With the
        last two, columns are not where their true time is.

    Raises UserError if recordings overlap by more than that, or if a gap that is kept, or all gaps
    of one recording together, are longer than `max_gap` seconds.
    """
    placed: list[Placement] = []
    left_out = Fraction(0)  # seconds: before a recording, or within it so far
    end, total = Fraction(0), 0  # of the stretch before: in seconds, and in columns
    for recorded in sorted(recordings, key=order):
        true = recorded.start
        overlap = end - true
        if overlap > _TOLERANCE:
            raise _overlap(placed[-1].recorded.path, recorded.path, overlap)
        end = true + Fraction(recorded.samples, sample_rate)
        nearest = nearest_column(true, hop)
        latest = max(nearest, floor((true + _TOLERANCE) / hop))
        column = min(max(nearest, total), latest)
        if column < total:
            before = placed[-1]
            placed[-1] = before._replace(columns=column - before.column)
            if column == before.column and overlap > hop:
                raise _overlap(before.recorded.path, recorded.path, overlap)
        gap = max(column - total, 0)
        within = bool(placed) and placed[-1].recorded.path == recorded.path
        left_out = gap * hop + (left_out if within else 0)
        if gaps == "keep" and max_gap is not None and left_out > max_gap:
            raise _too_long(recorded.path, left_out, within)
        placed.append(Placement(recorded, gap, column, recorded.columns))
        total = column + recorded.columns
    return list(_shortened(placed, _LONGEST[gaps]))


def order(recorded: Recorded) -> tuple[Fraction, str]:
    """What stretches of a timeline are sorted by."""
    return recorded.start, recorded.path.as_posix()


def _shortened(placed: Iterable[Placement], longest: float) -> Iterable[Placement]:
    """Placements whose gaps have at most `longest` columns."""
    left_out = 0
    for each in placed:
        gap = int(min(each.gap, longest))
        left_out += each.gap - gap
        yield each._replace(gap=gap, column=each.column - left_out)


def _too_long(path: Path, left_out: Fraction, within: bool) -> UserError:
    days = f"{float(left_out) / 86400:.1f} days"
    if within:
        return UserError(f"the gaps in {path} last {days} in all: set --gaps one or omit")
    return UserError(
        f"{path} begins {days} after the recording before it ends: "
        "tokenize the two deployments apart, or set --gaps one"
    )


def _overlap(first: Path, second: Path, seconds: Fraction) -> UserError:
    return UserError(
        f"{second} begins {float(seconds):.1f} s before {first} ends: "
        "a timeline has one recorder, so tokenize their files apart"
    )
