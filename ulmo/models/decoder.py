"""Latents to tiles: the encoder's mirror, ending in a sub-pixel layer."""

from typing import Any

import keras
from keras import ops

from ulmo.config import kernel_size, spread_stride


@keras.saving.register_keras_serializable(package="ulmo")
class Decoder(keras.layers.Layer):
    """Latents (B, columns, bands, EMB) -> (B, M, frames, 1), float32; any number of columns.

    The strides are the encoder's rule backwards, so the largest factor comes last. That last
    layer works at low resolution: it emits frequency x time channels for each cell and lays
    them out as cells (sub-pixel convolution, Shi et al. 2016, equation 4), as feature maps at
    full resolution are what training time is spent on (shared facts: 61 against 31 tiles/s).
    What that layer reads has half the channels, as what the encoder's first layer writes.

    With the defaults: 14 x 14 x 32 -> 14 x 14 x 128 -> 28 x 28 x 128 -> 56 x 56 x 64
    -> 56 x 56 x 16 -> 224 x 224.
    """

    def __init__(
        self,
        *,
        tile_size: int = 224,
        decoder_layers: int = 4,
        embedding_dim: int = 32,
        frequency_stride: int = 16,
        time_stride: int = 16,
        width: int = 128,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tile_size = tile_size
        self.decoder_layers = decoder_layers
        self.embedding_dim = embedding_dim
        self.frequency_stride = frequency_stride
        self.time_stride = time_stride
        self.width = width
        self.seed = seed
        *inner, self._cell = zip(
            reversed(spread_stride(frequency_stride, decoder_layers)),
            reversed(spread_stride(time_stride, decoder_layers)),
            strict=True,
        )
        self.blocks = [self._block(index, strides) for index, strides in enumerate(inner)]
        self.blocks.append(self._last())

    def _block(self, index: int, strides: tuple[int, int]) -> Any:
        """One upsampling layer; a plain convolution where there is nothing to upsample."""
        upsamples = strides != (1, 1)
        last_inner = index == self.decoder_layers - 2
        layer = keras.layers.Conv2DTranspose if upsamples else keras.layers.Conv2D
        return layer(
            self.width // 2 if last_inner else self.width,
            kernel_size=(kernel_size(strides[0]), kernel_size(strides[1])),
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(self.seed + index),
            dtype=self.dtype_policy,
            name=f"layer_{index}",
        )

    def _last(self) -> Any:
        """The layer whose channels become the cells of the tile."""
        index = self.decoder_layers - 1
        return keras.layers.Conv2D(
            self._cell[0] * self._cell[1],
            kernel_size=3,
            padding="same",
            kernel_initializer=keras.initializers.GlorotUniform(self.seed + index),
            dtype=self.dtype_policy,
            name=f"layer_{index}",
        )

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, columns, bands, EMB)."""
        shape = (latents_shape[0], latents_shape[2], latents_shape[1], self.embedding_dim)
        for layer in self.blocks:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, latents: Any, frames: Any = None) -> Any:
        """Tiles (B, M, frames, 1), float32; frames None means tile_size."""
        features = ops.transpose(latents, (0, 2, 1, 3))
        for layer in self.blocks:
            features = layer(features)
        tiles = self._rearrange(features)
        length = self.tile_size if frames is None else frames
        return ops.cast(tiles[:, : self.tile_size, :length], "float32")

    def _rearrange(self, features: Any) -> Any:
        """(B, F, T, f * t) -> (B, F * f, T * t, 1): channel i * t + j is row i, frame j."""
        rows, frames = self._cell
        _, height, length, _ = ops.shape(features)
        cells = ops.reshape(features, (-1, height, length, rows, frames))
        cells = ops.transpose(cells, (0, 1, 3, 2, 4))
        return ops.reshape(cells, (-1, height * rows, length * frames, 1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "tile_size": self.tile_size,
            "decoder_layers": self.decoder_layers,
            "embedding_dim": self.embedding_dim,
            "frequency_stride": self.frequency_stride,
            "time_stride": self.time_stride,
            "width": self.width,
            "seed": self.seed,
        }
