"""Trains of impulses: clicks, pulses and ticks that come back at an interval of 5 ms to 10 s.

Onsets of sounds are gathered into kinds that are alike, the moments of a kind into chains of like
intervals, and chains are made whole: docs/impulses.md says how, and how well.
"""

from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask
from ulmo.config import UserError
from ulmo.sequence.chains import STEPS, find_chains
from ulmo.sequence.kinds import kinds_of, looks_of
from ulmo.sequence.onsets import (
    APART_S,
    Grid,
    Onsets,
    band_levels,
    cells_of,
    find_onsets,
    grid_of,
    together,
)
from ulmo.sequence.runs import ECHO_S, Run, bursts_like, complete, join, without_parts

Real = NDArray[np.float64]

LONGEST_S = 10.0  # interval of clicks
_CELLS = 24  # of onsets whose chains are found at once: two minutes
_KEPT_S = STEPS * LONGEST_S  # before them, so that a train may go on
# Bits of onsets that chains are made of, one after the other: loud clicks make a chain without the
# faint onsets between them.
_LEVELS = (100.0, 30.0, 10.0, 4.0, -1.0)
_MOST = 4096  # onsets whose chains are found at once: 50 MB
_STRONG = 30.0  # bits: noise of any length has none
_ALONE = 5  # clicks, at least, of a train that counts because nothing else is as loud
_IN_PAIR = 6.0  # bits that one of two chains may lack
_SAVED = 4.0  # bits: where the period is known, fewer chains are possible
_UNEVEN = 0.35  # of a period: where intervals differ by more, there is none
_AHEAD_S = 0.1  # after an onset its sound may be loudest
_BEHIND = 30  # frames before an onset its sound may be loudest
_SMOOTH = np.hanning(17)[1:-1]  # over which loudness is taken: 15 ms, as of the ticks of a clock
_SAME_S = 0.01  # between the moments at which one tick is loudest, in two trains
_MOSTLY = 0.7  # of a train
_SPREAD = 10  # frames by which a click's loudest moment may differ from that of the others


class Train(NamedTuple):
    """Impulses of one kind that follow each other."""

    times: Real  # (n,) seconds from the beginning, rising: where each is loudest
    period_s: float | None  # the mean interval; None if the intervals are too uneven to have one
    jitter_s: float | None  # standard deviation of the intervals from multiples of the period;
    # None if there are fewer than 3
    missed: int  # impulses that the period expects and that were not found
    low_hz: float
    high_hz: float  # of the bands within 10 dB of the one that is farthest above the noise


def find_impulses(samples: Array, sample_rate: int, *, false_per_hour: float = 1.0) -> list[Train]:
    """Trains of impulses, in order of their first one.

    samples: (n,) at the recording's own rate, full scale 1, all finite. May be a memory map: two
        minutes are read at once, and memory does not grow with the recording.
    sample_rate: hertz, 2000 at least.
    false_per_hour: trains that an hour of noise alone may give. At 1, about four alike clicks in a
        steady rhythm are a train.

    Four impulses at least are a train, 5 ms to 10 s apart; sounds that come once, or without any
    rhythm, are none. What is longer than 200 ms is found where it begins suddenly.
    """
    if not false_per_hour > 0:
        raise UserError(f"false_per_hour must be above 0, not {false_per_hour}")
    grid = grid_of(sample_rate)
    margin = log2(3600 / (_CELLS * grid.cell * grid.hop_s) / false_per_hour) + 1
    cells = cells_of(len(samples), grid) if len(samples) else 0
    onsets: Onsets | None = None
    used = np.zeros(0, bool)
    runs: list[Run] = []
    trains: list[Train] = []
    for first in range(0, cells, _CELLS):
        end = min(first + _CELLS, cells)
        new = find_onsets(samples, grid, first, end)
        if onsets is not None:
            new = _after(onsets, new)
        onsets, used = new, np.concatenate([used, np.zeros(len(new.times) - len(used), bool)])
        runs = _find_runs(samples, grid, onsets, used, runs, margin)
        until = end * grid.cell * grid.hop_s - _KEPT_S if end < cells else np.inf
        closed = [run for run in runs if onsets.times[run.members[-1]] < until]
        runs = [run for run in runs if onsets.times[run.members[-1]] >= until]
        trains += [_as_train(samples, grid, onsets, run) for run in closed]
        onsets, used, runs = _kept(onsets, used, runs, until)
    trains.sort(key=lambda train: (float(train.times[0]), len(train.times)))
    return _without_shares(trains)


def _without_shares(trains: list[Train]) -> list[Train]:
    """The trains, without those most of whose impulses are in one with as many, or more."""
    kept: list[Train] = []
    for train in sorted(trains, key=lambda each: -len(each.times)):
        if not any(_is_share(train.times, other.times) for other in kept):
            kept.append(train)
    return [train for train in trains if any(train is each for each in kept)]


def _is_share(times: Real, of: Real) -> bool:
    """Whether most of some times are those of another train, or next to them."""
    if times[0] > of[-1] + _SAME_S or times[-1] < of[0] - _SAME_S:
        return False
    near = min(_SAME_S, float(np.median(np.diff(of))) / 4)
    place = np.searchsorted(of, times)
    after, before = of[np.minimum(place, len(of) - 1)], of[np.maximum(place - 1, 0)]
    apart = np.minimum(np.abs(times - after), np.abs(times - before))
    return bool((apart <= near).mean() > _MOSTLY)


def _after(onsets: Onsets, new: Onsets) -> Onsets:
    """Onsets, then new ones, but for what is one with the last of those before."""
    if len(onsets.times):
        new = new.of(new.times >= onsets.times[-1] + APART_S)
    return together([onsets, new])


def _kept(
    onsets: Onsets, used: Mask, runs: list[Run], until: float
) -> tuple[Onsets, Mask, list[Run]]:
    """What may still belong to a train: onsets from `until` on, and those of open runs."""
    kept = onsets.times >= until
    for run in runs:
        kept[run.members] = True
    place = np.cumsum(kept) - 1
    runs = [run._replace(members=place[run.members]) for run in runs]
    return onsets.of(kept), used[kept], runs


def _find_runs(
    samples: Array, grid: Grid, onsets: Onsets, used: Mask, runs: list[Run], margin: float
) -> list[Run]:
    """The runs of some onsets, with open ones of before; `used` says which onsets are in any."""
    looks = looks_of(samples, grid, onsets)
    found: list[Run] = []

    def add(run: Run) -> None:
        used[run.members] = True
        found.append(run)

    for run in runs:
        add(complete(run, onsets, looks, used))
    tried: set[bytes] = set()
    for kind in kinds_of(looks, onsets.bits, ~used):
        for level in _LEVELS:
            some = kind[(onsets.bits[kind] >= level) & ~used[kind]]
            if some.tobytes() in tried:
                continue
            tried.add(some.tobytes())
            for part in range(0, len(some), _MOST):
                for run in _chosen(onsets, some[part : part + _MOST], level, margin):
                    if not used[run.members].any():
                        add(complete(run, onsets, looks, used))
    found = without_parts(found, onsets)
    for run in list(found):
        for burst in bursts_like(run, onsets, looks, used):
            add(burst)
    return without_parts(join(found, onsets.times, looks), onsets)


def _chosen(onsets: Onsets, some: Indices, level: float, margin: float) -> list[Run]:
    """The chains of some onsets that count.

    Loud ones count with fewer bits where nothing else is as loud; and two at one period, as of a
    clock that says tick and tock, count together.
    """
    strong = level >= _STRONG
    least = -_IN_PAIR if strong else margin
    chains = find_chains(onsets.times[some], least, LONGEST_S)
    runs = [Run(some[chain.members], chain.steps, chain.tolerance) for chain in chains]
    chosen: list[Run] = []
    waiting: list[tuple[Run, float]] = []
    for run, chain in zip(runs, chains, strict=True):
        bits = chain.bits + least
        if bits >= margin or (bits >= 1 and _is_alone(onsets, run.members, level)):
            chosen.append(run)
            continue
        for place, (other, its) in enumerate(waiting):
            together = bits + its + _SAVED
            both = np.union1d(run.members, other.members)
            if _at_one_period(run, other, onsets.times) and (
                together >= margin or (together >= 1 and _is_alone(onsets, both, level))
            ):
                chosen += [other, run]
                del waiting[place]
                break
        else:
            waiting.append((run, bits))
    return chosen


def _at_one_period(run: Run, other: Run, times: Real) -> bool:
    """Whether two runs are at the same time and have the same period."""
    period, its = run.period_s(times), other.period_s(times)
    first, end = times[run.members[[0, -1]]], times[other.members[[0, -1]]]
    shared = min(first[1], end[1]) - max(first[0], end[0])
    whole = max(first[1], end[1]) - min(first[0], end[0])
    return abs(period - its) <= 0.03 * period and bool(shared >= 0.5 * whole)


def _is_alone(onsets: Onsets, members: Indices, level: float) -> bool:
    """Whether nothing else as loud is in the span of a chain, but for its own echoes."""
    if len(members) < _ALONE:
        return False
    at = onsets.times[members]
    loud = onsets.times[onsets.bits >= level]
    loud = loud[(loud >= at[0]) & (loud <= at[-1])]
    place = np.searchsorted(at, loud)
    after, before = at[np.minimum(place, len(at) - 1)], at[np.maximum(place - 1, 0)]
    near = np.minimum(np.abs(loud - after), np.abs(loud - before))
    period = (at[-1] - at[0]) / (len(at) - 1)
    return bool((near > min(ECHO_S, period / 3)).sum() <= 0.2 * len(at))


def _as_train(samples: Array, grid: Grid, onsets: Onsets, run: Run) -> Train:
    at = np.sort(_loudest(samples, grid, onsets, run))
    steps = run.steps
    cycle = _cycle(steps)
    if cycle > 1:
        intervals, missed = at[cycle:] - at[:-cycle], 0
        period = float(intervals.mean())
    else:
        place = np.concatenate([[0], np.cumsum(steps)])
        period = float(np.polyfit(place, at, 1)[0])  # a line by least squares
        intervals = np.diff(at) - (steps - 1) * period
        missed = int((steps - 1).sum())
    jitter = float(intervals.std()) if len(intervals) > 2 else None
    even = jitter is not None and jitter <= _UNEVEN * period
    loud = np.median(onsets.shapes[run.members], axis=0)
    bands = np.flatnonzero(loud >= loud.max() - 10)
    low, high = grid.hertz(int(bands[0])), grid.hertz(int(bands[-1]) + 1)
    return Train(at, period if even else None, jitter, missed, low, high)


def _cycle(steps: Indices) -> int:
    """Clicks after which a rhythm of unequal steps, as short, long, short, long, comes back; or 1.

    Clicks that are missed by chance come back so in 1 of 100 trains.
    """
    for cycle in (2, 3):
        enough = len(steps) >= 4 * cycle and bool((steps != steps[0]).any())
        if enough and (steps[cycle:] == steps[:-cycle]).all():
            return cycle
    return 1


def _loudest(samples: Array, grid: Grid, onsets: Onsets, run: Run) -> Real:
    """(n,) seconds at which each impulse is loudest.

    A tick of a clock is several sounds within some 50 ms: where the mean of all is loudest, each
    one is looked for. Clicks whose onsets are loudest keep their exact times.
    """
    at = onsets.times[run.members]
    ahead = int(min(_AHEAD_S, run.period_s(onsets.times) / 4) / grid.hop_s)
    if ahead < len(_SMOOTH) // 2:
        return at
    behind = min(ahead, _BEHIND)
    power = np.empty((len(at), behind + ahead + 1))
    for row, moment, noise in zip(power, at, onsets.noise[run.members], strict=True):
        first = round(moment / grid.hop_s) - behind
        levels = band_levels(samples, grid, first, len(row))
        row[:] = np.convolve(np.exp(levels - noise).sum(axis=1), _SMOOTH, "same")
        row /= row.max()
    best = int(power.mean(axis=0).argmax())
    if abs(best - behind) <= 3:
        return at
    first = max(best - _SPREAD, 0)
    lag = first + power[:, first : best + _SPREAD + 1].argmax(axis=1) - behind
    loudest: Real = at + lag * grid.hop_s
    return loudest
