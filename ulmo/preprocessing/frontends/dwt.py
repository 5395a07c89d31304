"""Discrete wavelet transform: octave bands, each at its own time step."""

import numpy as np

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings, UserError
from ulmo.preprocessing.frontends.wavelet import (
    STEP,
    Band,
    Cascade,
    Wavelet,
    wavelet_bands,
    wavelet_block,
)

LEVEL = 7  # by default: eight bands, which at M = 224 have 28 rows an octave, about as `cqt` has


class Dwt(Wavelet):
    """Octave bands of Mallat's pyramid (1989), laid on M rows.

    The lowest band holds all frequencies below sample_rate / 2^(level + 1), and takes as many rows
    as an octave. The rows of a band share its power evenly: a full-scale sine has power 1 in the
    sum over its octave. Coefficients equal those of PyWavelets' `wavedec` with mode "zero".
    """

    words = "discrete wavelet transform"

    @staticmethod
    def _level(settings: PrepSettings) -> int:
        level = LEVEL if settings.wavelet_level is None else settings.wavelet_level
        if level + 1 > settings.tile_size:
            raise UserError(
                f"wavelet_level {level} gives {level + 1} bands, more than tile_size "
                f"{settings.tile_size}: set wavelet_level to {settings.tile_size - 1}"
            )
        return level

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """See FrontEnd. A stage of two levels leaves a quarter of the samples for the next."""
        level = cls._level(settings)
        cascade = _cascade(level, *wavelet_bands(settings))
        samples = [4.0**-number for number in range(len(cascade.stages))]
        bands = [(1, 2 ** min(number + 1, level)) for number in range(level + 1)]
        return wavelet_block(settings, cascade, samples, bands).cost(settings)

    def __init__(self, settings: PrepSettings) -> None:
        level = self._level(settings)
        low, high = wavelet_bands(settings)
        cascade = _cascade(level, low, high)
        super().__init__(settings, cascade, _pyramid(low, high, level))
        octaves = (np.arange(settings.tile_size) + 0.5) * (level + 1) / settings.tile_size
        self.frequencies = settings.sample_rate / 2 * 2.0 ** (octaves - level - 1)

    def coefficients(self, segment: Array) -> list[Array]:
        """Coefficients of a segment in each octave, the lowest first."""
        bands: list[Array] = []
        rest = segment
        for stage, surplus, early in self.cascade.steps:
            found = stage.run(rest[None])[0]
            ends = np.cumsum([STEP // band.decimation for band in stage.bands])
            lowest, *octaves = (part.ravel() for part in np.split(found, ends[:-1], axis=1))
            rest = lowest[surplus // stage.decimation - early :]
            bands[:0] = [
                octave[surplus // band.decimation :]
                for octave, band in zip(octaves, stage.bands[1:], strict=True)
            ]
        return [rest, *bands]


def _cascade(level: int, low: Band, high: Band) -> Cascade:
    return Cascade(level, [low, high], [low.then(low), low.then(high), high])


def _pyramid(low: Band, high: Band, level: int) -> list[Band]:
    """Filters of all bands, from the input to the band, the lowest band first."""
    details: list[Band] = []
    rest = Band(np.ones(1), 1)
    for _ in range(level):
        details.insert(0, rest.then(high))
        rest = rest.then(low)
    return [rest, *details]
