"""Latents to tiles: the encoder's mirror, ending in a sub-pixel layer."""

from typing import Any

import keras
from keras import ops

from ulmo.models.stack import Stack


@keras.saving.register_keras_serializable(package="ulmo")
class Decoder(Stack):
    """Latents (B, columns, bands, EMB) -> tiles (B, M, frames, 1), float32; any number of columns.

    The layers are those of `settings.decoder`. The last one is a sub-pixel convolution
    (Shi et al. 2016, equation 4): its channels at low resolution become the cells of the tile.

    With the defaults: 14 x 14 x 32 -> 14 x 14 x 128 -> 28 x 28 x 128 -> 56 x 56 x 64
    -> 56 x 56 x 16 -> 224 x 224.
    """

    part = "decoder"

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, columns, bands, EMB)."""
        batch, columns, bands, _ = latents_shape
        self.build_blocks((batch, bands, columns, self.settings.embedding_dim))

    def call(self, latents: Any, frames: Any = None) -> Any:
        """Tiles (B, M, frames, 1), float32; `frames` None means tile_size."""
        tiles = self._rearrange(self.run_blocks(ops.transpose(latents, (0, 2, 1, 3))))
        size = self.settings.tile_size
        return ops.cast(tiles[:, :size, : size if frames is None else frames], "float32")

    def _rearrange(self, features: Any) -> Any:
        """(B, F, T, f * t) -> (B, F * f, T * t, 1): channel i * t + j is row i, frame j."""
        rows, frames = self.settings.decoder[-1].strides
        _, height, length, _ = ops.shape(features)
        cells = ops.reshape(features, (-1, height, length, rows, frames))
        cells = ops.transpose(cells, (0, 1, 3, 2, 4))
        return ops.reshape(cells, (-1, height * rows, length * frames, 1))
