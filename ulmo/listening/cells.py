"""Levels of cells, a few bins by one column of tokens, measured while a recording is read.

samples -> largest of each column; power (M, frames) -> mean of each cell -> decibels
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.frontends import FrontEnd
from ulmo.preprocessing.hearing import Hearing
from ulmo.tokens import band_edges

# Half precision resolves 0.06 dB at 100 dB, and a day of 28 cells every 40 ms takes 125 MB.
Levels = NDArray[np.float16]
SILENCE_DB = -200.0  # of digital silence
_LEAST = 10 ** (SILENCE_DB / 10)


class Cells(NamedTuple):
    """Levels of consecutive columns in dB; cell 0 is the lowest in frequency."""

    means: Levels  # (columns, cells) of the mean power of a cell, re a full-scale sine
    peaks: Levels  # (columns,) of the largest sample as recorded, re full scale

    @classmethod
    def joined(cls, parts: Iterable["Cells"], cells: int) -> "Cells":
        """Parts that follow each other as one."""
        means, peaks = [np.empty((0, cells), np.float16)], [np.empty(0, np.float16)]
        for part in parts:
            means.append(part.means)
            peaks.append(part.peaks)
        return cls(np.concatenate(means), np.concatenate(peaks))


class CellLevels(Hearing):
    """Measures cells of `bins` bins by `frames` frames, beside all that a Hearing measures.

    Each stretch begins a column, so how its blocks are cut changes no level.
    """

    def __init__(
        self, frontend: FrontEnd, settings: PrepSettings, *, bins: int, frames: int
    ) -> None:
        super().__init__(frontend, settings)
        self.edges_hz = band_edges(frontend.frequencies, bins)  # (cells + 1,)
        self._bins = frontend.frequencies
        self._starts = np.arange(0, len(self._bins), bins)
        self._sizes = np.diff(np.append(self._starts, len(self._bins)))
        self._column_frames, self._column_samples = frames, frames * settings.hop_length
        self._means: list[Levels] = []
        self._peaks: list[float] = []

    def resample(self, blocks: Iterable[Array], rate: int, new_rate: int) -> Iterator[Array]:
        """As `resample`; begins a stretch, and finds the largest sample of each column."""
        self._means, self._peaks = [], []
        width = Fraction(self._column_samples * rate, new_rate)
        yield from super().resample(self._peaked(blocks, width), rate, new_rate)

    def _peaked(self, blocks: Iterable[Array], width: Fraction) -> Iterator[Array]:
        """The blocks as they are; finds the largest sample of each `width` of them.

        Resampling takes what is above its band away, and may make peaks that were not there.
        """
        done, held = 0, np.empty(0, np.float32)  # samples before those that are held
        for block in blocks:
            held = np.concatenate([held, np.abs(block)])
            column = len(self._peaks)
            last = int((done + len(held)) / width)  # the columns before it are whole
            ends = [ceil(number * width) - done for number in range(column, last + 1)]
            if last > column:
                self._peaks += np.maximum.reduceat(held[: ends[-1]], ends[:-1]).tolist()
                held, done = held[ends[-1] :].copy(), done + ends[-1]
            yield block
        if len(held):
            self._peaks.append(float(held.max()))

    def power(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Blocks (M, n) of power as they are; finds the mean of each cell."""
        width = self._column_frames
        held = np.empty((len(self._bins), 0), np.float32)
        for block in super().power(blocks):
            held = np.concatenate([held, block], axis=1)
            whole = held.shape[1] // width * width
            if whole:
                self._means.append(self._measured(held[:, :whole], width))
                held = held[:, whole:].copy()
            yield block
        if held.shape[1]:
            self._means.append(self._measured(held, held.shape[1]))

    def _measured(self, power: Array, width: int) -> Levels:
        """Levels (columns, cells) of power (M, n), in columns of `width` frames."""
        frames = power.reshape(len(power), -1, width)
        sums = np.add.reduceat(frames.sum(axis=2), self._starts, axis=0)
        return _decibels((sums / (width * self._sizes[:, None])).T)

    def take(self) -> Cells:
        """The levels of the stretch that was read last."""
        means = np.concatenate([np.empty((0, len(self._starts)), np.float16), *self._means])
        peaks = np.array([*self._peaks, 0.0][: len(means)])
        missing = (0, len(means) - len(peaks))  # of a column that only resampling has
        return Cells(means, _decibels(np.square(np.pad(peaks, missing))))


def _decibels(power: NDArray[np.floating]) -> Levels:
    levels: Levels = (10 * np.log10(np.maximum(power, _LEAST))).astype(np.float16)
    return levels
