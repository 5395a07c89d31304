"""Recordings with the same content, and how the time of one maps to the time of the other.

Two takes of a call, or one sentence in two voices, are two views of the same moments.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import lt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import UserError, plain
from ulmo.pipelines.train.crops import Crop, Crops, Seconds, views_of
from ulmo.preprocessing.store import TileStore
from ulmo.storage.csv_rows import MOST_SECONDS, read_csv_rows

COLUMNS = ("a", "b", "a_times", "b_times")
MOST_BYTES = 256 << 20
MOST_PAIRS = 1_000_000
_MOST_POINTS = 10_000
_MOST_TIMES = 1 << 24  # points of all pairs: 256 MiB, which hold the times of both recordings
_MOST_RATIO = 100  # between two points, one recording lasts at most this many times the other


class Partner(NamedTuple):
    """A partner: at `times` it has the content that the recording itself has at `own` times."""

    recording: str
    own: Seconds  # (n,) of the recording that has this partner, rising
    times: Seconds  # (n,) of the partner, rising


class Pairs(NamedTuple):
    """Pairs of recordings that have tiles, in the order of the file.

    The times of all pairs follow each other: an array for each pair takes a kilobyte.
    """

    recordings: tuple[str, ...]  # paths below AUDIO_DIR, of those that are paired
    members: NDArray[np.int32]  # (pairs, 2): numbers of the recordings a and b
    bounds: NDArray[np.int64]  # (pairs + 1,): where the times of each pair begin, and the last end
    times: tuple[Seconds, Seconds]  # (points,) of a, and of b
    left_out: int = 0  # pairs with a recording that has no tiles
    example: str = ""  # such a recording

    def partner(self, member: int) -> Partner:
        """The partner of a member: 2n is the recording a of pair n, and 2n + 1 is b."""
        pair, side = divmod(member, 2)
        place = slice(*self.bounds[pair : pair + 2].tolist())
        other = self.recordings[self.members[pair, 1 - side]]
        return Partner(other, self.times[side][place], self.times[1 - side][place])


class Partners:
    """Finds moments of tiles again in the recordings that say the same."""

    def __init__(self, store: TileStore, pairs: Pairs, training: Indices | None = None) -> None:
        """Recordings of the rows `training` have partners among themselves, as have the others."""
        self._store = store
        self._starts: Seconds = store.table["start_s"].to_numpy()
        rows = np.arange(len(store)) if training is None else training
        trained = set(store.recordings[rows].tolist())
        self._pairs = pairs
        # Members of the pairs that do not cross the split, by recording, in the order of the file.
        is_trained = np.array([recording in trained for recording in pairs.recordings])
        sides = is_trained[pairs.members]  # (pairs, 2)
        kept = np.flatnonzero(np.repeat(sides[:, 0] == sides[:, 1], 2))
        owners = pairs.members.reshape(-1)[kept]
        order = np.argsort(owners, kind="stable")
        ends = np.cumsum(np.bincount(owners, minlength=len(pairs.recordings)))
        self._members = dict(zip(pairs.recordings, np.split(kept[order], ends[:-1]), strict=True))
        # All views of each tile, by recording and channel; the tiles are in the order of time.
        self._tiles: dict[str, dict[int, list[list[int]]]] = {}
        for (recording, channel, _), views in sorted(views_of(store).items()):
            channels = self._tiles.setdefault(recording, {})
            channels.setdefault(channel, []).append(views)

    def find(
        self, crop: Crop, crops: Crops, rng: np.random.Generator
    ) -> tuple[Crop, Seconds] | None:
        """The moments of a crop in a recording that says the same; None if there is none.

        Also returns when the columns of what was found begin and end, (columns + 1,), in seconds of
        the crop's own recording. A column that shows nothing of that has no duration.
        """
        members = self._members.get(str(self._store.recordings[crop.row]))
        if members is None or not len(members):
            return None
        partner = self._pairs.partner(int(members[rng.integers(len(members))]))
        begin, end = crops.span(crop)
        begin, end = max(begin, partner.own[0]), min(end, partner.own[-1])
        if begin >= end:
            return None
        second = float(np.interp((begin + end) / 2, partner.own, partner.times))
        channels = list(self._tiles[partner.recording].values())
        tiles = channels[rng.integers(len(channels))]
        starts = [self._starts[views[0]] for views in tiles]
        views = tiles[max(bisect_right(starts, second) - 1, 0)]
        found = crops.around(views[rng.integers(len(views))], second)
        return found, np.interp(crops.edges(found), partner.times, partner.own)


def read_pairs(path: Path, recordings: Sequence[str]) -> Pairs:
    """Read pairs of recordings from a CSV file; those without tiles are left out.

    Columns `a` and `b`: paths below AUDIO_DIR, as in recordings.parquet. Columns `a_times` and
    `b_times`: seconds, divided by spaces, as `start_s` in tiles.parquet counts them. The moment
    a_times[i] of a is the moment b_times[i] of b; times between are interpolated linearly. Before
    the first and after the last time, a and b have nothing in common. Raises UserError, with the
    line, for a file of another form, and UserError if no pair in the file has tiles.
    """
    known = set(recordings)
    numbers: dict[str, int] = {}  # of the recordings that are paired
    members, bounds, a_all, b_all = array("i"), array("q", [0]), array("d"), array("d")
    points = left_out = 0
    example = ""
    for line, row in read_csv_rows(path, COLUMNS, most_bytes=MOST_BYTES, most_rows=MOST_PAIRS):
        try:
            a, b, a_times, b_times = _pair(row)
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
        points += len(a_times)
        if points > _MOST_TIMES:
            raise UserError(f"{path}: its pairs have more than {_MOST_TIMES} a_times: name fewer")
        if not {a, b} <= known:
            left_out += 1
            example = example or (b if a in known else a)
            continue
        members.extend(numbers.setdefault(name, len(numbers)) for name in (a, b))
        a_all.extend(a_times)
        b_all.extend(b_times)
        bounds.append(len(a_all))
    if not members:
        raise UserError(
            f"{path} names no pair of recordings that have tiles: its paths must be as in "
            "recordings.parquet"
        )
    return Pairs(
        tuple(numbers),
        np.frombuffer(members, np.int32).reshape(-1, 2),
        np.frombuffer(bounds, np.int64),
        (np.frombuffer(a_all), np.frombuffer(b_all)),
        left_out,
        example,
    )


def _pair(row: dict[str, str]) -> tuple[str, str, list[float], list[float]]:
    """A row of the file; ValueError says what is wrong with it."""
    a, b = row["a"], row["b"]
    if a == b:
        raise ValueError(f"{plain(a)} is paired with itself")
    a_times, b_times = _times(row["a_times"]), _times(row["b_times"])
    if len(a_times) != len(b_times):
        raise ValueError(f"there are {len(a_times)} a_times and {len(b_times)} b_times")
    steps = zip(pairwise(a_times), pairwise(b_times), strict=True)
    for (a_begin, a_end), (b_begin, b_end) in steps:
        shorter, longer = sorted((a_end - a_begin, b_end - b_begin))
        if longer > _MOST_RATIO * shorter:
            raise ValueError(
                f"{a_begin:g} to {a_end:g} s of a are {b_begin:g} to {b_end:g} s of b: between two "
                f"times, one may last at most {_MOST_RATIO} times as long as the other"
            )
    return a, b, a_times, b_times


def _times(text: str) -> list[float]:
    words = text.split()
    if not 2 <= len(words) <= _MOST_POINTS:
        raise ValueError(f"there are {len(words)} times: give 2 to {_MOST_POINTS}")
    try:
        times = [float(word) for word in words]
    except ValueError:
        times = [-1.0]
    if not (times[0] >= 0 and times[-1] <= MOST_SECONDS and all(map(lt, times, times[1:]))):
        raise ValueError(
            f"times must be seconds from 0 to {MOST_SECONDS:g} that rise, not {plain(text[:60])}"
        )
    return times
