"""How well found events agree with planted ones: ranks, matches, classes, edges."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.planted import Event

SLACK_S = 0.15  # that the middle of a found event may lie outside of the planted one


class Found(NamedTuple):
    """An event that a method has found."""

    start: float  # seconds
    end: float
    match: float  # middle of the event that is most like it, in seconds
    group: int  # class; -1: none

    @property
    def middle(self) -> float:
        """Seconds."""
        return (self.start + self.end) / 2


class Figures(NamedTuple):
    """Shares from 0 to 1, and seconds."""

    precision: float  # average precision of the events of repeated classes, by rank
    link: float  # share of them whose best match is of the same class
    v: float  # V-measure of classes over all; each that is not found is its own; NaN: no classes
    start_s: float  # median error of the start
    end_s: float
    recall: float  # share of them that is found


def judge(found: Sequence[Found], events: Sequence[Event]) -> Figures:
    """Judge found events, the surest first.

    A planted event is found by the first whose middle lies within it, or hardly outside. Those that
    find it again do not count. What finds a single sound, or noise, is a false alarm.
    """
    from sklearn.metrics import v_measure_score

    repeated = [event for event in events if event.repeated]
    finders: dict[int, Found] = {}
    false, total, linked = 0, 0.0, 0
    for one in found:
        place = _place(one.middle, repeated)
        if place is None:
            false += 1
        elif place not in finders:
            finders[place] = one
            total += len(finders) / (len(finders) + false)
            match = _place(one.match, repeated)
            linked += match is not None and repeated[match].name == repeated[place].name
    groups = [
        finders[place].group if place in finders else -2 - place for place in range(len(repeated))
    ]
    starts = [abs(one.start - repeated[place].start) for place, one in finders.items()]
    ends = [abs(one.end - repeated[place].end) for place, one in finders.items()]
    truth = [event.name for event in repeated]
    has_classes = any(one.group >= 0 for one in found)
    return Figures(
        precision=total / len(repeated),
        link=linked / max(len(finders), 1),
        v=float(v_measure_score(truth, groups)) if has_classes else float("nan"),
        start_s=float(np.median(starts or [np.nan])),
        end_s=float(np.median(ends or [np.nan])),
        recall=len(finders) / len(repeated),
    )


def _place(time: float, events: Sequence[Event]) -> int | None:
    """The event that a time lies in; of several, the one whose middle is nearest."""
    near = [
        (abs(time - (event.start + event.end) / 2), place)
        for place, event in enumerate(events)
        if event.start - SLACK_S <= time <= event.end + SLACK_S
    ]
    return min(near)[1] if near else None


def as_row(figures: Figures) -> list[str]:
    """The figures as texts."""
    values: dict[str, Any] = figures._asdict()
    return [
        "-"
        if np.isnan(value)
        else (f"{1000 * value:.0f} ms" if name.endswith("_s") else f"{value:.3f}")
        for name, value in values.items()
    ]
