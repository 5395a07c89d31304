"""Sounds that come back: where, how surely, and which of them are the same.

ids -> evidence -> best matches of all windows -> how often by chance -> events -> classes
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices, Mask
from ulmo.sequence.classes import (
    LEAST_BY_IDS,
    LEAST_BY_LATENTS,
    Classified,
    Likeness,
    by_evidence,
    by_latents,
    classify,
    ranked,
)
from ulmo.sequence.events import Event, choose, free, search
from ulmo.sequence.evidence import Evidence, weigh
from ulmo.sequence.selection import select, worth_of

_SHORTEST_S = 0.24  # of windows; two more lengths are twice and four times as long
_APART_S = 1.0  # between a window and its match: a sound that lasts is no repeat of itself
_LONGEST_S = 10.0  # of an event
_BACKGROUND_S = 60.0  # what repeats for longer without a pause is background
_STILL_S = 0.12  # within which most columns of background are quiet
_PART = 4.0  # times as long as an event is the sound that it is a part of, at most
_SURE = 1.0  # false alarms an hour of an event of which less sure ones may be parts, at most
_COMPARED_S = 2.5  # of the middle of two events
# Events of an hour that may be chance, from which likeness takes the surest, if it is by latents:
# 1000 find as much, and with 3000 the noise among them is ranked above sounds.
_CANDIDATES = 300.0
_MOST = 4000  # events of which classes are made: the surest
# Columns at the edges of a sound show a part of it.
_MARGIN_S = 0.08  # around an event, with which it is compared
_PAUSE_S = 0.2  # between events of a background, at most
_CARRIES = 0.2  # least evidence of a band that carries some, of that of the strongest
BACKGROUND = -1  # class of what repeats all the time


class Repeat(NamedTuple):
    """One event that comes back."""

    first: int  # column of the stream
    end: int  # column after the last
    low_band: int  # lowest band that carries the evidence
    high_band: int  # highest, inclusive
    bits: float  # evidence of the window that found it with its best match
    false_per_hour: float  # events as sure as this, or surer, where nothing repeats
    match: int  # place in the list of the event that is most like it
    group: int  # class, from 0 by first occurrence; BACKGROUND for what repeats all the time


class Bounds(NamedTuple):
    """What was left out of a long stream, so that it takes minutes."""

    compared: int  # columns
    left_out: int  # columns that are not background, and were not compared
    events: int  # all of them, without those that are background
    most: int  # events of which classes are made; others join these


def find_repeats(
    ids: Ids,
    heard: Mask,
    scores: Array,
    *,
    column_s: float,
    begins: Sequence[int] = (0,),
    false_per_hour: float = 1.0,
    latents: Array | None = None,
    quiet: Mask | None = None,
    seed: int = 0,
    bounds: Callable[[Bounds], None] = lambda _: None,
) -> list[Repeat]:
    """Sounds of a stream that occur at least twice, by time.

    ids: (time, bands); those that are no code (`<unk>`, `<gap>`) carry no evidence.
    heard: (time, bands), where there is sound; the rest carries none, either.
    scores: (bands, CB, CB), log-odds in bits that one id stands for another.
    column_s: seconds from one column to the next.
    begins: columns at which recordings begin; no event crosses one.
    false_per_hour: events of the list that are by chance, in an hour of sound.
    latents: (time, d), if there are any: which events are the surest, classes and matches then are
        by them, and much better.
    quiet: (time,), whether a column is nothing but background, in which chance is measured. None:
        unknown, and then chance is what it is in loud noise: few repeats are sure enough.
    seed: of the random streams that show what chance does.
    bounds: called with what was left out, if anything was.

    A match is at least a second away. What repeats without a pause for a minute is one event of
    class -1. Time grows with the square of the stream's length up to half an hour, then with that
    of what is not quiet, up to 400,000 columns of it (`bounds`). Memory grows with the length.
    """
    base = max(round(_SHORTEST_S / column_s), 2)
    lengths = [base, 2 * base, 4 * base]
    if len(ids) < 2 * base or not heard.any():
        return []
    evidence = weigh(ids, heard, scores, longest=lengths[-1])
    borders = np.append(np.unique([0, *begins]), len(ids))
    worth = worth_of(evidence, base)
    still = None if quiet is None else _still(quiet, round(_STILL_S / column_s) // 2)
    selection = select(quiet, borders, worth, margin=2 * base, block=4 * lengths[-1])
    compared = evidence._replace(rows=evidence.rows[selection.columns])
    searched = search(
        *(compared, selection.borders, lengths),
        apart=round(_APART_S / column_s),
        hours=len(ids) * column_s / 3600,
        quiet=None if still is None else still[selection.columns],
        seed=seed,
    )
    longest = round(_LONGEST_S / column_s)
    limit = false_per_hour if latents is None else max(false_per_hour, _CANDIDATES)
    events = choose(compared, searched, selection.borders, limit=limit, most=longest)
    events = [selection.event(event) for event in events]
    if quiet is not None:
        events = _whole([_trimmed(event, quiet) for event in events], quiet, borders)
    pause, most = round(_PAUSE_S / column_s), round(_BACKGROUND_S / column_s)
    events, runs = _split(sorted(events), pause=pause, most=most)
    if latents is None:
        cells, least = by_evidence(evidence), LEAST_BY_IDS
    else:
        cells, least = by_latents(np.asarray(latents, np.float32), heard), LEAST_BY_LATENTS
    runs = [run for run in runs if run.rate <= false_per_hour]
    events, count = _surest(events, false_per_hour)
    margin, most = round(_MARGIN_S / column_s), round(_COMPARED_S / column_s)
    if len(events) > 1:
        spans = [_wider(event, borders, margin) for event in events]
        apart = round(_APART_S / column_s)
        likeness = Likeness.of(spans, count, cells, most=most, apart=apart)
        if latents is not None:
            events, likeness = _within(events, likeness, false_per_hour)
    if selection.left_out or len(events) > _MOST:
        bounds(Bounds(len(selection.columns), selection.left_out, len(events), _MOST))
    rows: list[Repeat] = []
    if len(events) > 1:
        rows = _rows(evidence, events, classify(likeness, least))
    rows += [_row(evidence, run, match=-1, group=BACKGROUND) for run in runs]
    return _by_time(rows)


def _still(quiet: Mask, near: int) -> Mask:
    """Whether most columns from `near` before to `near` after each are quiet.

    Noise of few frequencies is loud for a column now and then.
    """
    padded = np.pad(quiet.astype(np.float32), near, mode="edge")
    shares = np.convolve(padded, np.full(2 * near + 1, 1 / (2 * near + 1)), mode="valid")
    still: Mask = shares > 0.5
    return still


def _trimmed(event: Event, quiet: Mask) -> Event:
    """An event without quiet columns before and after it: ids hear what is near, too.

    If most of it are such columns, it is as faint as they are, and stays as it is.
    """
    loud = event.first + np.flatnonzero(~quiet[event.first : event.end])
    if 2 * len(loud) < event.end - event.first:
        return event
    return event._replace(first=int(loud[0]), end=int(loud[-1]) + 1)


def _whole(events: list[Event], quiet: Mask, borders: Indices) -> list[Event]:
    """Each event as long as the sound between quiet columns that it is a part of, by time.

    If that sound is much longer, or has other events, it has other parts, and the event stays as
    it is. But those that are hardly sure are parts of one that is: they are left out.
    """
    edges = np.unique([*borders, *(np.flatnonzero(np.diff(quiet.astype(np.int8))) + 1)])
    taken = np.zeros(len(quiet), np.int64)  # events in each column
    whole: list[Event] = []
    for sure in (True, False):
        some = [event for event in events if (event.rate <= _SURE) == sure]
        others = taken > 0
        some = [part for event in some if (part := free(event, others))]
        for event in some:
            taken[event.first : event.end] += 1
        for event in some:
            first = int(edges[np.searchsorted(edges, event.first, side="right") - 1])
            end = int(edges[np.searchsorted(edges, event.end, side="left")])
            taken[event.first : event.end] -= 1
            alone = not (quiet[first:end].any() or taken[first:end].any())
            if alone and end - first <= _PART * (event.end - event.first):
                event = event._replace(first=first, end=end)
            taken[event.first : event.end] += 1
            whole.append(event)
    return sorted(whole)


def _split(events: list[Event], *, pause: int, most: int) -> tuple[list[Event], list[Event]]:
    """Events by time, and those that follow each other for longer than `most`, joined."""
    alone: list[Event] = []
    joined: list[Event] = []
    run: list[Event] = []
    for event in [*events, None]:
        if run and (event is None or event.first - run[-1].end > pause):
            if run[-1].end - run[0].first >= most:
                surest = min(run, key=lambda member: member.rate)
                joined.append(surest._replace(first=run[0].first, end=run[-1].end))
            else:
                alone += run
            run = []
        if event is not None:
            run.append(event)
    return alone, joined


def _surest(events: list[Event], limit: float) -> tuple[list[Event], int]:
    """The surest `_MOST` events by time, then the others by time; and how many come first.

    The others keep their rates, so those above the limit are left out.
    """
    order = np.argsort([event.rate for event in events], kind="stable")
    first, others = np.sort(order[:_MOST]), np.sort(order[_MOST:])
    kept = [events[place] for place in others if events[place].rate <= limit]
    return [events[place] for place in first] + kept, len(first)


def _within(events: list[Event], likeness: Likeness, limit: float) -> tuple[list[Event], Likeness]:
    """The events with a rate of at most the limit, after likeness has ranked them anew.

    The likeness of the kept events is returned, too. Events beyond the `_MOST` that were compared
    keep their rates, which are the highest and below the limit: if there are some, all are kept.
    """
    rates = np.array([event.rate for event in events])
    count = len(likeness.alike)
    rates[:count] = ranked(rates[:count], likeness)
    events = [event._replace(rate=float(rate)) for event, rate in zip(events, rates, strict=True)]
    kept = np.flatnonzero(rates <= limit)
    if len(kept) == len(events):
        return events, likeness
    return [events[place] for place in kept], likeness.only(kept)


def _wider(event: Event, borders: Indices, margin: int) -> tuple[int, int]:
    """First column and end with a margin, within the recording."""
    recording = int(np.searchsorted(borders, event.first, side="right"))
    left, right = int(borders[recording - 1]), int(borders[recording])
    return max(event.first - margin, left), min(event.end + margin, right)


def _rows(evidence: Evidence, events: list[Event], found: Classified) -> list[Repeat]:
    """The rows of events, with matches and classes."""
    return [
        _row(evidence, event, match=int(match), group=int(number))
        for event, match, number in zip(events, found.matches, found.groups, strict=True)
    ]


def _row(evidence: Evidence, event: Event, *, match: int, group: int) -> Repeat:
    window = slice(event.window, event.window + event.length)
    partner = slice(event.partner, event.partner + event.length)
    bands = evidence.cells(evidence.rows[window], evidence.rows[partner]).sum(axis=0)
    most = bands.max()  # below zero in a row that only a very wide limit lets through
    carrying: NDArray[np.int64] = np.flatnonzero(bands >= min(_CARRIES * most, most))
    return Repeat(
        first=int(event.first),
        end=int(event.end),
        low_band=int(carrying[0]),
        high_band=int(carrying[-1]),
        bits=float(event.units * evidence.unit),
        false_per_hour=event.rate,
        match=match,
        group=group,
    )


def _by_time(rows: list[Repeat]) -> list[Repeat]:
    """Rows by time, with the places of their matches; a background is its own match."""
    order = sorted(range(len(rows)), key=lambda place: rows[place])
    place_of = {old: new for new, old in enumerate(order)}
    matches = [rows[old].match if rows[old].match >= 0 else old for old in order]
    return [
        rows[old]._replace(match=place_of[match]) for old, match in zip(order, matches, strict=True)
    ]
