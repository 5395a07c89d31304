"""Regions and repeats as a page has them: plain values, times rounded to microseconds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ulmo.listening.occurrences import Occurrence, Sounds
from ulmo.listening.repeats import Repeats

_INTERVALS = 400  # that are listed of a class


def region_values(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `ulmo regions`: start, end, low, high, and what is known of each."""
    return [
        {
            "box": _box(row["start_s"], row["end_s"], row["low_hz"], row["high_hz"]),
            "snr_db": _rounded(row["snr_db"], 1),
            "peak_dbfs": _rounded(row["peak_dbfs"], 1),
            "class": row["class"],
        }
        for row in rows
    ]


def class_values(found: Repeats, start_s: float, end_s: float) -> list[dict[str, Any]]:
    """The classes of repeats that occur between two times, in the order of their numbers.

    Then what is in no class, and the background, if there are any: their number is None.
    Occurrences that touch are one, with the evidence of the surest of them.
    """
    listed = []
    for sounds in found.classes:
        inside = [
            parts
            for parts in sounds.joined
            if parts[0].when.start_s < end_s and any(each.when.end_s > start_s for each in parts)
        ]
        if inside:
            listed.append(_class(sounds, inside, found.repeats))
    return listed


def _class(
    sounds: Sounds, inside: list[list[Occurrence]], repeats: Sequence[Occurrence]
) -> dict[str, Any]:
    intervals = np.concatenate([np.empty(0), *(np.diff(times) for times in sounds.times)])
    surest = [max(parts, key=lambda each: each.bits or 0.0) for parts in inside]
    medoid = max(range(len(surest)), key=lambda number: surest[number].bits or 0.0)
    period = sounds.period
    return {
        "number": sounds.number,
        "kind": sounds.kind,
        "medoid": medoid,
        "period": period and [_rounded(period.seconds, 6), _rounded(period.jitter_s, 6)],
        "period_n": period and period.intervals,
        "intervals": [_rounded(each, 4) for each in intervals[intervals > 0][:_INTERVALS].tolist()],
        "boxes": [
            _box(
                min(each.when.start_s for each in parts),
                max(each.when.end_s for each in parts),
                min(each.low_hz for each in parts),
                max(each.high_hz for each in parts),
            )
            for parts in inside
        ],
        "bits": [_rounded(each.bits, 1) for each in surest],
        "false_per_hour": [
            None if each.false_per_hour is None else float(f"{each.false_per_hour:.3g}")
            for each in surest
        ],
        "matches": [_match(parts, repeats) for parts in inside],
    }


def _match(parts: list[Occurrence], repeats: Sequence[Occurrence]) -> list[float] | None:
    """The box of what a sound is most like; None if it is most like another part of itself."""
    begin, end = parts[0].when.start_s, max(each.when.end_s for each in parts)
    for each in sorted(parts, key=lambda part: -(part.bits or 0.0)):
        if each.match is None or not 0 <= each.match < len(repeats):
            continue
        other = repeats[each.match]
        if other.when.start_s >= end or other.when.end_s <= begin:
            return _box(other.when.start_s, other.when.end_s, other.low_hz, other.high_hz)
    return None


def _box(start_s: float, end_s: float, low_hz: float, high_hz: float) -> list[float]:
    return [round(start_s, 6), round(end_s, 6), round(low_hz, 1), round(high_hz, 1)]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
