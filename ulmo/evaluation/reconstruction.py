"""How far reconstructions lie from their tiles, band by band and frame by frame.

Sums add up, as those of a Tally do. The log-spectral distance of two frames is the root of the mean
over bins of their squared difference in dB (Gray and Markel 1976, "Distance measures for speech
processing", the L2 norm of the log spectra), and that of recordings its mean over frames.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.config import ModelSettings
from ulmo.evaluation.tally import Batch

Sums = NDArray[np.float64]


class Reconstruction(NamedTuple):
    """Errors of reconstructions; NaN where there is nothing, or no decibel, as with PCEN."""

    band_errors: list[float]
    """Mean squared error of each band of tokens, the lowest first, in normalised units."""
    band_errors_db: list[float]
    """The same in dB^2."""
    log_spectral_distance: float
    """In dB, over all frames."""
    sound_log_spectral_distance: float
    """In dB, over frames of which some token is not silent."""
    frames: int
    sound_frames: int


@dataclass
class ReconstructionTally:
    """The sums."""

    squared: Sums  # (bands,)
    squared_db: Sums  # (bands,)
    cells: Sums  # (bands,)
    distance: float
    sound_distance: float
    frames: int
    sound_frames: int

    @classmethod
    def of(cls, batch: Batch, model: ModelSettings) -> "ReconstructionTally":
        """The sums of one batch that a model of these settings has seen."""
        size = model.tile_size
        valid = np.arange(size) < batch.valid_frames[:, None]  # (n, frames)
        heard = batch.sound.any(axis=2).repeat(model.time_stride, axis=1)[:, :size] & valid
        difference = batch.tiles[..., 0].astype(np.float64) - batch.reconstructions[..., 0]
        error = np.where(valid[:, None, :], difference**2, 0)  # (n, bins, frames)
        error_db = error * (batch.scales_db.astype(np.float64) ** 2)[:, None, None]
        distances = np.sqrt(error_db.mean(axis=1))  # (n, frames)
        starts = np.arange(0, size, model.frequency_stride)
        bins = np.diff(starts, append=size)
        return cls(
            squared=np.add.reduceat(error.sum(axis=(0, 2)), starts),
            squared_db=np.add.reduceat(error_db.sum(axis=(0, 2)), starts),
            cells=bins * float(valid.sum()),
            distance=float(distances[valid].sum()),
            sound_distance=float(distances[heard].sum()),
            frames=int(valid.sum()),
            sound_frames=int(heard.sum()),
        )

    def __add__(self, other: "ReconstructionTally") -> "ReconstructionTally":
        return ReconstructionTally(
            squared=self.squared + other.squared,
            squared_db=self.squared_db + other.squared_db,
            cells=self.cells + other.cells,
            distance=self.distance + other.distance,
            sound_distance=self.sound_distance + other.sound_distance,
            frames=self.frames + other.frames,
            sound_frames=self.sound_frames + other.sound_frames,
        )

    def metrics(self) -> Reconstruction:
        """Every figure."""
        return Reconstruction(
            band_errors=_ratios(self.squared, self.cells),
            band_errors_db=_ratios(self.squared_db, self.cells),
            log_spectral_distance=_ratio(self.distance, self.frames),
            sound_log_spectral_distance=_ratio(self.sound_distance, self.sound_frames),
            frames=self.frames,
            sound_frames=self.sound_frames,
        )


def _ratios(totals: Sums, counts: Sums) -> list[float]:
    return [_ratio(float(total), float(count)) for total, count in zip(totals, counts, strict=True)]


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
