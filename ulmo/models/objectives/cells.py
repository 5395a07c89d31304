"""The cells of tiles by the column of the grid that they belong to, and what each weighs."""

from typing import Any

from keras import ops

from ulmo.config import ModelSettings
from ulmo.models.objectives.base import Batch


def cells_of(tiles: Any, time_stride: int) -> Any:
    """Tiles (B, M, frames, 1) as (B, columns, time_stride, M); zeros beyond the last frame."""
    batch, bins, frames, _ = ops.shape(tiles)
    columns = -(-frames // time_stride)
    beyond = columns * time_stride - frames
    turned = ops.pad(ops.transpose(tiles[..., 0], (0, 2, 1)), ((0, 0), (0, beyond), (0, 0)))
    return ops.reshape(turned, (batch, columns, time_stride, bins))


def cell_weights(batch: Batch, settings: ModelSettings) -> Any:
    """(B, columns, time_stride, M): that of each cell's token, and 0 in padding.

    So `silence_weight` rules here as it rules the codebook.
    """
    tokens = ops.cast(batch.token_weights, "float32")
    count, columns, _ = ops.shape(tokens)
    bins = ops.repeat(tokens, settings.frequency_stride, axis=2)[:, :, None, : settings.tile_size]
    frames = ops.reshape(ops.arange(columns * settings.time_stride), (1, columns, -1, 1))
    valid = frames < ops.reshape(batch.valid_frames, (count, 1, 1, 1))
    return bins * ops.cast(valid, "float32")
