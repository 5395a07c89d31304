"""Chains: moments that follow each other at one interval, told from moments that come at random.

An interval graph: an edge joins two moments, and stands for one interval or for a few of which the
moments between were missed. A chain is a path whose intervals are alike. It counts in bits: how
much more often a rhythm than a random process of the same rate (Poisson) has such a path.
"""

from math import lgamma, log, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask

Real = NDArray[np.float64]

TOLERANCES = (0.03, 0.07, 0.15, 0.3)  # how far an interval may be from the one before, of itself
STEPS = 4  # intervals that an edge may stand for
_COSTS = np.array([0.5, 2.5, 4.5, 6.5])  # bits for 1, 2, ... intervals: 2 ** -cost sum to below 1
_STEP = np.arange(1, STEPS + 1)
# How far a moment moves the phase and the period of its rhythm: as a line through the last 3 or 4
# moments would (least squares), so that a rhythm may also drift.
_ALPHA, _BETA = np.array([0.83, 0.7]), np.array([0.5, 0.3])
_EDGES = 16  # moments back to which edges go
_LEAST = 4  # moments of a chain: three intervals, of which two are evidence
_ROUND = 8  # moments on each side that say how many there are a second


class Chain(NamedTuple):
    """Moments that follow each other."""

    members: Indices  # (n,): places among the moments, in order
    steps: Indices  # (n - 1,): intervals that each edge stands for
    tolerance: float  # at which it was found
    bits: float  # of evidence against chance


def find_chains(times: Real, margin_bits: float, longest_s: float) -> list[Chain]:
    """The chains of moments (n,), in seconds and order of time, the best first; none share any.

    margin_bits: what a chain must have beyond the choice among all that there may be.
    longest_s: the longest interval.
    """
    left = np.arange(len(times))
    found: list[Chain] = []
    while len(left) >= _LEAST:
        here = times[left]
        values, origins = _best_paths(here, longest_s)
        chains = [
            chain
            for value, origin, tolerance in zip(values, origins, TOLERANCES, strict=True)
            for chain in _paths(here, value, origin, tolerance, margin_bits)
        ]
        taken = np.zeros(len(left), bool)
        for chain in sorted(chains, key=lambda chain: (-chain.bits, chain.members[0])):
            if not taken[chain.members].any():
                taken[chain.members] = True
                found.append(chain._replace(members=left[chain.members]))
        if not taken.any():
            break
        left = left[~taken]
    return found


def _paths(
    times: Real, values: Real, origins: Indices, tolerance: float, margin_bits: float
) -> list[Chain]:
    """The chains of one tolerance that pass, none sharing any moment with a better one."""
    some = np.flatnonzero(values > 0)
    some = some[np.argsort(-values.ravel()[some], kind="stable")]
    taken = np.zeros(len(times), bool)
    chains = []
    for state in some:
        now, edge, _ = np.unravel_index(state, values.shape)
        if taken[now] or taken[now - 1 - edge]:
            continue
        members, steps = _trace(origins, int(state), taken)
        taken[members] = True
        if len(members) < _LEAST:
            continue
        bits = chain_bits(times, members, steps, tolerance) - margin_bits
        if bits > 0:
            chains.append(Chain(members, steps, tolerance, bits))
    return chains


def _best_paths(times: Real, longest_s: float) -> tuple[Real, Indices]:
    """Values in bits of the best path that ends in each state, and the state before, or -1.

    A state is a moment, an edge back from it, and the number of intervals that the edge stands for:
    both are (tolerances, n, edges, steps).
    """
    count = len(times)
    shape = (len(TOLERANCES), count, _EDGES, STEPS)
    values = np.full(shape, -np.inf)
    origins = np.full(shape, -1, np.int64)
    periods, phases = np.zeros(shape), np.full(shape, np.inf)  # of each state's rhythm
    hits = np.zeros(shape, np.int64)
    every = [part.reshape(*shape[:2], -1) for part in (values, periods, phases, hits)]
    first = np.maximum(np.arange(count) - _ROUND, 0)
    last = np.minimum(np.arange(count) + _ROUND, count - 1)
    rates = (last - first) / np.maximum(times[last] - times[first], 1e-9)
    rates *= 0.5  # a chain uses up its moments
    step = _STEP[:, None]
    widths = np.array(TOLERANCES)[:, None, None, None] * np.sqrt(step)
    for now in range(1, count):
        before = now - 1 - np.arange(min(now, _EDGES))
        gaps = times[now] - times[before]
        before, gaps = before[gaps <= longest_s * STEPS], gaps[gaps <= longest_s * STEPS]
        edges = len(before)
        if not edges:
            continue
        value, period, phase, hit = (part[:, before][:, :, None, :] for part in every)
        # After each state before it: (tolerances, edges, steps, states)
        wrong = times[now] - phase - step * period
        windows = widths * period
        chance = np.minimum(2 * rates[now] * windows, 1.0)
        gain = -np.log2(np.maximum(chance, 1e-12)) - _COSTS[:, None]
        total = np.where(np.abs(wrong) <= windows, value + gain, -np.inf)
        best = total.argmax(axis=3)
        tolerance, edge, steps = np.indices(best.shape, sparse=True)
        total = total[tolerance, edge, steps, best]
        wrong = wrong[tolerance, edge, steps, best]
        period = period[tolerance, edge, 0, best]
        hit = hit[tolerance, edge, 0, best]
        goes_on = total > -_COSTS
        wrong[~goes_on] = 0
        known = np.minimum(hit, len(_ALPHA) - 1)
        apart = gaps[:, None] / _STEP
        at = (slice(None), now, slice(edges))
        fits = (apart <= longest_s) & (gaps[:, None] > 1e-6)
        values[at] = np.where(fits, np.where(goes_on, total, -_COSTS), -np.inf)
        periods[at] = np.where(goes_on, period + _BETA[known] * wrong / _STEP, apart)
        phase_now = times[now] - (1 - _ALPHA[known]) * wrong
        phases[at] = np.where(fits, np.where(goes_on, phase_now, times[now]), np.inf)
        hits[at] = np.where(goes_on, hit + 1, 0)
        origin = before[:, None] * (_EDGES * STEPS) + best
        origins[at] = np.where(goes_on, origin, -1)
    return values, origins


def _trace(origins: Indices, state: int, taken: Mask) -> tuple[Indices, Indices]:
    """Members and steps of the path that ends in a state, back to the first taken moment."""
    now, edge, step = (int(part) for part in np.unravel_index(state, origins.shape))
    members, steps = [now], []
    while not taken[now - 1 - edge]:
        members.append(now - 1 - edge)
        steps.append(step + 1)
        state = int(origins[now, edge, step])
        if state < 0:
            break
        now, edge, step = (int(part) for part in np.unravel_index(state, origins.shape))
    return np.array(members[::-1], np.int64), np.array(steps[::-1], np.int64)


def chain_bits(times: Real, members: Indices, steps: Indices, tolerance: float) -> float:
    """Bits that a chain has against moments that come at random, as many in its own span.

    Of n moments in a span T, k are used up: the next is in a window w by chance (n - k) w / T.
    What a choice among all first edges and tolerances gives is taken off.
    """
    at = times[members]
    span = at[-1] - at[0]
    inside = int(np.searchsorted(times, at[-1], "right") - np.searchsorted(times, at[0]))
    period = span / steps.sum()
    ends = span + 2 * period
    windows = np.minimum(2 * tolerance * period * np.sqrt(steps[1:]), ends)
    hits = len(windows)
    rest = inside - 2
    ways = (lgamma(rest + 1) - lgamma(rest - hits + 1)) / log(2)
    bits = -ways - np.log2(windows / ends).sum() - _COSTS[steps - 1].sum()
    edges = min(len(times) * (len(times) - 1) // 2, len(times) * _EDGES) * len(TOLERANCES)
    return float(bits) - log2(edges)
