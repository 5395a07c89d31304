"""From the best matches of all windows to events: which windows, and where each begins and ends."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.alignment import align, tempo_band
from ulmo.sequence.best import NONE, Matches
from ulmo.sequence.calibration import fit_tails, make_decoys, support, surprises
from ulmo.sequence.evidence import Evidence
from ulmo.sequence.search import find_matches

_BEST = 6  # matches of a window that say something together
# Of them, whose middle is where an event begins and ends, if they say half as much as the best one.
_VOTES = 3
# An event ends where a column's evidence falls below the usual and this share of the spread of a
# window over the root of its columns. With 1.5, ends are right on average in three kinds of noise.
_FALL = 1.5
# Windows of three lengths have some of their false alarms in common: in an hour of each of four
# kinds of noise, the three have 1.7 to 2.8 times as many as one of them is to have.
_TOGETHER = 2.0
_TEMPO = 0.1  # by which a copy may be faster or slower
_OUTSIDE = -1e6  # evidence of a column of another recording


class Searched(NamedTuple):
    """The windows of one length."""

    matches: Matches
    rates: NDArray[np.float64]  # (windows,): false alarms an hour as sure as each, or surer
    inside: Mask  # (windows,): whether each is within one recording


class Event(NamedTuple):
    """A sound that came back."""

    first: int
    end: int
    rate: float  # false alarms an hour
    window: int  # first column of the window that found it
    length: int  # of the window
    partner: int  # first column of the window's best match
    units: int  # evidence of the two


def search(
    evidence: Evidence,
    borders: Indices,
    lengths: Sequence[int],
    *,
    apart: int,
    hours: float,
    quiet: Mask | None,
    seed: int,
) -> list[Searched]:
    """How sure each window of each length is.

    borders: the columns at which recordings begin, and the end of the last. apart: columns between
    a window and its match. hours: of the stream. quiet: (time,), whether a column is background;
    None: unknown. seed: of the decoys.
    """
    time = len(evidence.rows)
    lengths = [length for length in lengths if length < time]
    whole = [_whole(borders, length) for length in lengths]
    decoys = make_decoys(evidence.rows, np.random.default_rng(seed))
    own = find_matches(evidence, whole, lengths, apart=apart, best=_BEST)
    chance = find_matches(evidence, whole, lengths, apart=0, best=_BEST, queries=decoys)
    scores, valid = [], []
    for inside, matches, random in zip(whole, own, chance, strict=True):
        usual = np.median(surprises(random, evidence.unit), axis=0)
        scores.append(support(surprises(matches, evidence.unit), usual))
        valid.append(inside & (matches.units[:, 0] > NONE))
    if quiet is None:
        quiet = np.zeros(time, np.bool_)
    tails = fit_tails(scores, lengths, valid, quiet, hours=hours)
    return [
        Searched(matches, np.where(can, _TOGETHER * tail.rate(score), np.inf), inside)
        for matches, can, tail, score, inside in zip(own, valid, tails, scores, whole, strict=True)
    ]


def _whole(borders: Indices, length: int) -> Mask:
    """(time - length + 1,): whether a window that begins there is within one recording."""
    time = int(borders[-1])
    recording = np.searchsorted(borders, np.arange(time), side="right")
    inside: Mask = recording[: time - length + 1] == recording[length - 1 :]
    return inside


def choose(
    evidence: Evidence, searched: Sequence[Searched], borders: Indices, *, limit: float, most: int
) -> list[Event]:
    """Events that do not overlap, the surest first, and the partners that made them sure.

    limit: false alarms an hour of the least sure. most: columns of an event.
    """
    seeds = sorted(seed for one in searched for seed in _seeds(one, limit))
    taken = np.zeros(len(evidence.rows), np.bool_)
    ways = {one.matches.length: one for one in searched}
    events: list[Event] = []
    for rate, window, length in seeds:
        if 2 * taken[window : window + length].sum() > length:
            continue
        whole = _delimit(evidence, ways[length], window, borders, rate=rate, most=most)
        if found := free(whole, taken):
            taken[found.first : found.end] = True
            events.append(found)
    for event in list(events):
        window, length = event.partner, event.length
        if not taken[window : window + length].any():
            whole = _delimit(evidence, ways[length], window, borders, rate=event.rate, most=most)
            if partner := free(whole, taken):
                taken[partner.first : partner.end] = True
                events.append(partner)
    return chained(events, borders, most)


def chained(events: list[Event], borders: Indices, most: int) -> list[Event]:
    """Events by time; parts of one sound, which follow each other as their partners do, are one."""
    chained: list[Event] = []
    for event in sorted(events):
        last = chained[-1] if chained else None
        if last is not None and _goes_on(last, event, borders) and event.end - last.first <= most:
            surest = min(last, event, key=lambda part: part.rate)
            chained[-1] = surest._replace(first=last.first, end=max(last.end, event.end))
        else:
            chained.append(event)
    return chained


def _goes_on(last: Event, event: Event, borders: Indices) -> bool:
    """Whether an event touches the one before it, and so do what they match."""
    apart, theirs = event.window - last.window, event.partner - last.partner
    slack = 2 + _TEMPO * abs(apart)
    touches = event.first - last.end <= 1 and abs(apart - theirs) <= slack
    return touches and not ((borders > last.first) & (borders <= event.first)).any()


def _seeds(searched: Searched, limit: float) -> Iterator[tuple[float, int, int]]:
    """Rate, first column and length of the windows that are surer than any near by."""
    length, rates = searched.matches.length, searched.rates
    for window in np.flatnonzero(rates <= limit).tolist():
        low = max(window - length // 2, 0)
        if low + int(rates[low : window + length // 2 + 1].argmin()) == window:
            yield float(rates[window]), window, length


def free(event: Event, taken: Mask) -> Event | None:
    """The part of an event that no other has taken; None if that is less than half of it."""
    own = ~taken[event.first : event.end]
    if not own.any() or 2 * own.sum() < len(own):
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[False], own, [False]]).astype(np.int8)))
    parts = edges.reshape(-1, 2)
    first, end = parts[np.diff(parts, axis=1)[:, 0].argmax()]
    return event._replace(first=event.first + int(first), end=event.first + int(end))


def _delimit(
    evidence: Evidence, one: Searched, window: int, borders: Indices, *, rate: float, most: int
) -> Event:
    """The event that a window shows: where its alignments with its best matches begin and end."""
    matches, length = one.matches, one.matches.length
    units, places = matches.units[window], matches.places(evidence, window, one.inside)
    above = units - np.maximum(matches.mean[window], matches.usual[window])
    said = above >= min(above[0] / 2, above[0])
    places = places[(units > NONE) & said][:_VOTES]
    usual = max(matches.mean[window], matches.usual[window, 0]) / length
    fall = usual + _FALL * matches.spread[window] / length**0.5
    recording = int(np.searchsorted(borders, window, side="right"))
    left, right = int(borders[recording - 1]), int(borders[recording])
    reach = length
    while True:
        rows = np.arange(max(window - reach, left), min(window + length + reach, right))
        offsets = rows - window
        cells = _cells(evidence, rows, places, offsets, borders) - fall
        size = len(rows)
        aligned = align(cells, tempo_band(size, size, 2 + round(_TEMPO * (reach + length / 2))))
        first = rows[0] + round(float(np.median(aligned.first)))
        end = rows[0] + round(float(np.median(aligned.end)))
        cut = (first == rows[0] > left) or (end == rows[-1] + 1 < right)
        if not cut or 2 * reach + length >= most:
            break
        reach *= 2
    if end <= first:
        first, end = window, window + length
    end = min(end, first + most)
    return Event(first, end, rate, window, length, int(places[0]), int(units[0]))


def _cells(
    evidence: Evidence, rows: Indices, places: Indices, offsets: Indices, borders: Indices
) -> NDArray[np.float64]:
    """(places, rows, rows): evidence in units of rows with the columns around each place."""
    time = len(evidence.rows)
    columns = places[:, None] + offsets
    inside = (columns >= 0) & (columns < time)
    columns = np.clip(columns, 0, time - 1)
    home = np.searchsorted(borders, places, side="right")[:, None]
    inside &= np.searchsorted(borders, columns, side="right") == home
    one, other = evidence.rows[rows], evidence.rows[columns]
    total = np.zeros((len(places), len(rows), len(offsets)))
    for band, table in enumerate(evidence.table):
        total += table[one[None, :, None, band], other[:, None, :, band]]
    return np.where(inside[:, None, :], total, _OUTSIDE)
