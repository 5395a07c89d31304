"""Trains of impulses: clicks, pulses and ticks that come back at an interval of 5 ms to 10 s."""

from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.sequence.chains import find_chains
from ulmo.sequence.kinds import kinds_of, looks_of
from ulmo.sequence.onsets import Grid, Onsets, band_levels, find_onsets, grid_of
from ulmo.sequence.runs import ECHO_S, Run, bursts_like, complete, join, without_parts

Real = NDArray[np.float64]

LONGEST_S = 10.0
SEGMENT_S = 120.0
_SMOOTH, _WIDE = 15, 10
LEVELS = (100.0, 30.0, 10.0, 4.0, -1.0)
_STRONG = 30.0


class Train(NamedTuple):
    """Impulses of one kind that follow each other."""

    times: Real  # (n,) seconds from the beginning, rising
    period_s: float | None  # None: it cannot be told
    jitter_s: float | None  # standard deviation of the intervals
    missed: int  # impulses that the period expects and that were not found
    low_hz: float
    high_hz: float


def find_impulses(
    samples: Array, sample_rate: int, *, false_per_hour: float = 1.0
) -> list[Train]:
    grid = grid_of(sample_rate)
    onsets = find_onsets(samples, grid)
    margin = log2(3600 / SEGMENT_S / false_per_hour) + 1
    trains = []
    for begin in np.arange(0, onsets.seconds, SEGMENT_S):
        here = (onsets.times >= begin) & (onsets.times < begin + SEGMENT_S)
        some = onsets.of(here, min(SEGMENT_S, onsets.seconds - begin))
        runs = _find_runs(samples, grid, some, margin)
        trains += [_as_train(some, run, grid, samples) for run in runs]
    return sorted(trains, key=lambda train: float(train.times[0]))


def _find_runs(samples: Array, grid: Grid, onsets: Onsets, margin: float) -> list[Run]:
    looks = looks_of(samples, grid, onsets)
    used = np.zeros(len(onsets.times), bool)
    runs: list[Run] = []
    tried: set[bytes] = set()
    for kind in kinds_of(looks, onsets.bits):
        for level in LEVELS:
            some = kind[(onsets.bits[kind] >= level) & ~used[kind]]
            if some.tobytes() in tried:
                continue
            tried.add(some.tobytes())
            least = 1.0 if level >= _STRONG else margin
            for chain in find_chains(onsets.times[some], least, LONGEST_S):
                members = some[chain.members]
                strong = level >= _STRONG and _is_alone(onsets, members, level)
                if used[members].any() or (chain.bits + least < margin and not strong):
                    continue
                run = Run(members, chain.steps, chain.tolerance)
                run = complete(run, onsets, looks, used)
                used[run.members] = True
                runs.append(run)
    runs = join(runs, onsets.times, looks)
    for run in list(runs):
        for burst in bursts_like(run, onsets, looks, used, margin):
            used[burst.members] = True
            runs.append(burst)
    return without_parts(runs, onsets)


def _is_alone(onsets: Onsets, members: Indices, level: float) -> bool:
    """Whether nothing else as loud is in the span of a chain, but for its own echoes."""
    if len(members) < 5:
        return False
    at = onsets.times[members]
    loud = onsets.times[onsets.bits >= level]
    loud = loud[(loud >= at[0]) & (loud <= at[-1])]
    place = np.searchsorted(at, loud)
    after, before = at[np.minimum(place, len(at) - 1)], at[np.maximum(place - 1, 0)]
    near = np.minimum(np.abs(loud - after), np.abs(loud - before))
    period = (at[-1] - at[0]) / (len(at) - 1)
    return bool((near > min(ECHO_S, period / 3)).sum() <= 0.2 * len(at))


def _as_train(onsets: Onsets, run: Run, grid: Grid, samples: Array) -> Train:
    at = onsets.times[run.members]
    at = at + _loudest(at, run.period_s(onsets.times), grid, samples, onsets.noise[run.members[0]])
    place = np.concatenate([[0], np.cumsum(run.steps)])
    period: float | None = float(np.polyfit(place, at, 1)[0])
    intervals = np.diff(at)[run.steps == 1]
    jitter = float(intervals.std()) if len(intervals) > 2 else None
    loud = np.median(onsets.shapes[run.members], axis=0)
    bands = np.flatnonzero(loud >= max(loud.max() - 10, 1))
    low, high = (int(bands[0]), int(bands[-1])) if len(bands) else (0, len(loud) - 1)
    if jitter is None or period is None or jitter > 0.35 * period:
        period = None
    missed = int((run.steps - 1).sum())
    return Train(at, period, jitter, missed, grid.hertz(low), grid.hertz(high + 1))


def _loudest(at: Real, period: float, grid: Grid, samples: Array, noise: Array) -> Real:
    """(n,) seconds from each onset to where the sound is loudest."""
    ahead = max(int(min(0.1, period / 4) / grid.hop_s), 1)
    behind = min(ahead, 30)
    frames = np.round(at / grid.hop_s).astype(int)
    around = np.stack(
        [band_levels(samples, grid, f - behind, behind + ahead + 1) for f in frames]
    )
    power = np.exp(around - noise).sum(axis=2)
    smooth = np.hanning(_SMOOTH + 2)[1:-1]
    power = np.stack([np.convolve(row, smooth, "same") for row in power])
    power /= power.max(axis=1, keepdims=True)
    mean = power.mean(axis=0)
    if ahead < 8 or mean.argmax() in range(behind - 3, behind + 4):
        return np.zeros(len(at))
    best = int(mean.argmax())
    first, end = max(best - _WIDE, 0), best + _WIDE + 1
    return (first + power[:, first:end].argmax(axis=1) - behind) * grid.hop_s
