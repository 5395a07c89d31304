"""What recurs as rows of a table: repeats of tokens, and trains of impulses, class by class."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf, log2
from typing import Any, NamedTuple

import numpy as np

from ulmo.formats.events import (
    Place,
)
from ulmo.listening.channels import Channel, Train
from ulmo.listening.listen import When
from ulmo.sequence.periods import Period, find_period
from ulmo.storage.names import portable

SOUND, IMPULSES, BACKGROUND = "sound", "impulses", "background"
IMPULSE_S = 0.005  # that an impulse is given: 5 ms, as long as a click rings
_TOUCH_S = 0.1  # between occurrences that are one: no breath is shorter
_IMPULSE_MOST_S = 0.2  # what is longer is no impulse
# A band of steady noise is 3 dB above its mean in one column of 100,000; a call at 0 dB is more.
_LEAST_CLEAR_DB = 3.0
_SAME_PERIOD, _SAME_BAND = 0.15, 0.5  # octaves; share of the octaves that two bands share


class Occurrence(NamedTuple):
    """A row, as far as it is known before classes are numbered."""

    channel: int  # number of the channel of a recording
    when: When
    low_hz: float
    high_hz: float
    kind: str
    group: int  # of its kind
    bits: float | None = None
    false_per_hour: float | None = None
    match: int | None = None  # number of the occurrence that it is most like
    period: Period | None = None  # of its train
    clear_db: float | None = None  # its clearest cell above the background; None: not known

    @property
    def is_clear(self) -> bool:
        """Whether it stands out of the background, or is all of it.

        Where levels are tracked, the background after a loud sound has the same tokens each time.
        """
        return self.kind == BACKGROUND or self.clear_db is None or self.clear_db >= _LEAST_CLEAR_DB

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.when.end_s - self.when.start_s


class Stream(NamedTuple):
    """The columns of all channels of all recordings in a row."""

    channels: Sequence[Channel]
    firsts: Sequence[int]  # the first column of each channel

    @classmethod
    def of(cls, channels: Sequence[Channel]) -> "Stream":
        """All columns of some channels."""
        sizes = [channel.heard.columns for channel in channels]
        return cls(channels, [0, *accumulate(sizes)][: len(sizes)])

    @property
    def begins(self) -> list[int]:
        """The columns before which time was left out, or another recording ends."""
        return [
            first + begin
            for first, channel in zip(self.firsts, self.channels, strict=True)
            for begin in channel.heard.begins
        ]

    def occurrences(self, repeats: Iterable[Any], edges_hz: Sequence[float]) -> list[Occurrence]:
        """Repeats of `sequence.repeats`, in their order, which `match` refers to."""
        found = []
        for repeat in repeats:
            number = bisect_right(self.firsts, repeat.first) - 1
            channel, first = self.channels[number], self.firsts[number]
            heard, clear_db = channel.heard, None
            if channel.clear_db is not None:
                clear_db = float(channel.clear_db[repeat.first - first : repeat.end - first].max())
            found.append(
                Occurrence(
                    channel=number,
                    when=heard.when(repeat.first - first, repeat.end - first),
                    low_hz=float(edges_hz[repeat.low_band]),
                    high_hz=min(float(edges_hz[repeat.high_band + 1]), heard.highest_hz),
                    kind=BACKGROUND if repeat.group < 0 else SOUND,
                    group=int(repeat.group),
                    bits=float(repeat.bits),
                    false_per_hour=float(repeat.false_per_hour),
                    match=int(repeat.match),
                    clear_db=clear_db,
                )
            )
        return found

    def impulses(self) -> list[Occurrence]:
        """The impulses of all trains. Trains of about one period and band are one class.

        Two trains at the same time are two classes: their impulses together have no period.
        """
        kinds: list[Train] = []
        ends: list[tuple[int, int, float]] = []  # channel, part and time of the last of each class
        found = []
        for number, channel in enumerate(self.channels):
            heard = channel.heard
            for train in channel.trains:
                begins = number, train.part, float(train.times[0])
                alike = (
                    each
                    for each, kind in enumerate(kinds)
                    if ends[each] < begins and _is_alike(kind, train)
                )
                group = next(alike, len(kinds))
                if group == len(kinds):
                    kinds.append(train)
                    ends.append(begins)
                ends[group] = number, train.part, float(train.times[-1])
                period = None
                if train.period_s is not None:
                    jitter = 0.0 if train.jitter_s is None else train.jitter_s
                    period = Period(train.period_s, jitter, len(train.times) - 1)
                begin = heard.begins[train.part]
                for time in train.times.tolist():
                    first = begin + time / heard.column_s
                    when = heard.when(first, first + IMPULSE_S / heard.column_s)
                    band = train.low_hz, train.high_hz
                    found.append(Occurrence(number, when, *band, IMPULSES, group, period=period))
        return found


def without_onsets(
    impulses: Sequence[Occurrence], repeats: Sequence[Occurrence]
) -> list[Occurrence]:
    """The impulses, without those groups that are only the begins or ends of longer repeats.

    Most impulses of such a group lie at an edge of a repeat, one at each: a call has an onset.
    Clicks within a repeat, and a trill with many impulses in each, stay.
    """
    longer: dict[int, list[Occurrence]] = {}
    for each in sorted(repeats, key=_place):
        if each.kind == SOUND and each.seconds > _IMPULSE_MOST_S:
            longer.setdefault(each.channel, []).append(each)
    begins = {channel: [one.when.start_s for one in some] for channel, some in longer.items()}
    groups: dict[int, list[Occurrence]] = {}
    for each in impulses:
        groups.setdefault(each.group, []).append(each)
    left_out = set()
    for group, members in groups.items():
        at_edges: list[tuple[int, int]] = []  # channel, and number of the repeat
        for each in members:
            place = bisect_right(begins.get(each.channel, []), each.when.start_s + _TOUCH_S) - 1
            if place >= 0:
                repeat = longer[each.channel][place]
                edges = (repeat.when.start_s, repeat.when.end_s)
                if min(abs(each.when.start_s - edge) for edge in edges) <= _TOUCH_S:
                    at_edges.append((each.channel, place))
        if len(at_edges) > 0.7 * len(members) and len(at_edges) < 1.5 * len(set(at_edges)):
            left_out.add(group)
    return [each for each in impulses if each.group not in left_out]


def _is_alike(one: Train, other: Train) -> bool:
    if one.period_s is None or other.period_s is None:
        if one.period_s is not other.period_s:
            return False
    elif abs(log2(one.period_s / other.period_s)) > _SAME_PERIOD:
        return False
    lows, highs = (
        [log2(max(hertz, 1.0)) for hertz in pair]
        for pair in ((one.low_hz, other.low_hz), (one.high_hz, other.high_hz))
    )
    shared, joint = min(highs) - max(lows), max(highs) - min(lows)
    return shared >= _SAME_BAND * joint


class Sounds(NamedTuple):
    """A class, for the summary and the picture."""

    number: int | None  # None: no class, such as background
    kind: str
    occurrences: Sequence[Occurrence]
    period: Period | None

    @property
    def joined(self) -> list[list[Occurrence]]:
        """Its occurrences in the order of time, with those that touch as parts of one sound.

        Impulses are never parts of one. In no class, parts of one sound are of one group.
        """
        found: list[list[Occurrence]] = []
        latest: dict[tuple[int, int], list[Occurrence]] = {}
        ends: dict[tuple[int, int], float] = {}
        for each in sorted(self.occurrences, key=_place):
            key = each.channel, each.group
            last = ends.get(key, -inf)
            if each.when.start_s <= last + _TOUCH_S and self.kind != IMPULSES:
                latest[key].append(each)
            else:
                latest[key] = [each]
                found.append(latest[key])
            ends[key] = max(each.when.end_s, last)
        return found

    @property
    def times(self) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        """Begins of its occurrences, (n,) in each channel that has some.

        Occurrences that touch are parts of one, and have one begin.
        """
        channels: dict[int, list[float]] = {}
        for first, *_ in self.joined:
            channels.setdefault(first.channel, []).append(first.when.start_s)
        return [np.array(starts) for _, starts in sorted(channels.items())]

    @property
    def medoid(self) -> Occurrence:
        """The occurrence that is most like the others, by its evidence; else the first."""
        return max(self.occurrences, key=lambda each: each.bits or 0.0)


def classes_of(occurrences: Sequence[Occurrence], resolution_s: float) -> list[Sounds]:
    """Classes in the order of their first occurrences; then what is in none, and the background.

    resolution_s: how exact the times of repeats are: a column. A repeat that is alone in its group
    is in no class: its best match was given to another one. So is a group whose occurrences are
    all parts of one sound, as they touch.
    """
    groups: dict[tuple[str, int], list[Occurrence]] = {}
    for each in sorted(occurrences, key=_place):
        groups.setdefault((each.kind, each.group), []).append(each)
    found: list[Sounds] = []
    alone: dict[str, list[Occurrence]] = {}
    for (kind, _), members in groups.items():
        sounds = Sounds(len(found) + 1, kind, members, None)
        if kind == BACKGROUND or sum(map(len, sounds.times)) == 1:
            alone.setdefault(kind, []).extend(members)
            continue
        if kind == IMPULSES:
            period = _usual([each.period for each in members])
        else:
            period = find_period(sounds.times, resolution_s=resolution_s)
        found.append(sounds._replace(period=period))
    return [*found, *(Sounds(None, kind, members, None) for kind, members in sorted(alone.items()))]


def _usual(periods: Sequence[Period | None]) -> Period | None:
    """The middle one of the trains of a class."""
    told = sorted(each for each in set(periods) if each is not None)
    return told[len(told) // 2] if told else None


def _place(each: Occurrence) -> tuple[int, float, float, str, int]:
    return each.channel, each.when.start_s, each.when.end_s, each.kind, each.group


def rows_of(
    classes: Sequence[Sounds], repeats: Sequence[Occurrence], channels: Sequence[Channel]
) -> list[tuple[dict[str, Any], Place]]:
    """Rows in the order of recordings and times, and their places in files.

    repeats: those that `match` counts, some of which may be in no class.
    """
    before = _lengths_before(channels)
    found = []
    for sounds in classes:
        for number, each in enumerate(sounds.occurrences, 1):
            heard = channels[each.channel].heard
            match = _match_of(each, repeats)
            period = each.period or sounds.period
            row = {
                "recording": heard.recording,
                "channel": heard.channel,
                "kind": sounds.kind,
                "class": sounds.number,
                "occurrence": None if sounds.number is None else number,
                "start_s": each.when.start_s,
                "end_s": each.when.end_s,
                "low_hz": each.low_hz,
                "high_hz": each.high_hz,
                "bits": each.bits,
                "false_per_hour": each.false_per_hour,
                "best_match_recording": channels[match.channel].heard.recording if match else None,
                "best_match_s": match.when.start_s if match else None,
                "period_s": period.seconds if period else None,
                "period_jitter": period.jitter_s if period else None,
                "period_n": period.intervals if period else None,
                "start_utc": each.when.start_utc,
            }
            place = Place(portable(heard.path), each.when.offset_s, before[each.channel])
            found.append((_place(each), row, place))
    found.sort(key=lambda each: each[0])
    return [(row, place) for _, row, place in found]


def _match_of(each: Occurrence, repeats: Sequence[Occurrence]) -> Occurrence | None:
    if each.match is None or not 0 <= each.match < len(repeats):
        return None
    return repeats[each.match]


def _lengths_before(channels: Sequence[Channel]) -> list[float]:
    """Seconds of the files before that of each channel."""
    found: list[float] = []
    total, last = 0.0, None
    for channel in channels:
        heard = channel.heard
        if last is not None and last.path != heard.path:
            total += last.file_s
        found.append(total)
        last = heard
    return found
