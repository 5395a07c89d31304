"""Tiles to latents: a stack of strided convolutions, then one vector for each token."""

from typing import Any

import keras
from keras import ops

from ulmo.config import NORM_EPSILON
from ulmo.models.sphere import on_sphere
from ulmo.models.stack import Stack


def layer_norm(vectors: Any) -> Any:
    """Vectors (..., EMB) with mean 0 and variance 1 over the last axis."""
    centred = vectors - ops.mean(vectors, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred * ops.rsqrt(variance + NORM_EPSILON)


def unchanged(vectors: Any) -> Any:
    """The vectors themselves."""
    return vectors


_LATENT_NORMS = {"layer": layer_norm, "sphere": on_sphere, "none": unchanged}


@keras.saving.register_keras_serializable(package="ulmo")
class Encoder(Stack):
    """Tiles (B, M, frames, 1) -> latents (B, columns, bands, EMB), float32; any number of frames.

    The layers are those of `settings.encoder`. Tiles are first padded with zeros at the end, above
    the highest bin and after the last frame, to multiples of the strides. Padding "same" then adds
    the same zeros to every layer, whatever the length. So a column of a chunk that has
    `settings.time_context` frames around it equals that column of the whole recording.

    The last step is a layer normalisation over the channels of each token (Ba et al. 2016), without
    scale or offset, in float32. It gives every latent the norm sqrt(EMB): distances to codes keep
    one scale throughout training, and the encoder cannot run away from its codebook. It uses no
    statistics over time, which would make a chunk differ from the whole. `settings.latent_norm`
    may also be "sphere", which does not subtract the mean, or "none".

    With the defaults: 224 x 224 -> 56 x 56 x 64 -> 28 x 28 x 128 -> 14 x 14 x 128
    -> 14 x 14 x 128 -> 14 x 14 x 32.
    """

    part = "encoder"

    def build(self, tiles_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, M, frames, 1)."""
        rows = self.settings.bands * self.settings.frequency_stride
        self.build_blocks((tiles_shape[0], rows, None, 1))

    def call(self, tiles: Any) -> Any:
        """Latents (B, columns, bands, EMB) of tiles (B, M, frames, 1)."""
        stride = self.settings.time_stride
        columns = -(-ops.shape(tiles)[2] // stride)
        above = -self.settings.tile_size % self.settings.frequency_stride
        features = ops.pad(tiles, ((0, 0), (0, above), (0, stride - 1), (0, 0)))
        features = features[:, :, : columns * stride]
        projected = ops.cast(self.run_blocks(features), "float32")
        latents = _LATENT_NORMS[self.settings.latent_norm](projected)  # (B, bands, columns, EMB)
        return ops.transpose(latents, (0, 2, 1, 3))
