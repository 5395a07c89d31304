"""Onsets: moments at which a sound begins within a few milliseconds, from samples at any rate.

Spectral flux (Bello et al. 2005, "A tutorial on onset detection in music signals", section III.B)
of bands about an octave wide, in units of each band's own noise. Peaks are measured against the
peaks of noise: how many as high a second of it would give.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask

Real = NDArray[np.float64]

HOP_S = 0.001  # of frames: half of the shortest distance of parts of clicks 5 ms apart
_LEAST_SPREAD = 0.25  # natural log of power, 1 dB: of tones and hum
APART_S = 0.003  # onsets that are nearer are one
PER_SECOND = 2.0  # onsets kept in a second of noise: trains are told from them by their intervals
_CELL_S = 5.0  # of one measurement of noise
_NEAR = 1  # cells on each side whose median is the noise of one
_BANDS = 12  # the most; wider than the noise of one frame, narrow enough to part kinds of clicks
_BEFORE = (2, 5)  # frames before an onset that say how loud it was
_APART = 2  # frames on each side in which an onset is the highest
_QUANTILES = np.array([0.2, 0.6])  # of the heights of peaks: noise's own
_WHITE = 4000  # frames of white noise that is measured
_AS_WHITE = 2.5  # times what white noise has: noise of the sea and rain has less
_FEW = 8  # peaks, of which no distribution is told
_QUIET = 2.0**-40  # power of a sample that counts as silence: an 20-bit step


class White(NamedTuple):
    """What the rises of white noise have, so that dense clicks are not taken for noise."""

    spread: Real  # (bands,)
    tail: Real  # (3,): see `_tail`


class Grid(NamedTuple):
    """Frames and bands of a recording."""

    rate: int  # hertz
    hop: int  # samples
    window: int  # samples
    edges: Indices  # (bands + 1,): bins at which bands begin, and the end
    cell: int  # frames in which noise is measured
    white: White | None  # what white noise has

    @property
    def hop_s(self) -> float:
        """Seconds from frame to frame."""
        return self.hop / self.rate

    def bands_of(self, size: int) -> Indices:
        """(size // 2 + 1,): the band of each bin of a transform of `size` samples."""
        bins = np.arange(size // 2 + 1) * self.window / size + 0.5
        bands: Indices = np.searchsorted(self.edges, bins, "right") - 1
        return np.clip(bands, 0, len(self.edges) - 2)

    def hertz(self, band: int) -> float:
        """Where a band begins; that of the number of bands is where the last one ends."""
        return min(max(float(self.edges[band]) - 0.5, 0.0) / self.window, 0.5) * self.rate


class Onsets(NamedTuple):
    """What may be clicks, in order of time."""

    times: Real  # (n,) seconds: of the peak of the envelope of the loudest bands, to a sample
    bits: Real  # (n,): log2 of seconds of noise for one onset as high
    peaks: Real  # (n,): of the envelope
    shapes: Array  # (n, bands): decibels above the noise, in the three frames from the onset on
    noise: Array  # (n, bands): natural log of the power of the noise around

    def of(self, kept: Mask | Indices) -> "Onsets":
        """Those that are kept."""
        return Onsets(
            self.times[kept],
            self.bits[kept],
            self.peaks[kept],
            self.shapes[kept],
            self.noise[kept],
        )


def together(parts: Sequence[Onsets]) -> Onsets:
    """Onsets one after the other."""
    return Onsets(
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.bits for part in parts]),
        np.concatenate([part.peaks for part in parts]),
        np.concatenate([part.shapes for part in parts]),
        np.concatenate([part.noise for part in parts]),
    )


def grid_of(rate: int) -> Grid:
    """The frames of about 1 ms and the bands for a sample rate in hertz."""
    hop = max(round(rate * HOP_S), 2)
    window = max(8, 1 << (2 * hop - 1).bit_length())
    bins = window // 2 + 1
    steps = np.geomspace(1, bins, _BANDS)
    edges = np.unique(np.concatenate([[0, 1], np.round(steps)]).astype(np.int64))
    grid = Grid(rate, hop, window, edges, round(_CELL_S * rate / hop), None)
    noise = np.random.default_rng(0).standard_normal(_WHITE * hop).astype(np.float32)
    level, spread = _measure(noise, grid, 0, _WHITE)
    tail = _tail(_peaks(noise, grid, 0, _WHITE, level, spread)[1], _WHITE * grid.hop_s, None)
    return grid._replace(white=White(spread, tail))


def band_levels(samples: Array, grid: Grid, first: int, count: int) -> Real:
    """(count, bands): natural log of the power of frames from `first` on.

    A frame is centred on its first sample; what lies outside the recording is silence.
    """
    begin = first * grid.hop - grid.window // 2
    end = begin + (count - 1) * grid.hop + grid.window
    piece = np.zeros(end - begin)
    inside = slice(max(begin, 0), min(end, len(samples)))
    if inside.stop > inside.start:
        piece[inside.start - begin : inside.stop - begin] = samples[inside]
    frames = np.lib.stride_tricks.sliding_window_view(piece, grid.window)[:: grid.hop]
    taper = np.hanning(grid.window + 2)[1:-1]
    power = np.abs(np.fft.rfft(frames * (taper / np.sqrt(np.square(taper).sum())))) ** 2
    bands = np.add.reduceat(power, grid.edges[:-1], axis=1) / np.diff(grid.edges)
    return np.log(bands + _QUIET)


def cells_of(count: int, grid: Grid) -> int:
    """How many cells, in which noise is measured, `count` samples have: one at least."""
    return max(-(-count // grid.hop) // grid.cell, 1)


def find_onsets(samples: Array, grid: Grid, first: int, end: int) -> Onsets:
    """The onsets of the cells from `first` to `end`; samples (n,) have full scale 1.

    Noise is measured in the cells around, too: the onsets of a cell are the same whatever others
    they are asked for with.
    """
    cells = cells_of(len(samples), grid)
    last = -(-len(samples) // grid.hop)
    bounds = {
        n: (n * grid.cell, (n + 1) * grid.cell if n + 1 < cells else last) for n in range(cells)
    }
    measured = {
        n: _measure(samples, grid, *bounds[n])
        for n in range(max(first - 2 * _NEAR, 0), min(end + 2 * _NEAR, cells))
    }
    peaks, tails, levels = {}, {}, {}
    for n in range(max(first - _NEAR, 0), min(end + _NEAR, cells)):
        levels[n], spread = _around(measured, n)
        peaks[n] = _peaks(samples, grid, *bounds[n], levels[n], spread)
        tails[n] = _tail(peaks[n][1], (bounds[n][1] - bounds[n][0]) * grid.hop_s, grid.white)
    found = []
    for n in range(first, end):
        frames, flux = peaks[n]
        location, scale, often = _around(tails, n)
        bits = (flux - location) / scale / np.log(2) - np.log2(often)
        keep = bits >= -np.log2(PER_SECOND)
        found.append(_describe(samples, grid, frames[keep], bits[keep], levels[n]))
    whole = together(found)
    return whole.of(_once(whole.times, whole.bits))


def _around(cells: dict[int, Real], cell: int) -> Real:
    """The median of what a cell and its neighbours have."""
    near = [cells[n] for n in range(cell - _NEAR, cell + _NEAR + 1) if n in cells]
    middle: Real = np.median(near, axis=0)
    return middle


def _before(levels: Real) -> Real:
    """(frames - 5, bands): the mean power shortly before each frame, as a log."""
    late, early = _BEFORE
    loud = np.exp(levels)
    before = sum(loud[early - lag : len(loud) - lag] for lag in range(late, early + 1))
    mean: Real = np.log(before / (early - late + 1))
    return mean


def _measure(samples: Array, grid: Grid, first: int, end: int) -> Real:
    """(2, bands): the level of the noise of some frames, and the spread of its rises."""
    early = _BEFORE[1]
    levels = band_levels(samples, grid, first - early, end - first + early)
    middle, high = np.quantile(levels[early:] - _before(levels), [0.5, 0.84], axis=0)
    level = np.median(levels[early:], axis=0)
    spread = np.maximum(high - middle, _LEAST_SPREAD)
    if grid.white:
        spread = np.minimum(spread, _AS_WHITE * grid.white.spread)
    return np.stack([level, spread])


def _peaks(
    samples: Array, grid: Grid, first: int, end: int, level: Real, spread: Real
) -> tuple[Indices, Real]:
    """Frames (n,) at which the flux has a peak, and the flux (n,) there.

    The flux is how far the bands rise over what was shortly before and over the noise, in units of
    the noise's own rises.
    """
    begin = first - _BEFORE[1] - _APART
    levels = band_levels(samples, grid, begin, end + _APART - begin)
    rise = levels[_BEFORE[1] :] - np.maximum(_before(levels), level)
    flux = np.maximum(rise / spread - 1, 0).sum(axis=1)
    near = np.lib.stride_tricks.sliding_window_view(flux, 2 * _APART + 1)
    middle = flux[_APART:-_APART]
    peak = (middle > 0) & (near[:, :_APART].max(axis=1) < middle)
    peak &= near[:, _APART + 1 :].max(axis=1) <= middle
    at = np.flatnonzero(peak)
    return at + first, middle[at]


def _describe(samples: Array, grid: Grid, frames: Indices, bits: Real, level: Real) -> Onsets:
    """The onsets at some frames."""
    shapes = np.zeros((len(frames), len(level)), np.float32)
    for place, frame in enumerate(frames):
        loud = np.exp(band_levels(samples, grid, int(frame), 3)).mean(axis=0)
        shapes[place] = 10 / np.log(10) * np.maximum(np.log(loud) - level, 0)
    times, peaks = _envelope_peaks(samples, grid, frames, shapes)
    noise = np.repeat(level[None].astype(np.float32), len(frames), axis=0)
    return Onsets(times, bits, peaks, shapes, noise)


def cut(samples: Array, begins: Indices, size: int) -> Real:
    """(n, size): pieces of the samples; what lies outside the recording is silence."""
    places = begins[:, None] + np.arange(size)
    inside = (places >= 0) & (places < len(samples))
    return np.where(inside, samples[np.clip(places, 0, len(samples) - 1)], 0.0)


def _envelope_peaks(
    samples: Array, grid: Grid, frames: Indices, shapes: Array
) -> tuple[Real, Real]:
    """Seconds at which the envelope of each onset's loudest bands is highest, and how high."""
    size = 4 * grid.window
    begins = frames * grid.hop - size // 2
    spectra = np.fft.fft(cut(samples, begins, size) * np.hanning(size + 2)[1:-1], axis=1)
    loud = shapes >= np.maximum(shapes.max(axis=1, keepdims=True) - 10, 0)
    spectra[:, : size // 2 + 1] *= loud[:, grid.bands_of(size)]
    spectra[:, 0] = 0
    spectra[:, size // 2 + 1 :] = 0
    near = slice(size // 2 - grid.window // 2, size // 2 + grid.window)
    envelope = np.abs(np.fft.ifft(spectra, axis=1))[:, near]
    return (begins + near.start + envelope.argmax(axis=1)) / grid.rate, envelope.max(axis=1)


def _once(times: Real, bits: Real) -> Indices:
    """Places of onsets that stand for a sound, in order of time: the best within APART_S."""
    order = np.argsort(times, kind="stable")
    kept: list[int] = []
    for place in order:
        if kept and times[place] - times[kept[-1]] < APART_S:
            if bits[place] > bits[kept[-1]]:
                kept[-1] = int(place)
        else:
            kept.append(int(place))
    return np.array(kept, np.int64)


def _tail(heights: Real, seconds: float, white: White | None) -> Real:
    """(3,): location and scale of the heights of noise's peaks, and peaks a second.

    Gumbel 1958, "Statistics of extremes": heights of peaks are at most x with the probability
    exp(-exp(-(x - location) / scale)). Both are fitted to low quantiles, so that clicks, which are
    above, hardly count.
    """
    if len(heights) < _FEW:
        return np.array([0.0, 1.0, 1.0])
    low, high = np.quantile(heights, _QUANTILES)
    first, second = -np.log(-np.log(_QUANTILES))
    scale = max(float(high - low) / (second - first), 1e-3)
    location = low - first * scale
    if white:
        most = _AS_WHITE * white.tail
        location, scale = min(location, most[0] + most[1]), min(scale, most[1])
    return np.array([location, scale, len(heights) / seconds])
