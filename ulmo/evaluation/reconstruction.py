"""How far reconstructions are from their tiles, band by band and frame by frame.

The log-spectral distance of two frames is the root of the mean over bins of their squared
difference in dB (Gray and Markel 1976, "Distance measures for speech processing", the L2 norm of
the log spectra); that of recordings is its mean over frames.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ulmo.config import ModelSettings
from ulmo.evaluation.tally import MeasuredBatch, Sums, Totals, ratio


class Reconstruction(NamedTuple):
    """Errors of reconstructions; NaN without frames, or without decibels, as with PCEN."""

    band_errors: list[float]  # mean squared errors in normalised units, the lowest band first
    band_errors_db: list[float]  # the same in dB^2
    log_spectral_distance: float  # in dB, over all frames
    sound_log_spectral_distance: float  # in dB, over frames in which some token is not silent
    frames: int
    sound_frames: int


@dataclass
class ReconstructionTally(Sums):
    """The sums behind Reconstruction."""

    squared: Totals  # (bands,)
    squared_db: Totals  # (bands,)
    cells: Totals  # (bands,)
    distance: float
    sound_distance: float
    frames: int
    sound_frames: int

    @classmethod
    def of(cls, batch: MeasuredBatch, model: ModelSettings) -> "ReconstructionTally":
        """The sums of one batch, measured with a model of these settings."""
        size = model.tile_size
        valid = np.arange(size) < batch.valid_frames[:, None]  # (n, frames)
        loud = batch.sound.any(axis=2).repeat(model.time_stride, axis=1)[:, :size] & valid
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
            sound_distance=float(distances[loud].sum()),
            frames=int(valid.sum()),
            sound_frames=int(loud.sum()),
        )

    def metrics(self) -> Reconstruction:
        """All figures."""
        return Reconstruction(
            band_errors=_ratios(self.squared, self.cells),
            band_errors_db=_ratios(self.squared_db, self.cells),
            log_spectral_distance=ratio(self.distance, self.frames),
            sound_log_spectral_distance=ratio(self.sound_distance, self.sound_frames),
            frames=self.frames,
            sound_frames=self.sound_frames,
        )


def _ratios(totals: Totals, counts: Totals) -> list[float]:
    return [ratio(float(total), float(count)) for total, count in zip(totals, counts, strict=True)]
