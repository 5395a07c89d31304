"""Power to decibels or PCEN, either to normalised values, and the ways back."""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ulmo.arrays import Array
from ulmo.config import PrepSettings, Settings

MIN_SCALE = 1.0
"""Digital silence has no spread: 1 dB keeps its tiles finite, and nothing real is so flat."""
MIN_SCALE_PCEN = 1e-3
"""The same for PCEN, in which steady noise has a spread of 0.3."""
ROUNDING = 1e-5
"""Of power: some way under the floor, so that no rounding of the logarithm lands above it."""
MAX_LEVEL = 1e25
"""PCEN that hardly compresses is the power of 120 dB over full scale, times PCEN_SCALE."""
INFINITE = np.float32(np.inf)
DB_PER_NEPER = np.float32(10 / math.log(10))
"""Of power: 10 log10(x) over ln(x)."""
PCEN_SCALE = 2.0**31
"""Of power, before PCEN: its usual parameters are for samples of 32-bit integers."""
PCEN_EPS = 1e-6
"""epsilon of Wang et al. (2017), equation 1."""


class Normalization(Settings):
    """A level becomes (level - offset) / scale; both in dB re a full-scale sine, or in PCEN.

    In the mode `level` they are in dB re the level that was followed.
    """

    offset: Annotated[float, Field(ge=-MAX_LEVEL, le=MAX_LEVEL)]
    scale: Annotated[float, Field(ge=1e-6, le=MAX_LEVEL)]

    def apply(self, level: Array, *, out: Array | None = None) -> Array:
        """Levels to normalised values, float32; `out` may be the levels themselves."""
        values: Array = np.subtract(level, np.float32(self.offset), out=out)
        values /= np.float32(self.scale)
        return values

    def undo(self, values: Array) -> Array:
        """Normalised values to decibels, float32."""
        return values * np.float32(self.scale) + np.float32(self.offset)


class Moments(NamedTuple):
    """Sums from which mean and standard deviation follow; they add up in any grouping."""

    cells: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, level: Array) -> "Moments":
        """Moments of one block of levels in dB."""
        values = level.astype(np.float64)
        return cls(values.size, float(values.sum()), float((values * values).sum()))

    def __add__(self, other: object) -> "Moments":
        if not isinstance(other, Moments):
            return NotImplemented
        return Moments(
            self.cells + other.cells, self.total + other.total, self.squares + other.squares
        )

    def normalization(self, least: float = MIN_SCALE) -> Normalization:
        """Mean and standard deviation, the latter at least `least`."""
        if self.cells == 0:
            return Normalization(offset=0.0, scale=least)
        mean = self.total / self.cells
        variance = max(self.squares / self.cells - mean * mean, 0.0)
        return Normalization(offset=mean, scale=max(variance**0.5, least))


def to_db(power: Array, floor_db: float) -> Array:
    """10 log10 of power, clipped from below at floor_db: silence stays finite. Float32.

    OpenCV's logarithm is as exact as numpy's, and takes a twentieth of the time of np.log10 where
    there is no AVX-512; np.clip takes a third of the time of np.maximum.
    """
    level = np.empty(power.shape, np.float32)
    np.clip(power, np.float32((1 - ROUNDING) * 10 ** (floor_db / 10)), INFINITE, out=level)
    if level.size:
        flat = level.reshape(1, -1)
        cv2.log(flat, flat)
    level *= DB_PER_NEPER
    return np.clip(level, np.float32(floor_db), INFINITE, out=level)


def to_power(level: Array) -> Array:
    """Inverse of `to_db` above its floor. Float32."""
    power: Array = np.power(np.float32(10), level / np.float32(10))
    return power


def pcen(blocks: Iterable[Array], settings: PrepSettings) -> Iterator[Array]:
    """Per-channel energy normalisation of blocks (M, n) of power (Wang et al. 2017, equation 1).

    Power is divided by its own running mean, so that steady noise and gain fall away and onsets
    stay. The running mean is recursive: it begins at the first frame, and depends on all frames
    before. How the blocks are cut changes no bit; a tile alone cannot be undone, for its running
    mean is not in it. Power is clipped at floor_db first, which keeps digital silence finite.
    """
    import scipy.signal

    smoothing = _smoothing(settings)
    least = np.float32(10 ** (settings.floor_db / 10))
    state = None
    for block in blocks:
        energy = np.maximum(block, least).astype(np.float64) * PCEN_SCALE
        if state is None:
            state = (1 - smoothing) * energy[:, :1]  # the mean is the first frame's energy
        mean, state = scipy.signal.lfilter([smoothing], [1, smoothing - 1], energy, zi=state)
        yield _compressed(energy, mean, settings).astype(np.float32)


def quiet_level(settings: PrepSettings) -> float:
    """The level of lasting silence: what fills a tile behind the end of its recording."""
    if settings.normalization == "level":
        return -settings.level_range_db
    if settings.normalization != "pcen":
        return settings.floor_db
    energy = np.array(PCEN_SCALE * 10 ** (settings.floor_db / 10))
    return float(_compressed(energy, energy, settings))


def _smoothing(settings: PrepSettings) -> float:
    """Share of the new frame in the running mean whose -3 dB point is that time constant's."""
    frames = settings.pcen_time_constant * settings.sample_rate / settings.hop_length
    return 2 / (1 + math.sqrt(1 + 4 * frames**2))


def _compressed(
    energy: NDArray[np.float64], mean: NDArray[np.float64], settings: PrepSettings
) -> NDArray[np.float64]:
    gain, bias, power = settings.pcen_gain, settings.pcen_bias, settings.pcen_power
    ratio = energy / (PCEN_EPS + mean) ** gain
    compressed: NDArray[np.float64] = (ratio + bias) ** power - bias**power
    return compressed
