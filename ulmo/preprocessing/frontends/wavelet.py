"""Orthogonal wavelet filter banks: coefficients, and their energy on the frames' time base.

    segment -> stages of two levels -> coefficients of each band -> squares -> frames

Own code, because PyWavelets transforms a whole signal one level at a time. Here recordings are
streams, and a stage computes two levels of a few dozen samples as one matrix product, at 2.5 to 4.5
times the speed (docs/benchmarks.md). PyWavelets provides the filters, and in tests the oracle.
"""

from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends.base import FLOAT, Block, FrontEnd
from ulmo.preprocessing.threads import one_thread

Taps = NDArray[np.float64]

STEP = 32  # samples per row of the matrix product: the fastest on two kinds of CPU
# Approximate samples and cells of a block: few enough to stay in the cache.
BLOCK_SAMPLES = 1 << 17
BLOCK_CELLS = 1 << 22
# Largest deviation from orthogonality. PyWavelets calls dmey orthogonal, too, but its truncated
# taps are so only to 2e-3.
ORTHONORMAL = 1e-6
MAX_BLOCK = 1 << 24  # most samples or cells of a block


class Band(NamedTuple):
    """A branch of the filter bank: c[n] = sum over k of taps[k] x[d n + d - 1 - k]."""

    taps: Taps
    decimation: int

    @property
    def delay(self) -> float:
        """Delay of the band's energy in samples: the centroid of the squared taps."""
        energy = self.taps**2
        return float((np.arange(len(energy)) * energy).sum() / energy.sum())

    def then(self, after: "Band") -> "Band":
        """This branch followed by another, as one branch."""
        taps = np.zeros(len(self.taps) + (len(after.taps) - 1) * self.decimation)
        for index, tap in enumerate(after.taps):
            start = index * self.decimation
            taps[start : start + len(self.taps)] += tap * self.taps
        return Band(taps, self.decimation * after.decimation)


def wavelet_bands(settings: PrepSettings) -> tuple[Band, Band]:
    """The low-pass and the high-pass filter of an orthogonal wavelet, by its PyWavelets name.

    The default is sym20. Symlets are nearly symmetric, which keeps an impulse together in time;
    long ones leave less of a tone in its mirror image beyond the band's edge (in `wpt`, half of all
    tones have 89 % of their power in their own packet; with sym8, 74 %).
    """
    import pywt

    try:
        wavelet = pywt.Wavelet(settings.wavelet)
    except (ValueError, TypeError):
        wavelet = None
    if wavelet is None or not _keeps_energy(np.array(wavelet.dec_lo)):
        raise UserError(
            f"wavelet {settings.wavelet!r} is not one of PyWavelets' orthogonal wavelets, "
            "and only those keep energy: set wavelet to sym20"
        )
    return Band(np.array(wavelet.dec_lo), 2), Band(np.array(wavelet.dec_hi), 2)


def _keeps_energy(taps: Taps) -> bool:
    """Whether taps are orthonormal to themselves shifted by any even number of samples."""
    products = np.correlate(taps, taps, "full")[len(taps) - 1 :: 2]
    return bool(np.abs(products - (np.arange(len(products)) == 0)).max() < ORTHONORMAL)


class Stage:
    """Bands of one input that together are critically sampled."""

    def __init__(self, bands: Sequence[Band]) -> None:
        self.bands = bands
        self.decimation = max(band.decimation for band in bands)
        self.history = max(len(band.taps) - band.decimation for band in bands)
        self._weights = np.zeros((self.history + STEP, STEP), np.float32)  # a coefficient a column
        columns = iter(self._weights.T)
        for band in bands:
            for end in range(band.decimation, STEP + 1, band.decimation):
                stop = self.history + end
                next(columns)[stop - len(band.taps) : stop] = band.taps[::-1]

    def run(self, samples: Array) -> Array:
        """Compute coefficients (rows, n, STEP) from samples (rows, history + n * STEP).

        Each step holds the coefficients of the first band, then those of the second, and so on.
        """
        rows, length = samples.shape
        shape = (rows, (length - self.history) // STEP, self.history + STEP)
        strides = (samples.strides[0], STEP * samples.itemsize, samples.itemsize)
        windows = np.lib.stride_tricks.as_strided(samples, shape, strides, writeable=False)
        found: Array = windows.copy().reshape(-1, shape[2]) @ self._weights
        return found.reshape(rows, -1, STEP)


class Step(NamedTuple):
    """A stage in a cascade."""

    stage: Stage
    surplus: int  # samples of its input by which it begins early, as the next stage requires
    early: int  # samples that the next stage requires before the wanted ones


class Cascade:
    """Consecutive stages, each applied to the lowest band or to all bands of the one before."""

    def __init__(self, level: int, one: Sequence[Band], two: Sequence[Band]) -> None:
        """`one` are the bands of a stage of one level, `two` those of a stage of two levels."""
        self.stages = [Stage(one)] * (level % 2) + [Stage(two)] * (level // 2)
        self.unit = 2**level  # fewest samples in which every band has whole coefficients
        self.steps: list[Step] = []
        self.history = 0  # samples required before those whose coefficients are wanted
        for stage in reversed(self.stages):
            surplus = -(-self.history * stage.decimation // STEP) * STEP
            self.steps.insert(0, Step(stage, surplus, self.history))
            self.history = surplus + stage.history


class Wavelet(FrontEnd):
    """Energy of wavelet coefficients in M rows, on the frames' time base.

    A coefficient is placed at the centroid of its filter's energy. Its energy is spread over two
    steps of its band as a triangle, and a frame gets the part within its hop. Energy is preserved:
    the sum of power * hop_length / 2 over all rows and frames is the sum of the squared samples. If
    a band's step is longer than the hop, its energy extends over several frames.
    """

    settings = ("wavelet", "wavelet_level")
    packages = ("pywt", "scipy")
    frame_by_frame = True

    def __init__(self, settings: PrepSettings, cascade: Cascade, bands: Iterable[Band]) -> None:
        """The filters of `bands`, the lowest first, can be long, so one is held at a time."""
        self.cascade = cascade
        self.hop_length = hop = settings.hop_length
        unit = cascade.unit
        self.block_frames = _block_frames(settings, unit)
        places = [(band.decimation, band.delay) for band in bands]
        self._bands = len(places)
        first = -int(np.ceil((hop / 2 + unit) / unit))
        latest = (self.block_frames - 0.5) * hop + unit + max(delay for _, delay in places)
        whole = STEP // cascade.stages[-1].decimation  # units in a step of the last stage
        units = -(-(int(np.ceil(latest / unit)) - first) // whole) * whole
        self._lay = _lay(places, units * unit, first * unit, self.block_frames, hop)
        self.left = cascade.history - first * unit
        self.right = (first + units) * unit - (self.block_frames - 1) * hop
        self._rows = np.arange(settings.tile_size) * len(places) // settings.tile_size
        self._share = (1 / np.bincount(self._rows))[self._rows, None].astype(np.float32)

    def coefficients(self, segment: Array) -> list[Array]:
        """Coefficients of a segment in each band, the lowest first, flat."""
        raise NotImplementedError

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        with one_thread():
            found = np.concatenate(self.coefficients(segment), axis=None)
        laid: Array = self._lay @ np.square(found, out=found)
        power = laid.reshape(self._bands, -1)
        return power if len(power) == len(self._rows) else power[self._rows] * self._share


def _block_frames(settings: PrepSettings, unit: int) -> int:
    """Frames of a block; UserError if hops and steps of `unit` samples hardly ever meet."""
    hop = settings.hop_length
    period = unit // gcd(hop, unit)  # frames after which hops and units coincide
    if period * max(hop, settings.tile_size) > MAX_BLOCK:
        raise UserError(
            f"hop_length {hop} and steps of {unit} samples meet only every {period * hop} "
            f"samples: set hop_length to {max(hop // unit, 1) * unit}"
        )
    periods = min(BLOCK_SAMPLES // hop, BLOCK_CELLS // settings.tile_size) // period
    return period * max(periods, 1)


def wavelet_block(
    settings: PrepSettings,
    cascade: Cascade,
    shares: Sequence[float],
    bands: Sequence[tuple[int, int]],
) -> Block:
    """What `Wavelet` takes.

    shares: share of the samples that each stage of the cascade gets.
    bands: groups of bands, each their number and their step in samples.

    A stage takes history + STEP operations a sample. Each coefficient reaches the frames of two
    steps; each pair of a coefficient and a frame is an entry of a sparse matrix.
    """
    hop, unit = settings.hop_length, cascade.unit
    frames = _block_frames(settings, unit)
    taps = len(cascade.stages[-1].bands[0].taps) * unit  # at most, of the longest filter
    samples = (frames + 1) * hop + 20 * unit + taps
    entries = [
        number * (samples / step) * min(2 * step / hop + 2, frames) for number, step in bands
    ]
    windows = [
        share * (stage.history / STEP + 4)
        for share, stage in zip(shares, cascade.stages, strict=True)
    ]
    work = [
        share * (stage.history + STEP) for share, stage in zip(shares, cascade.stages, strict=True)
    ]
    cells = settings.tile_size * frames
    return Block(
        frames=frames,
        samples=samples + cascade.history,
        bytes=FLOAT * ((samples + cascade.history) * max(windows) + 2 * cells),
        operations=samples * (sum(work) + 2) + 2 * sum(entries) + 2 * cells,
        kept=40 * sum(entries) + 60 * max(entries),
        begin=100 * sum(entries) + 10 * taps,
    )


def _lay(
    places: Sequence[tuple[int, float]], samples: int, first: int, frames: int, hop_length: int
) -> Any:
    """Weights (bands * frames, coefficients) that turn squared coefficients into power.

    `places` are the step and the delay, in samples, of each band's coefficients. These cover
    `samples` samples from `first` on, counted from the centre of the first frame. A full-scale sine
    has power 1, hence the factor of 2.
    """
    import scipy.sparse

    edges = (np.arange(frames + 1) - 0.5) * hop_length
    blocks = []
    for step, delay in places:
        times = first + np.arange(samples // step) * step + step - 1 - delay
        low = np.searchsorted(edges, times - step, side="right") - 1
        high = np.searchsorted(edges, times + step, side="left")
        reached = np.clip(high, 0, frames) - np.clip(low, 0, frames)
        columns = np.repeat(np.arange(len(times)), reached)
        begins = np.repeat(np.cumsum(reached) - reached, reached)
        rows = np.clip(low, 0, frames)[columns] + np.arange(len(columns)) - begins
        shares = _triangle((edges[rows + 1] - times[columns]) / step)
        shares -= _triangle((edges[rows] - times[columns]) / step)
        weights = (2 / hop_length * shares).astype(np.float32)
        blocks.append(
            scipy.sparse.csr_array((weights, (rows, columns)), shape=(frames, len(times)))
        )
    return scipy.sparse.csr_array(scipy.sparse.block_diag(blocks, format="csr"))


def _triangle(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a triangle over -1 to 1 that lies left of a place."""
    inside = np.clip(place, -1, 1)
    return 0.5 + inside - 0.5 * inside * np.abs(inside)
