"""The cells of tiles by their column of the token grid, and their weights."""

from typing import Any

from keras import ops

from ulmo.config import ModelSettings
from ulmo.models.objectives.base import TrainingBatch


def cells_of(tiles: Any, time_stride: int) -> Any:
    """Tiles (B, M, frames, 1) as (B, columns, time_stride, M); zeros beyond the last frame."""
    batch, bins, frames, _ = ops.shape(tiles)
    columns = -(-frames // time_stride)
    beyond = columns * time_stride - frames
    turned = ops.pad(ops.transpose(tiles[..., 0], (0, 2, 1)), ((0, 0), (0, beyond), (0, 0)))
    return ops.reshape(turned, (batch, columns, time_stride, bins))


def valid_cells(batch: TrainingBatch, time_stride: int) -> Any:
    """(B, columns, time_stride, 1) float32: 0 in padding, else 1."""
    count, columns, _ = ops.shape(batch.token_weights)
    frames = ops.reshape(ops.arange(columns * time_stride), (1, columns, time_stride, 1))
    return ops.cast(frames < ops.reshape(batch.valid_frames, (count, 1, 1, 1)), "float32")


def cell_weights(batch: TrainingBatch, settings: ModelSettings) -> Any:
    """(B, columns, time_stride, M): weight of each cell's token; 0 in padding.

    So `silence_weight` applies to cells as it does to the codebook.
    """
    bands = ops.cast(batch.token_weights, "float32")
    bins = ops.repeat(bands, settings.frequency_stride, axis=2)[:, :, None, : settings.tile_size]
    return bins * valid_cells(batch, settings.time_stride)
