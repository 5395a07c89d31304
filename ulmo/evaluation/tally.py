"""Sums over batches of tiles, from which all figures of a VQ-VAE on tiles follow.

Tallies add up: one piece of code measures a batch, an epoch and a whole folder. Figures are NaN if
nothing was counted, and those in dB also without decibels, as with PCEN.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.evaluation.codebook import CodebookHealth, codebook_health
from ulmo.evaluation.verdict import Verdict

_Totals = NDArray[np.float64]


class MeasuredBatch(NamedTuple):
    """Tiles, and the output of a model for them."""

    tiles: Array  # (n, M, M, 1)
    reconstructions: Array  # (n, M, M, 1)
    ids: NDArray[np.int32]  # (n, columns, bands)
    distances: Array  # (n, columns, bands), squared
    valid_frames: NDArray[np.int32]  # (n,)
    scales_db: Array  # (n,), decibels in one normalised unit
    sound: NDArray[np.bool_]  # (n, columns, bands), whether not silent


class Metrics(NamedTuple):
    """The figures of a tally. Errors are means over the cells of valid frames."""

    tiles: int
    tokens: int
    sound_tokens: int  # tokens that are not silent (evaluation/silence.py)
    reconstruction: float  # mean squared error in normalised units
    reconstruction_db: float  # mean squared error in dB^2
    sound_reconstruction_db: float  # mean squared error in dB^2, cells of non-silent tokens only
    commitment: float  # mean squared distance of the latents from their codes, per dimension
    # Mean squared errors in normalised units of the best predictions without a model:
    baseline_constant: float  # one value for all cells, which leaves the variance of these tiles
    baseline_bands: float  # one value for each bin
    baseline_tile: float  # one tile
    codebook: CodebookHealth
    sound_codebook: CodebookHealth

    @property
    def is_worse_than_a_tile(self) -> bool:
        """Whether one tile, the same for all, is nearer. Of a single tile it says nothing."""
        return self.tiles > 1 and self.reconstruction > self.baseline_tile


class Reconstruction(NamedTuple):
    """Errors of reconstructions, band by band and frame by frame.

    The log-spectral distance of two frames is the root of the mean over bins of their squared
    difference in dB (Gray and Markel 1976, "Distance measures for speech processing", the L2 norm
    of the log spectra); that of recordings is its mean over frames.
    """

    band_errors: list[float]  # mean squared errors in normalised units, the lowest band first
    band_errors_db: list[float]  # mean squared errors in dB^2, the lowest band first
    log_spectral_distance: float  # in dB, over all frames
    sound_log_spectral_distance: float  # in dB, over frames in which some token is not silent
    frames: int
    sound_frames: int


@dataclass
class Tally:
    """The sums behind Metrics and Reconstruction."""

    tiles: int
    squared: float
    squared_db: float
    sound_cells: int
    sound_squared_db: float
    distance: float
    dimensions: int  # of the latents of all tokens: tokens * EMB
    band_counts: NDArray[np.int64]  # (bands, CB)
    sound_band_counts: NDArray[np.int64]  # (bands, CB)
    cells: _Totals  # (M, M)
    sums: _Totals  # (M, M)
    squares: float
    band_squared: _Totals  # (bands,)
    band_squared_db: _Totals  # (bands,)
    band_cells: _Totals  # (bands,)
    spectral_distance: float
    sound_spectral_distance: float
    frames: int
    sound_frames: int

    @classmethod
    def of(cls, batch: MeasuredBatch, model: ModelSettings) -> "Tally":
        """The sums of one batch, measured with a model of these settings."""
        size = model.tile_size
        tiles = batch.tiles[..., 0].astype(np.float64)
        valid = np.arange(size) < batch.valid_frames[:, None]  # (n, frames)
        mask = np.broadcast_to(valid[:, None, :], tiles.shape)
        error = np.where(mask, (tiles - batch.reconstructions[..., 0]) ** 2, 0)
        error_db = error * (batch.scales_db.astype(np.float64) ** 2)[:, None, None]
        columns = np.arange(model.columns) * model.time_stride < batch.valid_frames[:, None]
        token_mask = np.broadcast_to(columns[:, :, None], batch.ids.shape)
        sound = batch.sound & token_mask
        sound_mask = _on_cells(sound, model) & mask
        kept = np.where(mask, tiles, 0)
        starts = np.arange(0, size, model.frequency_stride)  # the first bin of each band
        spectral_distances = np.sqrt(error_db.mean(axis=1))  # (n, frames)
        sound_frames = batch.sound.any(axis=2).repeat(model.time_stride, axis=1)[:, :size] & valid
        return cls(
            tiles=len(tiles),
            squared=float(error.sum()),
            squared_db=float(error_db.sum()),
            sound_cells=int(sound_mask.sum()),
            sound_squared_db=float(error_db[sound_mask].sum()),
            distance=float(batch.distances[token_mask].sum(dtype=np.float64)),
            dimensions=int(token_mask.sum()) * model.embedding_dim,
            band_counts=count_by_band(batch.ids, token_mask, model.codebook_size),
            sound_band_counts=count_by_band(batch.ids, sound, model.codebook_size),
            cells=mask.sum(axis=0, dtype=np.float64),
            sums=kept.sum(axis=0),
            squares=float((kept**2).sum()),
            band_squared=np.add.reduceat(error.sum(axis=(0, 2)), starts),
            band_squared_db=np.add.reduceat(error_db.sum(axis=(0, 2)), starts),
            band_cells=np.diff(starts, append=size) * float(valid.sum()),
            spectral_distance=float(spectral_distances[valid].sum()),
            sound_spectral_distance=float(spectral_distances[sound_frames].sum()),
            frames=int(valid.sum()),
            sound_frames=int(sound_frames.sum()),
        )

    def __add__(self, other: "Tally") -> "Tally":
        names = [field.name for field in fields(self)]
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each code occurs, (CB,)."""
        return np.asarray(self.band_counts.sum(axis=0))

    @property
    def sound_counts(self) -> NDArray[np.int64]:
        """How often each code occurs among the tokens that are not silent, (CB,)."""
        return np.asarray(self.sound_band_counts.sum(axis=0))

    def verdict(self) -> Verdict:
        """Whether the ids change with the sound."""
        return Verdict.of(self.band_counts, self.sound_band_counts)

    def metrics(self) -> Metrics:
        """The figures of a batch, an epoch or a folder."""
        cells = float(self.cells.sum())
        return Metrics(
            tiles=self.tiles,
            tokens=int(self.counts.sum()),
            sound_tokens=int(self.sound_counts.sum()),
            reconstruction=_ratio(self.squared, cells),
            reconstruction_db=_ratio(self.squared_db, cells),
            sound_reconstruction_db=_ratio(self.sound_squared_db, self.sound_cells),
            commitment=_ratio(self.distance, self.dimensions),
            baseline_constant=self._unexplained(self.sums.sum(), self.cells.sum()),
            baseline_bands=self._unexplained(self.sums.sum(axis=1), self.cells.sum(axis=1)),
            baseline_tile=self._unexplained(self.sums, self.cells),
            codebook=codebook_health(self.counts),
            sound_codebook=codebook_health(self.sound_counts),
        )

    def reconstruction(self) -> Reconstruction:
        """The errors of the reconstructions in detail."""
        cells = self.band_cells.tolist()
        return Reconstruction(
            band_errors=list(map(_ratio, self.band_squared.tolist(), cells)),
            band_errors_db=list(map(_ratio, self.band_squared_db.tolist(), cells)),
            log_spectral_distance=_ratio(self.spectral_distance, self.frames),
            sound_log_spectral_distance=_ratio(self.sound_spectral_distance, self.sound_frames),
            frames=self.frames,
            sound_frames=self.sound_frames,
        )

    def _unexplained(self, sums: _Totals, cells: _Totals) -> float:
        """Mean squared error if each group of cells is predicted by its mean."""
        explained = np.divide(sums**2, cells, out=np.zeros_like(sums), where=cells > 0).sum()
        return _ratio(max(self.squares - float(explained), 0.0), float(self.cells.sum()))


def count_by_band(
    ids: NDArray[np.int32], kept: NDArray[np.bool_], codebook_size: int
) -> NDArray[np.int64]:
    """How often each code occurs in each band, (bands, CB).

    Counted are the ids (..., bands) that are `kept` (..., bands) and codes.
    """
    bands = ids.shape[-1]
    places = ids + codebook_size * np.arange(bands)
    counts = np.bincount(places[kept & (ids < codebook_size)], minlength=bands * codebook_size)
    return counts.reshape(bands, codebook_size)


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")


def _on_cells(tokens: NDArray[np.bool_], model: ModelSettings) -> NDArray[np.bool_]:
    """A mask of tokens (n, columns, bands) as one of the cells (n, M, M) that they cover."""
    cells = tokens.transpose(0, 2, 1)
    cells = cells.repeat(model.frequency_stride, axis=1).repeat(model.time_stride, axis=2)
    return cells[:, : model.tile_size, : model.tile_size]
