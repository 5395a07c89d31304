"""Regions and repeats as a page has them: plain values, times rounded to microseconds."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ulmo.listening.occurrences import BACKGROUND, Occurrence, Sounds
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
    """The classes of repeats that occur between two times, in the order of their numbers."""
    listed = []
    for sounds in found.classes:
        inside = [
            each
            for each in sounds.occurrences
            if each.when.end_s > start_s and each.when.start_s < end_s
        ]
        if inside and (sounds.number is not None or sounds.kind == BACKGROUND):
            listed.append(_class(sounds, inside))
    return listed


def _class(sounds: Sounds, inside: list[Occurrence]) -> dict[str, Any]:
    intervals = np.concatenate([np.empty(0), *(np.diff(times) for times in sounds.times)])
    medoid = max(range(len(inside)), key=lambda number: inside[number].bits or 0.0)
    period = sounds.period
    return {
        "number": sounds.number,
        "kind": sounds.kind,
        "medoid": medoid,
        "period": period and [_rounded(period.seconds, 6), _rounded(period.jitter_s, 6)],
        "period_n": period and period.intervals,
        "intervals": [_rounded(each, 4) for each in intervals[intervals > 0][:_INTERVALS].tolist()],
        "boxes": [
            _box(each.when.start_s, each.when.end_s, each.low_hz, each.high_hz) for each in inside
        ],
        "bits": [_rounded(each.bits, 1) for each in inside],
        "false_per_hour": [_rounded(each.false_per_hour, 3) for each in inside],
    }


def _box(start_s: float, end_s: float, low_hz: float, high_hz: float) -> list[float]:
    return [round(start_s, 6), round(end_s, 6), round(low_hz, 1), round(high_hz, 1)]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
