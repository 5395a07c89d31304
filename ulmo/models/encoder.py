"""Tiles to latents: a stack of strided convolutions, then one vector a token."""

from typing import Any

import keras
from keras import ops

from ulmo.config import kernel_size, spread_stride
from ulmo.models.sphere import on_sphere

NORM_EPSILON = 1e-5


def layer_norm(vectors: Any) -> Any:
    """Vectors (..., EMB) with mean 0 and variance 1 over the last axis."""
    centred = vectors - ops.mean(vectors, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred * ops.rsqrt(variance + NORM_EPSILON)


def unchanged(vectors: Any) -> Any:
    """The vectors themselves."""
    return vectors


LATENT_NORMS = {"layer": layer_norm, "sphere": on_sphere, "none": unchanged}


@keras.saving.register_keras_serializable(package="ulmo")
class Encoder(keras.layers.Layer):
    """(B, M, frames, 1) -> latents (B, columns, bands, EMB), float32; any number of frames.

    Zeros are added at the end inside, above the highest bin and after the last frame, up to
    multiples of the strides. So "same" pads every layer by (k - s) // 2 zeros before and
    k - s - (k - s) // 2 after, whatever the length: a column of a chunk that comes with
    `ModelSettings.time_context` frames around it equals that column of the whole recording.

    The last step is a layer normalisation over the channels of each token (Ba et al. 2016),
    without scale or offset, in float32. It holds every latent at norm sqrt(EMB), so a distance
    to a code means the same all through training and the encoder cannot run away from its
    codebook; it takes no statistics over time, which would break the chunks. `latent_norm` may
    also be "sphere", the same without taking the mean off, or "none".

    With the defaults: 224 x 224 -> 56 x 56 x 64 -> 28 x 28 x 128 -> 14 x 14 x 128
    -> 14 x 14 x 128 -> 14 x 14 x 32.
    """

    def __init__(
        self,
        *,
        tile_size: int = 224,
        encoder_layers: int = 4,
        embedding_dim: int = 32,
        frequency_stride: int = 16,
        time_stride: int = 16,
        width: int = 128,
        latent_norm: str = "layer",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tile_size = tile_size
        self.encoder_layers = encoder_layers
        self.embedding_dim = embedding_dim
        self.frequency_stride = frequency_stride
        self.time_stride = time_stride
        self.width = width
        self.latent_norm = latent_norm
        self.seed = seed
        self.convs = [self._conv(index) for index in range(encoder_layers)]
        self.project = keras.layers.Conv2D(
            embedding_dim,
            1,
            kernel_initializer=keras.initializers.GlorotUniform(seed + encoder_layers),
            dtype=self.dtype_policy,
            name="project",
        )

    def _conv(self, index: int) -> Any:
        """One strided layer; the first has half the channels, as it is the costly one."""
        strides = (
            spread_stride(self.frequency_stride, self.encoder_layers)[index],
            spread_stride(self.time_stride, self.encoder_layers)[index],
        )
        first_of_many = index == 0 and self.encoder_layers > 1
        return keras.layers.Conv2D(
            self.width // 2 if first_of_many else self.width,
            kernel_size=(kernel_size(strides[0]), kernel_size(strides[1])),
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(self.seed + index),
            dtype=self.dtype_policy,
            name=f"conv_{index}",
        )

    def build(self, tiles_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, M, frames, 1)."""
        shape = (tiles_shape[0], self.tile_size + -self.tile_size % self.frequency_stride, None, 1)
        for layer in (*self.convs, self.project):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, tiles: Any) -> Any:
        """Latents (B, columns, bands, EMB) of tiles (B, M, frames, 1)."""
        columns = -(-ops.shape(tiles)[2] // self.time_stride)
        above = -self.tile_size % self.frequency_stride
        features = ops.pad(tiles, ((0, 0), (0, above), (0, self.time_stride - 1), (0, 0)))
        features = features[:, :, : columns * self.time_stride]
        for conv in self.convs:
            features = conv(features)
        projected = ops.cast(self.project(features), "float32")
        latents = LATENT_NORMS[self.latent_norm](projected)  # (B, bands, columns, EMB)
        return ops.transpose(latents, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "tile_size": self.tile_size,
            "encoder_layers": self.encoder_layers,
            "embedding_dim": self.embedding_dim,
            "frequency_stride": self.frequency_stride,
            "time_stride": self.time_stride,
            "width": self.width,
            "latent_norm": self.latent_norm,
            "seed": self.seed,
        }
