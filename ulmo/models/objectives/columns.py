"""Columns of a grid, and a light network that gives each one its surroundings."""

from typing import Any

import keras
from keras import ops

from ulmo.models.encoder import layer_norm


def joined(latents: Any) -> Any:
    """(B, columns, bands x EMB): the bands of each column of latents, one after another."""
    batch, columns, bands, dimensions = ops.shape(latents)
    return ops.reshape(latents, (batch, columns, bands * dimensions))


def reach(layers: int, *, causal: bool) -> int:
    """Columns that a ColumnNetwork sees on a side, the one side where it is causal."""
    return (2 if causal else 1) * (2**layers - 1)


def layers_for(columns: int, *, causal: bool) -> int:
    """The fewest layers, one at least, that reach over so many columns."""
    layers = 1
    while reach(layers, causal=causal) < columns:
        layers += 1
    return layers


class ColumnNetwork(keras.layers.Layer):
    """Columns (B, columns, features) -> (B, columns, width): dilated convolutions of size 3.

    As in WaveNet (van den Oord et al. 2016, arXiv:1609.03499, section 2.1) layer i looks 2^i
    columns away, so that what is seen doubles with each layer. `causal`: at the column itself and
    two before it; else at one on either side. Beyond the ends of the tile all is 0. Each layer
    adds to what it is given, normalised within its column alone (He et al. 2016,
    arXiv:1603.05027), so nothing passes between columns but by the convolutions.

    Convolutions, as recurrent and attention layers take longer on a CPU; each is one matrix
    product over shifted columns, as TensorFlow has no gradient of dilated ones there.
    `width` = 128: a column of the 56 x 4 grid has 4 x 32 numbers.
    """

    def __init__(
        self, *, layers: int, causal: bool, width: int = 128, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.causal = causal
        self.width = width
        self.entry = dense(width, seed)
        self.mixes = [dense(width, seed + 1 + index) for index in range(layers)]

    def build(self, columns_shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, columns, features)."""
        self.entry.build(columns_shape)
        for mix in self.mixes:
            mix.build((*columns_shape[:-1], 3 * self.width))

    def call(self, columns: Any) -> Any:
        """What each column, and those that it sees, make: (B, columns, width)."""
        features = self.entry(columns)
        for index, mix in enumerate(self.mixes):
            step = 2**index
            delays = (0, step, 2 * step) if self.causal else (-step, 0, step)
            normed = layer_norm(features)
            seen = ops.concatenate([_delayed(normed, delay) for delay in delays], axis=-1)
            features = features + ops.relu(mix(seen))
        return layer_norm(features)


def dense(units: int, seed: int) -> Any:
    """A linear map, float32, whose first weights the seed decides."""
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32")


def _delayed(columns: Any, delay: int) -> Any:
    """At column t what was at t - delay; 0 where there was none."""
    length = ops.shape(columns)[1]
    padded = ops.pad(columns, ((0, 0), (max(delay, 0), max(-delay, 0)), (0, 0)))
    first = max(-delay, 0)
    return padded[:, first : first + length]
