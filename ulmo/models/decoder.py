"""Latents to tiles: the encoder's mirror, ending in a sub-pixel layer."""

from typing import Any

import keras
from keras import ops

from ulmo.config import ModelSettings
from ulmo.models.stack import build_stack


@keras.saving.register_keras_serializable(package="ulmo")
class Decoder(keras.layers.Layer):
    """Latents (B, columns, bands, EMB) -> tiles (B, M, frames, 1), float32; any number of columns.

    The layers are those of `settings.decoder`. The last one is a sub-pixel convolution
    (Shi et al. 2016, equation 4): its channels at low resolution become the cells of the tile.

    With the defaults: 14 x 14 x 32 -> 14 x 14 x 128 -> 28 x 28 x 128 -> 56 x 56 x 64
    -> 56 x 56 x 16 -> 224 x 224.
    """

    def __init__(
        self, settings: ModelSettings | dict[str, Any], *, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.settings = ModelSettings.model_validate(settings)
        self.seed = seed
        self.blocks = build_stack(self.settings.decoder, seed, self.dtype_policy)

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, columns, bands, EMB)."""
        shape = (latents_shape[0], latents_shape[2], latents_shape[1], self.settings.embedding_dim)
        for layer in self.blocks:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, latents: Any, frames: Any = None) -> Any:
        """Tiles (B, M, frames, 1), float32; `frames` None means tile_size."""
        features = ops.transpose(latents, (0, 2, 1, 3))
        for layer in self.blocks:
            features = layer(features)
        tiles = self._rearrange(features)
        size = self.settings.tile_size
        return ops.cast(tiles[:, :size, : size if frames is None else frames], "float32")

    def _rearrange(self, features: Any) -> Any:
        """(B, F, T, f * t) -> (B, F * f, T * t, 1): channel i * t + j is row i, frame j."""
        rows, frames = self.settings.decoder[-1].strides
        _, height, length, _ = ops.shape(features)
        cells = ops.reshape(features, (-1, height, length, rows, frames))
        cells = ops.transpose(cells, (0, 1, 3, 2, 4))
        return ops.reshape(cells, (-1, height * rows, length * frames, 1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        settings = self.settings.model_dump(mode="json")
        return {**super().get_config(), "settings": settings, "seed": self.seed}
