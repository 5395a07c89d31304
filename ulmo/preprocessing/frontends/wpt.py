"""Wavelet packets: M bands of equal width, in the order of their frequencies."""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil, log2

import numpy as np

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings, UserError
from ulmo.preprocessing.frontends.wavelet import (
    Band,
    Cascade,
    Stage,
    Wavelet,
    wavelet_bands,
    wavelet_block,
)

MAX_TAPS = 1 << 28  # most taps of all packets' filters: finding their delays takes some seconds


class Wpt(Wavelet):
    """The M lowest of 2^level wavelet packets (Coifman and Meyer; Wickerhauser 1991).

    Each is sample_rate / 2^(level + 1) wide and has a coefficient every 2^level samples. Packets
    are in the order of frequency: a high branch reverses the spectrum, and so the order below it.
    Coefficients equal those of PyWavelets' `WaveletPacket` with mode "zero", order "freq".
    """

    words = "wavelet packet transform"

    @staticmethod
    def _level(settings: PrepSettings) -> int:
        fewest = ceil(log2(settings.tile_size))
        level = fewest if settings.wavelet_level is None else settings.wavelet_level
        if level < fewest:
            raise UserError(
                f"wavelet_level {level} gives {2**level} bands, fewer than tile_size "
                f"{settings.tile_size}: set wavelet_level to {fewest}"
            )
        taps = len(wavelet_bands(settings)[0].taps)
        if 2**level * taps * settings.tile_size > MAX_TAPS:
            raise UserError(
                f"wavelet_level {level} makes filters of {2**level * taps} taps, too long "
                f"for {settings.tile_size} of them: set wavelet_level to {fewest}, or a smaller "
                "tile_size"
            )
        return level

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """See FrontEnd. To be built, the filters of all packets take 2^level taps M operations."""
        level = cls._level(settings)
        low, high = wavelet_bands(settings)
        cascade = _cascade(level, low, high)
        samples = [1.0] * len(cascade.stages)
        block = wavelet_block(settings, cascade, samples, [(settings.tile_size, 2**level)])
        taps = settings.tile_size * 2**level * len(low.taps)
        longest = len(cascade.stages[-1].bands[0].taps)
        return block._replace(begin=block.begin + 2 * taps * longest).cost(settings)

    def __init__(self, settings: PrepSettings) -> None:
        level = self._level(settings)
        low, high = wavelet_bands(settings)
        cascade = _cascade(level, low, high)
        self._wanted = [settings.tile_size]  # rows after each stage
        for stage in cascade.stages[:0:-1]:
            self._wanted.insert(0, -(-self._wanted[0] // stage.decimation))
        bands = islice(_leaves(Band(np.ones(1), 1), 0, cascade.stages), settings.tile_size)
        super().__init__(settings, cascade, bands)
        width = settings.sample_rate / 2 ** (level + 1)
        self.frequencies = (np.arange(settings.tile_size) + 0.5) * width

    def coefficients(self, segment: Array) -> list[Array]:
        """Coefficients of a segment in each packet, the lowest first."""
        rows = segment[None]  # (bands, samples)
        for (stage, surplus, early), wanted in zip(self.cascade.steps, self._wanted, strict=True):
            found = stage.run(rows)
            found = found.reshape(*found.shape[:2], stage.decimation, -1).transpose(0, 2, 1, 3)
            split = np.empty(found.shape, np.float32)  # (bands, branches, steps, coefficients)
            split[::2], split[1::2] = found[::2], found[1::2, ::-1]
            drop = surplus // stage.decimation - early
            rows = split.reshape(found.shape[0] * stage.decimation, -1)[:wanted, drop:]
        return [rows]


def _cascade(level: int, low: Band, high: Band) -> Cascade:
    four = [low.then(low), low.then(high), high.then(high), high.then(low)]
    return Cascade(level, [low, high], four)


def _leaves(band: Band, index: int, stages: Sequence[Stage]) -> Iterator[Band]:
    """Yield the packets below a branch, the lowest first; holds one per level."""
    if not stages:
        yield band
        return
    stage, *below = stages
    branches = stage.bands if index % 2 == 0 else stage.bands[::-1]
    for number, branch in enumerate(branches):
        yield from _leaves(band.then(branch), number, below)
