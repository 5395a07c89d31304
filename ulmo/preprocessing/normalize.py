"""Power to levels (decibels, PCEN, or decibels re a tracked level), and to normalised values."""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ulmo.arrays import Array
from ulmo.config import PrepSettings, Settings

# The least scale, in dB: it keeps digital silence finite, and no real sound is so flat.
MIN_SCALE = 1.0
MIN_SCALE_PCEN = 1e-3  # the same for PCEN, in which steady noise has a deviation of 0.3
ROUNDING = 1e-5  # share of the floor's power: no rounding of the logarithm ends above the floor
MAX_LEVEL = 1e25  # PCEN without compression: 120 dB over full scale, times PCEN_SCALE
INFINITE = np.float32(np.inf)
DB_PER_NEPER = np.float32(10 / math.log(10))  # for power: 10 log10(x) over ln(x)
PCEN_SCALE = 2.0**31  # for power before PCEN, whose usual parameters are for 32-bit integers
_LOUDEST_DB = 10 * math.log10(MAX_LEVEL / PCEN_SCALE)
_MARGIN = 1.01  # for rounding
PCEN_EPS = 1e-6  # epsilon of Wang et al. (2017), equation 1


class Normalization(Settings):
    """A level becomes (level - offset) / scale.

    Both are in dB re a full-scale sine, in the mode `pcen` in PCEN, and in the mode `level` in dB
    re the tracked level.
    """

    offset: Annotated[float, Field(ge=-MAX_LEVEL, le=MAX_LEVEL)]
    scale: Annotated[float, Field(ge=1e-6, le=MAX_LEVEL)]

    def apply(self, level: Array, *, out: Array | None = None) -> Array:
        """Normalise levels, float32; `out` may be the levels themselves."""
        values: Array = np.subtract(level, np.float32(self.offset), out=out)
        values /= np.float32(self.scale)
        return values

    def undo(self, values: Array) -> Array:
        """The levels of normalised values, float32."""
        return values * np.float32(self.scale) + np.float32(self.offset)


class Moments(NamedTuple):
    """Sums that give the mean and standard deviation of levels; add them in any grouping."""

    cells: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, level: Array) -> "Moments":
        """The moments of one block of levels."""
        values = level.astype(np.float64)
        return cls(values.size, float(values.sum()), float((values * values).sum()))

    def __add__(self, other: object) -> "Moments":
        if not isinstance(other, Moments):
            return NotImplemented
        return Moments(
            self.cells + other.cells, self.total + other.total, self.squares + other.squares
        )

    def normalization(self, least: float = MIN_SCALE) -> Normalization:
        """Mean and standard deviation as offset and scale; the scale is at least `least`."""
        if self.cells == 0:
            return Normalization(offset=0.0, scale=least)
        mean = self.total / self.cells
        variance = max(self.squares / self.cells - mean * mean, 0.0)
        return Normalization(offset=mean, scale=max(variance**0.5, least))


def to_db(power: Array, floor_db: float) -> Array:
    """10 log10 of power, at least floor_db so that silence stays finite. Float32.

    Without AVX-512, OpenCV's logarithm takes a twentieth of the time of np.log10 and is as exact;
    np.clip takes a third of the time of np.maximum.
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

    Power is divided by its own running mean, which removes steady noise and gain and keeps onsets.
    The running mean begins at the first frame and depends on all frames before, so PCEN cannot be
    undone for a tile alone. How the blocks are cut changes no bit. Power is first clipped at
    floor_db, which keeps digital silence finite.
    """
    smoothing = _smoothing(settings)
    least = np.float32(10 ** (settings.floor_db / 10))
    state = None
    for block in blocks:
        energy = np.maximum(block, least).astype(np.float64) * PCEN_SCALE
        if state is None:
            state = (1 - smoothing) * energy[:, 0]  # the mean is the first frame's energy
        mean = np.empty_like(energy)
        for frame in range(energy.shape[1]):
            mean[:, frame] = state + smoothing * energy[:, frame]
            state = (1 - smoothing) * mean[:, frame]
        yield _compressed(energy, mean, settings).astype(np.float32)


def to_tracked_db(blocks: Iterable[Array], settings: PrepSettings) -> Iterator[Array]:
    """Blocks (M, n) of power in decibels re the tracked level of their channel, float32.

    This is the mode `level`. How the blocks are cut changes no bit.

        x[t] = 10 log10 of the power of frame t, summed over its bins; at least level_least_db
        L[t] = max(x[t], L[t-1] - level_release_db * seconds per frame)
        value = max(10 log10(power) - L[t], -level_range_db)

    A louder recording has a higher L and the same values, so gain is removed, except in frames
    under level_least_db. L rises at once and falls slowly, as in a peak programme meter
    (IEC 60268-10): no frame is over 0 dB. L starts at the recording's first frame, and depends on
    no later frame.
    """
    for block, level in track_level(blocks, settings):
        gain = (10 ** (level / -10)).astype(np.float32)
        yield to_db(block * gain, -settings.level_range_db)


def track_level(
    blocks: Iterable[Array], settings: PrepSettings
) -> Iterator[tuple[Array, NDArray[np.float64]]]:
    """Each block (M, n) of power, and its tracked level L (n,) in dB re a full-scale sine.

    L is a running maximum of levels to which the release up to their frame is added. Only that
    maximum passes from block to block; after a year, float64 still resolves 1e-8 dB of it.
    """
    release = settings.level_release_db * settings.hop_length / settings.sample_rate
    least = 10 ** (settings.level_least_db / 10)
    highest, first = -np.inf, 0
    for block in blocks:
        if not block.shape[1]:
            yield block, np.empty(0)
            continue
        fallen = np.arange(first, first + block.shape[1]) * release
        power = _sum_of_bins(block)
        rising = 10 * np.log10(np.maximum(power, least)) + fallen
        rising[0] = max(rising[0], highest)
        rising = np.maximum.accumulate(rising)
        highest, first = rising[-1], first + block.shape[1]
        yield block, rising - fallen


def _sum_of_bins(block: Array) -> NDArray[np.float64]:
    """The power (n,) of all bins of a block (M, n), summed from the lowest bin up.

    NumPy sums so over the first axis of an array in C order, in a fifth of the time of a loop. A
    single frame it would sum by halves: with a copy beside it, it does not.
    """
    values = np.array(block, np.float64, order="C")
    frames = values.shape[1]
    total: NDArray[np.float64] = (values if frames > 1 else values.repeat(2, axis=1)).sum(axis=0)
    return total[:frames]


def quiet_level(settings: PrepSettings) -> float:
    """The level of lasting silence, which fills a tile after the end of its recording."""
    if settings.normalization == "level":
        return -settings.level_range_db
    if settings.normalization != "pcen":
        return settings.floor_db
    energy = np.array(PCEN_SCALE * 10 ** (settings.floor_db / 10))
    return float(_compressed(energy, energy, settings))


def largest_value(settings: PrepSettings, constants: Normalization | None) -> float:
    """No normalised value of a tile is larger, or smaller than its negative.

    Samples are at most 120 dB over full scale, which with the gain of a front end gives levels of
    at most _LOUDEST_DB; none is below the settings' floor. In PCEN, with energy E, its mean m >=
    smoothing * E and gain and power up to 1, a level is at most (E / m**gain)**power. Without
    `constants`, they are those of a recording or tile: a mean of levels, and at least MIN_SCALE.
    """
    if settings.normalization == "pcen":
        gain = settings.pcen_gain
        ratio = float(MAX_LEVEL ** (1 - gain) / _smoothing(settings) ** gain)
        level = math.pow(ratio, settings.pcen_power)
    else:
        level = max(abs(settings.floor_db), settings.level_range_db, _LOUDEST_DB)
    if constants is None:
        return _MARGIN * 2 * level / MIN_SCALE
    return _MARGIN * (level + abs(constants.offset)) / constants.scale


def _smoothing(settings: PrepSettings) -> float:
    """Weight of a new frame in the running mean, whose -3 dB point is at the time constant."""
    frames = settings.pcen_time_constant * settings.sample_rate / settings.hop_length
    return 2 / (1 + math.sqrt(1 + 4 * frames**2))


def _compressed(
    energy: NDArray[np.float64], mean: NDArray[np.float64], settings: PrepSettings
) -> NDArray[np.float64]:
    gain, bias, power = settings.pcen_gain, settings.pcen_bias, settings.pcen_power
    ratio = energy / (PCEN_EPS + mean) ** gain
    compressed: NDArray[np.float64] = (ratio + bias) ** power - bias**power
    return compressed
