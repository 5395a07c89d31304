"""Chains of onsets made whole: what belongs to them is added, and parts of one sound are joined."""

from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.chains import STEPS
from ulmo.sequence.kinds import ALIKE, SAME_WAVE, Looks, Template, correlate, template_of
from ulmo.sequence.onsets import Onsets

Real = NDArray[np.float64]

ECHO_S = 0.2  # parts of one sound are within this of each other: impulses are shorter
_FAINT = 0.25  # of the middle of a run's bits: onsets that are fainter do not join it
_EASIER = 0.1  # how much less alike may be what comes when it is expected
_AGAIN = (0.5, 2.0)  # periods between pulses of a burst like another
_NEXT = 0.06  # of a period: how far the next click may be from where it is expected
_FAR = 0.3  # of a period: the most
_BY_CHANCE = 0.1  # that one comes in the window
_HEARD = 0.85  # clicks of a train that are found
_STEADY = 0.07  # of a period: how far an interval may be from it that is a continuation
_MARGIN = 6.0  # bits
_BURST = 3  # pulses of such a burst


class Run(NamedTuple):
    """Onsets that follow each other."""

    members: Indices  # (n,) places among the onsets, in order
    steps: Indices  # (n - 1,) periods from each to the next
    tolerance: float  # of a period

    def period_s(self, times: Real) -> float:
        """The mean period."""
        at = times[self.members]
        return float((at[-1] - at[0]) / self.steps.sum())


class Pool:
    """Onsets that may join a run, each once."""

    def __init__(self, times: Real, able: Mask) -> None:
        self.places = np.flatnonzero(able)
        self.times = times[self.places]
        self.free = np.ones(len(self.places), bool)

    def near(self, moment: float, width: float) -> int | None:
        """The place in the pool of the nearest onset within `width` seconds, if any."""
        first, end = np.searchsorted(self.times, [moment - width, moment + width])
        some = np.flatnonzero(self.free[first:end]) + first
        if not len(some):
            return None
        return int(some[np.abs(self.times[some] - moment).argmin()])

    def rate(self, moment: float, width: float) -> float:
        """How many there are a second within `width` seconds."""
        first, end = np.searchsorted(self.times, [moment - width, moment + width])
        return float(end - first) / (2 * width)

    def put_back(self, members: list[int]) -> None:
        """What was taken is free again."""
        self.free[np.isin(self.places, members)] = True

    def take(self, moment: float, width: float) -> int | None:
        """The nearest onset's own place; it is no longer in the pool."""
        place = self.near(moment, width)
        if place is None:
            return None
        self.free[place] = False
        return int(self.places[place])


def able_to_join(run: Run, onsets: Onsets, looks: Looks, used: Mask) -> Mask:
    """Which onsets are like the members of a run, by spectrum or by waveform."""
    template = template_of(looks, run.members)
    alike = looks.spectra @ template.spectrum >= ALIKE - _EASIER
    alike |= correlate(looks, template.wave)[0] >= SAME_WAVE - _EASIER
    faint = _FAINT * float(np.median(onsets.bits[run.members]))
    able: Mask = alike & ~used & (onsets.bits >= faint)
    able[run.members] = False
    return able


def complete(run: Run, onsets: Onsets, looks: Looks, used: Mask) -> Run:
    """The run with the smallest period that explains it, its gaps filled and both ends extended."""
    pool = Pool(onsets.times, able_to_join(run, onsets, looks, used))
    run = _with_smallest_period(run, onsets.times, pool)
    return _extended(_filled(run, onsets.times, pool), onsets.times, pool)


def _with_smallest_period(run: Run, times: Real, pool: Pool) -> Run:
    """The run with its period divided, if most of the moments between have onsets, too."""
    at = times[run.members]
    span = at[-1] - at[0]
    inside = np.searchsorted(pool.times, at[-1]) - np.searchsorted(pool.times, at[0])
    for parts in (5, 4, 3, 2):
        width = run.tolerance * run.period_s(times) / parts
        moments = [
            begin + (end - begin) * part / (step * parts)
            for begin, end, step in zip(at, at[1:], run.steps, strict=False)
            for part in range(1, step * parts)
            if part % parts
        ]
        hits = sum(pool.near(moment, width) is not None for moment in moments)
        chance = 1 - np.exp(-inside * 2 * width / span)
        if hits >= 0.6 * len(moments) and hits >= (chance + 0.3) * len(moments):
            return run._replace(steps=run.steps * parts)
    return run


def _width(run: Run, period: float, pool: Pool, first: float, end: float) -> float:
    """Seconds by which a click may be off: more where the pool has few that come by chance."""
    rate = pool.rate((first + end) / 2, (end - first) / 2 + 5 * period)
    few = _BY_CHANCE / max(2 * rate, 1e-9)
    return max(max(run.tolerance, _NEXT) * period, min(_FAR * period, few))


def _filled(run: Run, times: Real, pool: Pool) -> Run:
    """The run with what is found at moments that it had missed."""
    at = times[run.members]
    width = _width(run, run.period_s(times), pool, float(at[0]), float(at[-1]))
    members, steps = [int(run.members[0])], []
    for step, after in zip(run.steps, run.members[1:], strict=True):
        begin, end, last = times[members[-1]], times[after], 0
        for part in range(1, step):
            place = pool.take(begin + (end - begin) * part / step, width)
            if place is not None:
                members.append(place)
                steps.append(part - last)
                last = part
        members.append(int(after))
        steps.append(int(step) - last)
    return _in_order(run, members, steps, times)


def _extended(run: Run, times: Real, pool: Pool) -> Run:
    """The run with what follows it, and what comes before it, at its period.

    Each click found counts as much as it is rarer by chance than in a train, and each missed one
    against: the run ends where the sum is highest.
    """
    members, steps = list(run.members), list(run.steps)
    period = run.period_s(times)
    for way in (1, -1):
        members, steps = members[::way], steps[::way]
        end = times[members[-1]]
        width = _width(run, period, pool, end, end)
        rate = pool.rate(end, 10 * period)
        chance = min(max(1 - np.exp(-2 * width * rate), 1e-6), 0.999)
        hit, miss = log2(_HEARD / chance), log2((1 - _HEARD) / (1 - chance))
        total, best, kept, step = 0.0, 0.0, len(members), 1
        while step < STEPS:
            place = pool.take(times[members[-1]] + way * step * period, width)
            total += miss if place is None else hit
            if place is None:
                step += 1
                continue
            members.append(place)
            steps.append(step)
            step = 1
            if total > best:
                best, kept = total, len(members)
        pool.put_back(members[kept:])
        members, steps = members[:kept][::way], steps[: kept - 1][::way]
    return _in_order(run, members, steps, times)


def _in_order(run: Run, members: list[int], steps: list[int], times: Real) -> Run:
    order = np.argsort(times[members], kind="stable")
    if (np.diff(order) < 0).any():  # two moments in one window: their places by the period
        members = [members[place] for place in order]
        place_of = np.concatenate([[0], np.cumsum(steps)])[order]
        steps = list(np.maximum(np.diff(place_of), 1))
    return Run(np.array(members, np.int64), np.array(steps, np.int64), run.tolerance)


def bursts_like(run: Run, onsets: Onsets, looks: Looks, used: Mask) -> list[Run]:
    """Bursts of pulses like a run's, at about its period, which are too short to be found alone."""
    able = (looks.spectra @ template_of(looks, run.members).spectrum >= ALIKE) & ~used
    able &= onsets.bits >= _FAINT * float(np.median(onsets.bits[run.members]))
    period = run.period_s(onsets.times)
    narrow = max(run.tolerance, _STEADY)
    found: list[Run] = []
    for low, high in ((1 - narrow, 1 + narrow), _AGAIN):
        places = np.flatnonzero(able)
        for members in _bursts(onsets.times, places, low * period, high * period):
            able[members] = False
            found.append(Run(members, np.ones(len(members) - 1, np.int64), narrow))
    return found


def _bursts(times: Real, places: Indices, low: float, high: float) -> list[Indices]:
    """Places one after the other whose intervals are between two, and are so not by chance."""
    if len(places) < _BURST:
        return []
    rate = len(places) / max(times[-1] - times[0], 1.0)
    each = -log2(min(rate * (high - low), 1.0))
    gaps = np.diff(times[places])
    breaks = np.flatnonzero((gaps < low) | (gaps > high)) + 1
    least = max(_BURST, 1 + (log2(len(places)) + _MARGIN) / max(each, 1e-9))
    return [part for part in np.split(places, breaks) if len(part) >= least]


def join(runs: list[Run], times: Real, looks: Looks) -> list[Run]:
    """The runs, with those joined that are parts of one: one after the other, or interleaved."""
    joined: list[tuple[Run, Template]] = []
    for run in sorted(runs, key=lambda run: float(times[run.members[0]])):
        template = template_of(looks, run.members)
        while True:
            for place, (other, its) in enumerate(joined):
                whole = _joined(run, other, times) if its.is_like(template) else None
                if whole:
                    run = whole
                    template = template_of(looks, run.members)
                    del joined[place]
                    break
            else:
                break
        joined.append((run, template))
    return [run for run, _ in joined]


def _joined(run: Run, other: Run, times: Real) -> Run | None:
    """Two runs as one, if their moments together have the shorter period of both."""
    periods = run.period_s(times), other.period_s(times)
    ratio = max(periods) / min(periods)
    members = np.union1d(run.members, other.members)
    first, second = times[run.members], times[other.members]
    apart = max(first[0], second[0]) - min(first[-1], second[-1])
    if abs(ratio - round(ratio)) > 0.15 * ratio or ratio > 3.5 or apart > STEPS * min(periods):
        return None
    for parts in (1, 2):  # two that are interleaved have twice the period of both
        gaps = np.diff(times[members]) * parts / min(periods)
        together = (parts == 1 and apart > 0) or (gaps < 1.5).mean() >= 0.5
        if together and (gaps < 0.5).mean() <= 0.1:
            steps = np.maximum(np.round(gaps), 1).astype(np.int64)
            return Run(members, steps, max(run.tolerance, other.tolerance))
    return None


def without_parts(runs: list[Run], onsets: Onsets) -> list[Run]:
    """The runs without those that are echoes or parts of the clicks of a louder one."""
    times = onsets.times
    loud = [-float(np.median(onsets.peaks[run.members])) for run in runs]
    kept: list[Run] = []
    for place in np.argsort(loud, kind="stable"):
        run = runs[place]
        if not any(_is_part(run, other, times) for other in kept):
            kept.append(run)
    return kept


def _is_part(run: Run, other: Run, times: Real) -> bool:
    """Whether most members of a run come at one short distance from those of another."""
    at, to = times[run.members], times[other.members]
    period = min(other.period_s(times), run.period_s(times))
    place = np.clip(np.searchsorted(to, at), 1, len(to) - 1)
    near = np.where(at - to[place - 1] < to[place] - at, to[place - 1], to[place])
    lags = at - near
    lag = float(np.median(lags))
    same = np.abs(lags - lag) < max(0.06 * period, 0.004)
    return abs(lag) < min(ECHO_S, 0.45 * period) and float(same.mean()) > 0.6
