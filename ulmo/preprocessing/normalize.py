"""Power to decibels, decibels to normalised values, and both ways back."""

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ulmo.config import Settings

Array = NDArray[np.float32]

MIN_SCALE_DB = 1.0
"""Digital silence has no spread: 1 dB keeps its tiles finite, and nothing real is so flat."""


class Normalization(Settings):
    """A level becomes (level - offset) / scale; both in dB re a full-scale sine."""

    offset_db: Annotated[float, Field(ge=-1000, le=1000)]
    scale_db: Annotated[float, Field(ge=1e-3, le=1000)]

    def apply(self, level: Array) -> Array:
        """Decibels to normalised values, float32."""
        return (level - np.float32(self.offset_db)) / np.float32(self.scale_db)

    def undo(self, values: Array) -> Array:
        """Normalised values to decibels, float32."""
        return values * np.float32(self.scale_db) + np.float32(self.offset_db)


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

    def normalization(self) -> Normalization:
        """Mean and standard deviation, the latter at least MIN_SCALE_DB."""
        if self.cells == 0:
            return Normalization(offset_db=0.0, scale_db=MIN_SCALE_DB)
        mean = self.total / self.cells
        variance = max(self.squares / self.cells - mean * mean, 0.0)
        return Normalization(offset_db=mean, scale_db=max(variance**0.5, MIN_SCALE_DB))


def to_db(power: Array, floor_db: float) -> Array:
    """10 log10 of power, clipped from below at floor_db: silence stays finite. Float32."""
    least = np.float32(10 ** (floor_db / 10))
    level: Array = np.log10(np.maximum(power, least))
    level *= np.float32(10)
    np.maximum(level, np.float32(floor_db), out=level)
    return level


def to_power(level: Array) -> Array:
    """Inverse of `to_db` above its floor. Float32."""
    power: Array = np.power(np.float32(10), level / np.float32(10))
    return power
