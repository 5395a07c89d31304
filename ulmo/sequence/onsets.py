"""Onsets: moments at which a sound begins within a few milliseconds, from samples at any rate.

Spectral flux (Bello et al. 2005, "A tutorial on onset detection in music signals", section III.B)
of bands about an octave wide, in units of each band's own noise. Peaks are measured against the
peaks of noise: how many as high a second of it would give.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask

Real = NDArray[np.float64]

HOP_S = 0.001  # of frames: half of the shortest distance of parts of clicks 5 ms apart
APART_S = 0.003  # onsets that are nearer are one
PER_SECOND = 2.0  # onsets kept in a second of noise: trains are told from them by their intervals
_CELL_S = 5.0  # of one measurement of noise
_NEAR = 1  # cells on each side whose median is the noise of one
_BANDS = 12  # the most; wider than the noise of one frame, narrow enough to part kinds of clicks
_BEFORE = (2, 5)  # frames before an onset that say how loud it was
_APART = 2  # frames on each side in which an onset is the highest
QS=np.array([.2,.6])
_QUIET = 2.0**-40  # power of a sample that counts as silence: an 20-bit step
_BLOCK = 1 << 14  # frames computed at once: some MB


class Grid(NamedTuple):
    """Frames and bands of a recording."""

    rate: int  # hertz
    hop: int  # samples
    window: int  # samples
    edges: Indices  # (bands + 1,): bins at which bands begin, and the end

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

    frames: Indices  # (n,)
    times: Real  # (n,) seconds: of the peak of the envelope, to a sample
    peaks: Real  # (n,): of the envelope
    bits: Real  # (n,): log2 of seconds of noise for one onset as high
    shapes: Array  # (n, bands): decibels above the noise, at the onset and shortly after
    noise: Array  # (n, bands): natural log of the power of the noise around
    seconds: float  # of what they were looked for in

    def of(self, kept: Mask, seconds: float) -> "Onsets":
        """Those that are kept, of a part of so many seconds."""
        return Onsets(*(column[kept] for column in self[:-1]), seconds)


def grid_of(rate: int) -> Grid:
    """The frames of about 1 ms and the bands for a sample rate in hertz."""
    hop = max(round(rate * HOP_S), 2)
    window = max(8, 1 << (2 * hop - 1).bit_length())
    bins = window // 2 + 1
    steps = np.geomspace(1, bins, _BANDS)
    edges = np.unique(np.concatenate([[0, 1], np.round(steps)]).astype(np.int64))
    return Grid(rate, hop, window, edges)


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


class _Noise(NamedTuple):
    """Level (cells, bands) and spread (cells, bands) of the noise, in natural logs of power."""

    level: Real
    spread: Real


def _smooth(cells: Real) -> Real:
    """The median of each cell (cells, ...) and its neighbours."""
    return np.stack(
        [
            np.median(cells[max(n - _NEAR, 0) : n + _NEAR + 1], axis=0)
            for n in range(len(cells))
        ]
    )


def _cells(frames: int, grid: Grid) -> list[tuple[int, int]]:
    """The first frame and the end of each cell; the last one is never a short one."""
    size = round(_CELL_S / grid.hop_s)
    count = max(frames // size, 1)
    return [(n * size, (n + 1) * size if n + 1 < count else frames) for n in range(count)]


def _flux(levels: Real, level: Real, spread: Real) -> Real:
    """(frames - 5,): how far the bands rise over what was shortly before, in units of noise."""
    before = np.maximum(_before(levels), level)
    rise = np.maximum((levels[_BEFORE[1] :] - before) / spread - 1, 0)
    return rise.sum(axis=1)


def _before(levels: Real) -> Real:
    """(frames - 5, bands): the mean power shortly before each frame, as a log."""
    late, early = _BEFORE
    loud = np.exp(levels)
    before = sum(loud[early - lag : len(loud) - lag] for lag in range(late, early + 1))
    return np.log(before / (early - late + 1))


def find_onsets(samples: Array, grid: Grid) -> Onsets:
    """The onsets of samples (n,) of full scale 1, all finite."""
    frames = -(-len(samples) // grid.hop)
    cells = _cells(frames, grid)
    early, margin = _BEFORE[1], _APART
    noise = _measure(samples, grid, cells)
    found_at, found_flux, limits = [], [], []
    for (first, end), level, spread in zip(cells, noise.level, noise.spread, strict=True):
        begin = first - early - margin
        levels = band_levels(samples, grid, begin, end + margin - begin)
        flux = _flux(levels, level, spread)  # of the frames from first - margin on
        near = np.lib.stride_tricks.sliding_window_view(flux, 2 * margin + 1)
        middle = flux[margin:-margin]
        peak = (middle > 0) & (near[:, :margin].max(axis=1) < middle)
        peak &= near[:, margin + 1 :].max(axis=1) <= middle
        at = np.flatnonzero(peak)
        found_at.append(at + first)
        found_flux.append(middle[at])
        limits.append(_tail(middle[at], (end - first) * grid.hop_s))
    tails = _smooth(np.array(limits))
    kept_at, kept_bits, shapes, times, peaks, noises = [], [], [], [], [], []
    for (first, end), at, flux, tail, level in zip(
        cells, found_at, found_flux, tails, noise.level, strict=True
    ):
        bits = (flux - tail[0]) / tail[1] / np.log(2) - np.log2(tail[2])
        keep = bits >= -np.log2(PER_SECOND)
        levels = band_levels(samples, grid, first, end + 4 - first)
        places = (at[keep] - first)[:, None] + np.arange(3)
        loud = np.log(np.exp(levels[places]).mean(axis=1)) - level
        shapes.append((10 / np.log(10) * np.maximum(loud, 0)).astype(np.float32))
        moments, heights = _peaks(samples, grid, at[keep], shapes[-1])
        times.append(moments)
        peaks.append(heights)
        noises.append(np.repeat(level[None].astype(np.float32), keep.sum(), axis=0))
        kept_at.append(at[keep])
        kept_bits.append(bits[keep])
    columns = (kept_at, times, peaks, kept_bits, shapes, noises)
    at, moments, heights, bits, loud, levels = (np.concatenate(column) for column in columns)
    kept = _once(moments, bits)
    return Onsets(
        at[kept],
        moments[kept],
        heights[kept],
        bits[kept],
        loud[kept],
        levels[kept],
        len(samples) / grid.rate,
    )


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


def cut(samples: Array, begins: Indices, size: int) -> Real:
    """(n, size): pieces of the samples; what lies outside the recording is silence."""
    places = begins[:, None] + np.arange(size)
    inside = (places >= 0) & (places < len(samples))
    return np.where(inside, samples[np.clip(places, 0, len(samples) - 1)], 0.0)


def _peaks(samples: Array, grid: Grid, frames: Indices, shapes: Array) -> tuple[Real, Real]:
    """Seconds at which the envelope of each onset's loudest bands is highest."""
    size = 4 * grid.window
    begins = frames * grid.hop - size // 2
    spectra = np.fft.fft(cut(samples, begins, size) * np.hanning(size + 2)[1:-1], axis=1)
    loud = shapes >= np.maximum(shapes.max(axis=1, keepdims=True) - 10, 0)
    spectra[:, : size // 2 + 1] *= loud[:, grid.bands_of(size)]
    spectra[:, 0] = 0
    spectra[:, size // 2 + 1 :] = 0
    envelope = np.abs(np.fft.ifft(spectra, axis=1))
    middle = size // 2
    near = slice(middle - grid.window // 2, middle + grid.window)
    return (begins + near.start + envelope[:, near].argmax(axis=1)) / grid.rate, envelope[:, near].max(axis=1)


def _measure(samples: Array, grid: Grid, cells: list[tuple[int, int]]) -> _Noise:
    level, spread = [], []
    for first, end in cells:
        levels = band_levels(samples, grid, first - _BEFORE[1], end - first + _BEFORE[1])
        rise = levels[_BEFORE[1] :] - _before(levels)
        level.append(np.median(levels[_BEFORE[1] :], axis=0))
        middle, high = np.quantile(rise, [0.5, 0.84], axis=0)
        spread.append(np.maximum(high - middle, 0.25))
    return _Noise(_smooth(np.array(level)), _smooth(np.array(spread)))


def _tail(heights: Real, seconds: float) -> Real:
    """(3,): location and scale of the heights of noise's peaks, and peaks a second.

    Gumbel 1958, "Statistics of extremes": heights of peaks are at most x with the probability
    exp(-exp(-(x - location) / scale)). Both are fitted to low quantiles, so that clicks, which are
    above, hardly count.
    """
    if len(heights) < 8:
        return np.array([0.0, 1.0, 1.0])
    low, high = np.quantile(heights, QS)
    a, b = -np.log(-np.log(QS))
    scale = max((high - low) / (b - a), 1e-3)
    return np.array([low - a * scale, scale, len(heights) / seconds])
