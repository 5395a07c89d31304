"""Chains of onsets made whole: what belongs to them is added, and parts of one sound are joined."""

from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.chains import STEPS
from ulmo.sequence.kinds import ALIKE, SAME_WAVE, Looks, correlate, template_of
from ulmo.sequence.onsets import Onsets

Real = NDArray[np.float64]

ECHO_S = 0.12  # parts of one sound are within this of each other
_FAINT = 0.25  # of the middle of a run's bits: onsets that are fainter do not join it
_EASIER = 0.1  # how much less alike may be what comes when it is expected
_AGAIN = (0.5, 2.0)  # periods between pulses of a burst like another
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

    def take(self, moment: float, width: float) -> int | None:
        """The nearest onset's own place; it is no longer in the pool."""
        place = self.near(moment, width)
        if place is None:
            return None
        self.free[place] = False
        return int(self.places[place])


def able_to_join(run: Run, onsets: Onsets, looks: Looks, used: Mask) -> Mask:
    """Which onsets are like the members of a run, by spectrum or by waveform."""
    spectrum, wave = template_of(looks, run.members)
    alike = looks.spectra @ spectrum >= ALIKE - _EASIER
    alike |= correlate(looks, wave)[0] >= SAME_WAVE - _EASIER
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


def _filled(run: Run, times: Real, pool: Pool) -> Run:
    """The run with what is found at moments that it had missed."""
    width = run.tolerance * run.period_s(times)
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
    """The run with what follows it, and what comes before it, at its period."""
    members, steps = list(run.members), list(run.steps)
    period = run.period_s(times)
    width = run.tolerance * period
    for way in (1, -1):
        members, steps = members[::way], steps[::way]
        while True:
            for step in range(1, STEPS):
                place = pool.take(times[members[-1]] + way * step * period, width)
                if place is not None:
                    members.append(place)
                    steps.append(step)
                    break
            else:
                break
        members, steps = members[::way], steps[::way]
    return _in_order(run, members, steps, times)


def _in_order(run: Run, members: list[int], steps: list[int], times: Real) -> Run:
    order = np.argsort(times[members], kind="stable")
    if (np.diff(order) < 0).any():  # two moments in one window: their places by the period
        members = [members[place] for place in order]
        place_of = np.concatenate([[0], np.cumsum(steps)])[order]
        steps = list(np.maximum(np.diff(place_of), 1))
    return Run(np.array(members, np.int64), np.array(steps, np.int64), run.tolerance)


def bursts_like(
    run: Run, onsets: Onsets, looks: Looks, used: Mask, margin_bits: float
) -> list[Run]:
    """Bursts of pulses like a run's, at about its period, which are too short to be found alone."""
    spectrum, _ = template_of(looks, run.members)
    able = (looks.spectra @ spectrum >= ALIKE) & ~used
    able &= onsets.bits >= _FAINT * float(np.median(onsets.bits[run.members]))
    places = np.flatnonzero(able)
    if len(places) < _BURST:
        return []
    times, period = onsets.times[places], run.period_s(onsets.times)
    low, high = (bound * period for bound in _AGAIN)
    seconds = max(onsets.times[-1] - onsets.times[0], 1.0)
    chance = min(len(places) / seconds * (high - low), 1.0)
    found, begin = [], 0
    gaps = np.diff(times)
    for end in range(1, len(places) + 1):
        if end < len(places) and low <= gaps[end - 1] <= high:
            continue
        count = end - begin
        bits = -(count - 1) * log2(chance) - log2(len(places)) - margin_bits
        if count >= _BURST and bits > 0:
            found.append(Run(places[begin:end], np.ones(count - 1, np.int64), _AGAIN[1]))
        begin = end
    return found


def join(runs: list[Run], times: Real, looks: Looks) -> list[Run]:
    """The runs, with those joined of which one goes on where another ends."""
    joined: list[Run] = []
    for run in sorted(runs, key=lambda run: float(times[run.members[0]])):
        period = run.period_s(times)
        spectrum, _ = template_of(looks, run.members)
        for place, other in enumerate(joined):
            gap = float(times[run.members[0]] - times[other.members[-1]])
            before = other.period_s(times)
            step = round(gap / before)
            wide = max(run.tolerance, other.tolerance)
            alike = template_of(looks, other.members)[0] @ spectrum >= ALIKE
            fits = 1 <= step <= STEPS and abs(gap - step * before) <= wide * before
            if alike and fits and abs(np.log(period / before)) <= min(wide, 0.15):
                steps = np.concatenate([other.steps, [step], run.steps])
                members = np.concatenate([other.members, run.members])
                joined[place] = Run(members, steps, wide)
                break
        else:
            joined.append(run)
    return joined


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
