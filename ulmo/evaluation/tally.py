"""Sums over batches of tiles, from which every figure of a VQ-VAE follows.

Tallies add up, so that a batch, an epoch and a whole folder are measured by one piece of code.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.evaluation.codebook import CodebookHealth, codebook_health

Sums = NDArray[np.float64]


class Batch(NamedTuple):
    """Tiles, and what a model made of them."""

    tiles: Array  # (n, M, M, 1)
    reconstructions: Array  # (n, M, M, 1)
    ids: NDArray[np.int32]  # (n, columns, bands)
    distances: Array  # (n, columns, bands), squared
    valid_frames: NDArray[np.int32]  # (n,)
    scales_db: Array  # (n,), decibels in one normalised unit
    sound: NDArray[np.bool_]  # (n, columns, bands), True where not silent


class Metrics(NamedTuple):
    """What a tally comes to. Errors are means over the cells of valid frames."""

    tiles: int
    tokens: int
    sound_tokens: int
    """Tokens that are not silent (see evaluation.silence)."""
    reconstruction: float
    """Mean squared error in normalised units."""
    reconstruction_db: float
    """Mean squared error in dB^2."""
    sound_reconstruction_db: float
    """The same over the cells of non-silent tokens."""
    commitment: float
    """Mean squared distance of the latents from their codes, per dimension."""
    baseline_constant: float
    """Mean squared error of the best constant value: these tiles' own variance."""
    baseline_bands: float
    """Of the best constant for each bin: these tiles' own means."""
    baseline_tile: float
    """Of the best constant tile: these tiles' own mean, cell by cell."""
    codebook: CodebookHealth
    sound_codebook: CodebookHealth


@dataclass
class Tally:
    """The sums."""

    tiles: int
    squared: float
    squared_db: float
    sound_cells: int
    sound_squared_db: float
    distance: float
    embedding_dim: int
    counts: NDArray[np.int64]  # (CB,)
    sound_counts: NDArray[np.int64]  # (CB,)
    cells: Sums  # (M, M)
    sums: Sums  # (M, M)
    squares: float

    @classmethod
    def of(cls, batch: Batch, model: ModelSettings) -> "Tally":
        """The sums of one batch that a model of these settings has seen."""
        size = model.tile_size
        tiles = batch.tiles[..., 0].astype(np.float64)
        valid = np.arange(size) < batch.valid_frames[:, None]  # (n, frames)
        mask = np.broadcast_to(valid[:, None, :], tiles.shape)
        error = np.where(mask, (tiles - batch.reconstructions[..., 0]) ** 2, 0)
        error_db = error * (batch.scales_db.astype(np.float64) ** 2)[:, None, None]
        columns = np.arange(model.columns) * model.time_stride < batch.valid_frames[:, None]
        token_mask = np.broadcast_to(columns[:, :, None], batch.ids.shape)
        sound = batch.sound & token_mask
        sound_mask = _spread(sound, model) & mask
        kept = np.where(mask, tiles, 0)
        return cls(
            tiles=len(tiles),
            squared=float(error.sum()),
            squared_db=float(error_db.sum()),
            sound_cells=int(sound_mask.sum()),
            sound_squared_db=float(error_db[sound_mask].sum()),
            distance=float(batch.distances[token_mask].sum(dtype=np.float64)),
            embedding_dim=model.embedding_dim,
            counts=np.bincount(batch.ids[token_mask], minlength=model.codebook_size),
            sound_counts=np.bincount(batch.ids[sound], minlength=model.codebook_size),
            cells=mask.sum(axis=0, dtype=np.float64),
            sums=kept.sum(axis=0),
            squares=float((kept**2).sum()),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            tiles=self.tiles + other.tiles,
            squared=self.squared + other.squared,
            squared_db=self.squared_db + other.squared_db,
            sound_cells=self.sound_cells + other.sound_cells,
            sound_squared_db=self.sound_squared_db + other.sound_squared_db,
            distance=self.distance + other.distance,
            embedding_dim=self.embedding_dim,
            counts=self.counts + other.counts,
            sound_counts=self.sound_counts + other.sound_counts,
            cells=self.cells + other.cells,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
        )

    def metrics(self) -> Metrics:
        """Every figure."""
        cells = float(self.cells.sum())
        tokens = int(self.counts.sum())
        return Metrics(
            tiles=self.tiles,
            tokens=tokens,
            sound_tokens=int(self.sound_counts.sum()),
            reconstruction=_ratio(self.squared, cells),
            reconstruction_db=_ratio(self.squared_db, cells),
            sound_reconstruction_db=_ratio(self.sound_squared_db, self.sound_cells),
            commitment=_ratio(self.distance, tokens * self.embedding_dim),
            baseline_constant=self._unexplained(self.sums.sum(), self.cells.sum()),
            baseline_bands=self._unexplained(self.sums.sum(axis=1), self.cells.sum(axis=1)),
            baseline_tile=self._unexplained(self.sums, self.cells),
            codebook=codebook_health(self.counts),
            sound_codebook=codebook_health(self.sound_counts),
        )

    def _unexplained(self, sums: Sums, cells: Sums) -> float:
        """Mean squared error that is left when each group of cells is told by its mean."""
        explained = np.divide(sums**2, cells, out=np.zeros_like(sums), where=cells > 0).sum()
        return _ratio(max(self.squares - float(explained), 0.0), float(self.cells.sum()))


def _spread(tokens: NDArray[np.bool_], model: ModelSettings) -> NDArray[np.bool_]:
    """A mask of tokens (n, columns, bands) on the cells (n, M, M) that they cover."""
    cells = tokens.transpose(0, 2, 1)
    cells = cells.repeat(model.frequency_stride, axis=1).repeat(model.time_stride, axis=2)
    return cells[:, : model.tile_size, : model.tile_size]


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
