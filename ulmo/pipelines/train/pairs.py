"""Recordings with the same content, and how the time of one maps to the time of the other.

Two takes of a call, or one sentence in two voices, are two views of the same moments.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Indices
from ulmo.config import UserError, plain
from ulmo.pipelines.train.crops import Crop, Crops, Seconds, views_of
from ulmo.preprocessing.store import TileStore
from ulmo.storage.csv_rows import read_csv_rows

COLUMNS = ("a", "b", "a_times", "b_times")
MOST_BYTES = 256 << 20
MOST_PAIRS = 1_000_000
_MOST_POINTS = 10_000


class Partner(NamedTuple):
    """A partner: at `times` it has the content that the recording itself has at `own` times."""

    recording: str
    own: Seconds  # (n,) of the recording that has this partner, rising
    times: Seconds  # (n,) of the partner, rising


class Pairs(NamedTuple):
    """The partners of each recording, by its path below AUDIO_DIR."""

    partners: dict[str, list[Partner]]
    unknown: tuple[str, ...] = ()  # paths in the file that have no tiles


class Partners:
    """Finds moments of tiles again in the recordings that say the same."""

    def __init__(self, store: TileStore, pairs: Pairs, training: Indices | None = None) -> None:
        """Recordings of the rows `training` have partners among themselves, as have the others."""
        self._store = store
        self._starts: Seconds = store.table["start_s"].to_numpy()
        rows = np.arange(len(store)) if training is None else training
        trained = set(store.recordings[rows].tolist())
        self._partners = {
            recording: [p for p in partners if (p.recording in trained) == (recording in trained)]
            for recording, partners in pairs.partners.items()
        }
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
        partners = self._partners.get(str(self._store.recordings[crop.row]))
        if not partners:
            return None
        partner = partners[rng.integers(len(partners))]
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
    rows = read_csv_rows(path, COLUMNS, most_bytes=MOST_BYTES, most_rows=MOST_PAIRS)
    known = set(recordings)
    partners: defaultdict[str, list[Partner]] = defaultdict(list)
    unknown: dict[str, None] = {}
    for line, row in enumerate(rows, 2):
        try:
            a, b, a_times, b_times = _pair(row)
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
        unknown |= dict.fromkeys(name for name in (a, b) if name not in known)
        if {a, b} <= known:
            partners[a].append(Partner(b, a_times, b_times))
            partners[b].append(Partner(a, b_times, a_times))
    if not partners:
        raise UserError(
            f"{path} names no pair of recordings that have tiles: its paths must be as in "
            "recordings.parquet"
        )
    return Pairs(dict(partners), tuple(unknown))


def _pair(row: dict[str, str]) -> tuple[str, str, Seconds, Seconds]:
    """A row of the file; ValueError says what is wrong with it."""
    a, b = row["a"], row["b"]
    if a == b:
        raise ValueError(f"{plain(a)} is paired with itself")
    a_times, b_times = _times(row["a_times"]), _times(row["b_times"])
    if len(a_times) != len(b_times):
        raise ValueError(f"there are {len(a_times)} a_times and {len(b_times)} b_times")
    return a, b, a_times, b_times


def _times(text: str) -> Seconds:
    words = text.split()
    if not 2 <= len(words) <= _MOST_POINTS:
        raise ValueError(f"there are {len(words)} times: give 2 to {_MOST_POINTS}")
    try:
        times = np.array([float(word) for word in words])
    except ValueError:
        times = np.array([math.nan])
    if not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) > 0).all()):
        raise ValueError(f"times must be seconds from 0 that rise, not {plain(text[:60])}")
    return times
