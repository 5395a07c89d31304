"""Stretches of sound that stand out of their background, as boxes of time and frequency.

levels (columns, cells) -> background of each cell -> mask with hysteresis -> boxes -> regions

The background is estimated from the recording itself, cell by cell, over a minute around each
moment: it follows the tide, the wind and the time of day, and a call does not lift it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask

Decibels = NDArray[np.floating[Any]]

_BATCH = 1 << 14  # columns that are looked at together: 11 minutes of 40 ms
_LOW, _MIDDLE = 0.05, 0.25  # quantiles of levels, see `Background`
# Of a normal distribution: its mean is so many deviations above the quantile _MIDDLE, which is so
# many above _LOW.
_ABOVE, _APART = 0.6745, 0.9704
# The window of a frame has side lobes 31 dB down (Hann), and bins overlap.
_SKIRT_CELLS, _SKIRT_DB = 4, 25.0
# A tone that begins at once is heard 30 dB down at all frequencies, for two columns.
_SPLASH_COLUMNS, _SPLASH_DB = 2, 25.0
_CONNECTED = 8  # cells that touch at a corner belong together


class RegionSettings(NamedTuple):
    """When cells are sound, and which of them are one sound."""

    # dB above the background from which a cell is sound for sure, and from which its neighbours
    # belong to it. Noise exceeds 9 dB in a cell of 40 ms once in hours; 4.5 dB is where a call
    # that fades is still above half of the noise.
    onset_db: float = 9.0
    offset_db: float = 4.5
    # The same in deviations of the background's levels: rain varies more than a quiet night.
    onset_deviations: float = 5.0
    offset_deviations: float = 2.5
    # Shorter silence is part of a sound, as between the parts of a call. Clicks of a train are
    # further apart.
    gap_s: float = 0.12
    # The background is that of so long around each moment: long beside a call or a song, short
    # beside a tide or a rain.
    window_s: float = 60.0
    least_cells: int = 3  # fewer are noise: a click has many cells of one column
    # Boxes that share more of their time than this are one sound, as the harmonics of a call are.
    together: float = 0.5


DEFAULT = RegionSettings()


class Region(NamedTuple):
    """A stretch of sound."""

    first: int  # column
    end: int  # column after its last
    low: int  # lowest cell
    high: int  # highest cell
    peak_db: float  # of its largest sample
    snr_db: float  # of its clearest cell, above the background


class Background(NamedTuple):
    """Levels of the background in some columns, between which it changes evenly.

    Most cells of a recording are background at any time, as sound is short or narrow. So the
    background's levels are taken to be normal, and are found from the lower quarter of all levels,
    which is free of sound as long as sound fills less than three quarters of the window.
    """

    columns: NDArray[np.float64]  # (k,)
    levels: NDArray[np.float64]  # (k, cells) dB
    deviations: NDArray[np.float64]  # (k, cells) dB

    @classmethod
    def of(cls, levels: Decibels, window: int, silence_db: float) -> "Background":
        """The background of levels (columns, cells), of which those at `silence_db` are silence.

        window: columns.

        Digital silence is no background beside sound, but where it lasts for most of the window.
        """
        middles = np.arange(window // 2, max(len(levels) - window // 2, 1), max(window // 2, 1))
        middles = middles if len(levels) > window else np.array([len(levels) // 2])
        found = np.array(
            [
                [_normal(cell, silence_db) for cell in _around(levels, middle, window).T]
                for middle in middles.tolist()
            ]
        ).reshape(len(middles), levels.shape[1], 2)
        return cls(middles.astype(np.float64), found[..., 0], found[..., 1])

    def at(self, first: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Levels and deviations (n, cells) in columns `first` to `end` - 1."""
        columns = np.arange(first, end)
        both = np.concatenate([self.levels, self.deviations], axis=1)
        values = np.stack([np.interp(columns, self.columns, one) for one in both.T], axis=1)
        cells = self.levels.shape[1]
        return values[:, :cells], values[:, cells:]


def _around(levels: Decibels, middle: int, window: int) -> Decibels:
    first = max(min(middle - window // 2, len(levels) - window), 0)
    return levels[first : first + window]


def _normal(levels: Decibels, silence_db: float) -> tuple[float, float]:
    """Mean and deviation of the background of one cell."""
    heard = levels[levels > silence_db]
    if len(heard) <= len(levels) / 2:
        return silence_db, 0.0
    low, middle = np.quantile(heard.astype(np.float64), [_LOW, _MIDDLE])
    deviation = (middle - low) / _APART
    return float(middle + _ABOVE * deviation), float(deviation)


def find_regions(
    means: Decibels,
    peaks: Decibels,
    *,
    column_s: float,
    begins: Sequence[int] = (0,),
    silence_db: float = -200.0,
    settings: RegionSettings = DEFAULT,
) -> Iterator[Region]:
    """Yield the regions of a recording in the order of their first columns.

    means: levels (columns, cells) in dB of the mean power of each cell; those of `silence_db` or
        less are digital silence.
    peaks: levels (columns,) of the largest sample.
    column_s: seconds from one column to the next.
    begins: columns before which time was left out. No region reaches over one.
    """
    if not len(means):
        return
    window = max(round(settings.window_s / column_s), 1)
    gap = max(round(settings.gap_s / column_s), 0)
    background = Background.of(means, window, silence_db)
    borders = sorted({*begins, 0, len(means)})
    for begin, end in pairwise(borders):
        for first, last in _batches(means, background, begin, end, gap, settings):
            levels, deviations = background.at(first, last)
            excess = means[first:last].astype(np.float64) - levels
            excess[_is_leakage(means[first:last]) | (means[first:last] <= silence_db)] = -np.inf
            for box in _boxes(excess, deviations, gap, settings):
                here = box._replace(first=box.first + first, end=box.end + first)
                yield here._replace(peak_db=float(peaks[here.first : here.end].max()))


def clearness(
    means: Decibels, *, column_s: float, silence_db: float, settings: RegionSettings = DEFAULT
) -> NDArray[np.float32]:
    """How far the clearest cell of each column lies above its background, in dB, (columns,).

    means, column_s, silence_db: as in `find_regions`. Silence is -inf.
    """
    clearest = np.full(len(means), -np.inf, np.float32)
    if not len(means):
        return clearest
    background = Background.of(means, max(round(settings.window_s / column_s), 1), silence_db)
    for first in range(0, len(means), _BATCH):
        some = means[first : first + _BATCH]
        excess = some - background.at(first, first + len(some))[0]
        excess[some <= silence_db] = -np.inf
        clearest[first : first + len(some)] = excess.max(axis=1)
    return clearest


def _is_leakage(means: Decibels) -> Mask:
    """Whether each cell (n, cells) is so faint beside a louder one that it may be its skirt."""
    near = cv2.dilate(means.astype(np.float32), np.ones((1, 2 * _SKIRT_CELLS + 1), np.uint8))
    leakage: Mask = means < near - _SKIRT_DB
    return leakage


def _batches(
    means: Decibels,
    background: Background,
    begin: int,
    end: int,
    gap: int,
    settings: RegionSettings,
) -> Iterator[tuple[int, int]]:
    """Columns that are looked at together: cut where no cell is sound for longer than a gap."""
    first = begin
    while end - first > _BATCH:
        stop = first + _BATCH
        while True:
            levels, deviations = background.at(first, stop)
            excess = means[first:stop] - levels
            sound = excess > _threshold(deviations, settings, onset=False)
            quiet: Mask = np.logical_not(sound.any(axis=1))
            cut = _last_gap(quiet, gap + 1)
            if cut or stop >= end:
                break
            stop = min(stop + _BATCH, end)
        if not cut:
            break
        yield first, first + cut
        first += cut
    yield first, end


def _last_gap(quiet: Mask, length: int) -> int:
    """The column in the last run of `length` quiet columns, after which to cut; 0 without one."""
    runs = np.convolve(quiet, np.ones(length), "valid") == length
    (found,) = np.nonzero(runs)
    return int(found[-1]) + length if len(found) else 0


def _threshold(
    deviations: NDArray[np.float64], settings: RegionSettings, *, onset: bool
) -> NDArray[np.float64]:
    least = settings.onset_db if onset else settings.offset_db
    factor = settings.onset_deviations if onset else settings.offset_deviations
    found: NDArray[np.float64] = np.maximum(least, factor * deviations)
    return found


def _boxes(
    excess: NDArray[np.float64],
    deviations: NDArray[np.float64],
    gap: int,
    settings: RegionSettings,
) -> list[Region]:
    """Regions of `excess` (n, cells), in dB above the background; their peaks are not known yet."""
    surely = excess > _threshold(deviations, settings, onset=True)
    if not surely.any():
        return []
    heard = _grown(surely, excess > _threshold(deviations, settings, onset=False))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        _closed(heard, gap), connectivity=_CONNECTED
    )
    of_cell: Indices = np.where(heard, labels, 0).astype(np.int64).ravel()
    sizes = np.bincount(of_cell, minlength=count).tolist()
    clearest = np.full(count, -np.inf)
    (places,) = np.nonzero(of_cell)
    np.maximum.at(clearest, of_cell[places], excess.ravel()[places])
    boxes = [
        Region(
            first=int(box[cv2.CC_STAT_TOP]),
            end=int(box[cv2.CC_STAT_TOP] + box[cv2.CC_STAT_HEIGHT]),
            low=int(box[cv2.CC_STAT_LEFT]),
            high=int(box[cv2.CC_STAT_LEFT] + box[cv2.CC_STAT_WIDTH]) - 1,
            peak_db=-np.inf,
            snr_db=float(clearest[number]),
        )
        for number, box in enumerate(stats)
        if number  # 0 is the background
    ]
    return _joined(boxes, sizes[1:], settings)


def _grown(surely: Mask, maybe: Mask) -> NDArray[np.uint8]:
    """Cells (n, cells) that are sound: those that may be, and are connected to one that is."""
    count, labels = cv2.connectedComponents(maybe.astype(np.uint8), connectivity=_CONNECTED)
    sure = np.zeros(count, np.uint8)
    sure[labels[surely]] = 1
    sure[0] = 0
    grown: NDArray[np.uint8] = sure[labels]
    return grown


def _closed(heard: NDArray[np.uint8], gap: int) -> NDArray[np.uint8]:
    """Cells (n, cells) with gaps of up to so many columns filled.

    OpenCV's own closing moves what an element of even length closes.
    """
    element = np.ones((gap + 1, 1), np.uint8)
    wide = cv2.dilate(np.pad(heard, ((gap, gap), (0, 0))), element, anchor=(0, 0))
    closed = cv2.erode(wide, element, anchor=(0, gap))
    return closed[gap : gap + len(heard)].astype(np.uint8)


def _joined(boxes: list[Region], sizes: list[int], settings: RegionSettings) -> list[Region]:
    """Boxes of about the same time as one; those of too few cells are left out."""
    order = sorted(range(len(boxes)), key=lambda each: boxes[each])
    made: list[tuple[Region, int]] = []
    open_: list[int] = []  # of `made`: those that have not ended
    for number in order:
        box, size = boxes[number], sizes[number]
        open_ = [each for each in open_ if made[each][0].end >= box.first]
        for each in open_:
            other, cells = made[each]
            if _is_splash(box, other):
                break
            if _is_splash(other, box):
                made[each] = box, size
                break
            shared = min(other.end, box.end) - max(other.first, box.first)
            if shared > settings.together * (max(other.end, box.end) - min(other.first, box.first)):
                made[each] = _union(other, box), cells + size
                break
        else:
            open_.append(len(made))
            made.append((box, size))
    return sorted(box for box, cells in made if cells >= settings.least_cells)


def _is_splash(box: Region, other: Region) -> bool:
    """Whether a box is the splash of a louder sound, where that begins or ends."""
    is_short = box.end - box.first <= _SPLASH_COLUMNS
    is_inside = other.first - 1 <= box.first and box.end <= other.end + 1
    return is_short and is_inside and box.snr_db < other.snr_db - _SPLASH_DB


def _union(one: Region, other: Region) -> Region:
    return Region(
        first=min(one.first, other.first),
        end=max(one.end, other.end),
        low=min(one.low, other.low),
        high=max(one.high, other.high),
        peak_db=-np.inf,
        snr_db=max(one.snr_db, other.snr_db),
    )
