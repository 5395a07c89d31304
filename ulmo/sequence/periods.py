"""The period of a sound that comes back: the smallest one that explains when it does, if any."""

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Mask

Times = NDArray[np.float64]

_MOST_MISSED = 3  # in a row, of which an interval is still explained
_LEAST_EXPLAINED = 4  # intervals: fewer agree by chance
_LEAST_BITS = 10.0  # of evidence, one in a thousand, after all that were tried
_LEAST_SHARE = 0.4  # of the intervals: others part bursts
_TOLERANCES = (0.02, 0.05, 0.1)  # of a period: the smaller, the more an agreement says
_WIDEST = 0.15  # of the period that was found: the jitter is not cut off by what told it
_MOST_CANDIDATES = 64


class Period(NamedTuple):
    """A period, as far as it can be told."""

    seconds: float
    jitter_s: float  # standard deviation of the intervals from multiples of the period
    intervals: int  # that it explains


def find_period(times: Sequence[Times], *, resolution_s: float) -> Period | None:
    """The period of events at some times (n,), rising, of each recording; None: unknown.

    resolution_s: how exact the times are.

    An interval is explained by a period if it is 1 to 4 times as long, within a tolerance: some
    events are not found. The evidence is how much more intervals are explained than by chance
    (Chernoff's bound of the binomial), in bits, less those of the periods that were tried. A half
    of the true period explains as much, but more of it by chance, and a double explains less.
    """
    intervals = np.concatenate([np.empty(0), *(np.diff(each) for each in times)])
    intervals = intervals[intervals > 0]
    if len(intervals) < _LEAST_EXPLAINED:
        return None
    ranked = np.sort(intervals)
    step = -(-len(ranked) // _MOST_CANDIDATES)
    best, found = _LEAST_BITS, None
    for seconds in np.unique(ranked[step // 2 :: step]):
        for share in _TOLERANCES:
            tolerance = max(share * seconds, resolution_s)
            bits = _bits(intervals, seconds, tolerance)
            if bits > best:
                best, found = bits, (seconds, tolerance)
    return None if found is None else _fitted(intervals, *found)


def _explained(intervals: Times, seconds: float, tolerance: float) -> tuple[Times, Mask]:
    """Multiples (n,) of a period next to intervals, and whether it explains them."""
    multiples = np.maximum(np.round(intervals / seconds), 1)
    near = np.abs(intervals - multiples * seconds) <= tolerance
    return multiples, near & (multiples <= 1 + _MOST_MISSED)


def _bits(intervals: Times, seconds: float, tolerance: float) -> float:
    multiples, explained = _explained(intervals, seconds, tolerance)
    count, single = int(explained.sum()), int((explained & (multiples == 1)).sum())
    if count < max(_LEAST_EXPLAINED, _LEAST_SHARE * len(intervals)) or 2 * single < count:
        return 0.0
    chance = min(2 * tolerance / seconds, 0.99)
    share = min(count / len(intervals), 1 - 1e-9)
    if share <= chance:
        return 0.0
    each = share * log2(share / chance) + (1 - share) * log2((1 - share) / (1 - chance))
    return len(intervals) * each - log2(_MOST_CANDIDATES * len(_TOLERANCES))


def _fitted(intervals: Times, seconds: float, tolerance: float) -> Period:
    """The period that fits best to the intervals that it explains."""
    tolerance = max(tolerance, _WIDEST * seconds)
    for _ in range(3):
        multiples, explained = _explained(intervals, seconds, tolerance)
        some, times = intervals[explained], multiples[explained]
        seconds = float((some * times).sum() / (times * times).sum())
    jitter = float(np.std(some - times * seconds))
    return Period(seconds, jitter, len(some))


def bursts(times: Sequence[Times], period_s: float) -> list[int]:
    """Events in each burst: those that follow each other within a few periods."""
    counts: list[int] = []
    for each in times:
        breaks = np.flatnonzero(np.diff(each) > (_MOST_MISSED + 1.5) * period_s)
        counts += np.diff([0, *(breaks + 1), len(each)]).tolist() if len(each) else []
    return counts
