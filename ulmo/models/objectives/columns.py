"""Columns of a token grid, and a light network that gives each one its context."""

from typing import Any

import keras
from keras import ops

from ulmo.models.encoder import layer_norm


def joined(latents: Any) -> Any:
    """(B, columns, bands x EMB): the bands of each column of latents, one after another."""
    batch, columns, bands, dimensions = ops.shape(latents)
    return ops.reshape(latents, (batch, columns, bands * dimensions))


def reach(layers: int, *, causal: bool) -> int:
    """Columns that a ColumnNetwork sees on each side; if causal, on the left side only."""
    return (2 if causal else 1) * (2**layers - 1)


def layers_for(columns: int, *, causal: bool) -> int:
    """The fewest layers, at least one, that reach over this many columns."""
    layers = 1
    while reach(layers, causal=causal) < columns:
        layers += 1
    return layers


class ColumnNetwork(keras.layers.Layer):
    """Columns (B, columns, features) -> (B, columns, width): dilated convolutions of size 3.

    As in WaveNet (van den Oord et al. 2016, arXiv:1609.03499, section 2.1) layer i looks 2^i
    columns away, so the context doubles with each layer. A `causal` layer looks at the column
    itself and two before it; any other, at one column on either side. Beyond the ends of the tile
    all is 0. Layers are residual, and normalise within a column (He et al. 2016, arXiv:1603.05027),
    so only the convolutions pass anything between columns.

    Convolutions, because recurrent and attention layers take longer on a CPU. Each is one matrix
    product over shifted columns, because TensorFlow has no gradient of dilated ones on a CPU.
    `reached`: columns that it must reach over, on each side or on the left.
    `width`: 128 where a column of the 56 x 4 grid has 4 x 32 numbers.
    """

    def __init__(
        self, features: int, reached: int, *, causal: bool, width: int = 128, seed: int = 0
    ) -> None:
        super().__init__(dtype="float32")
        self.causal = causal
        self.width = width
        self.entry = dense(features, width, seed)
        layers = layers_for(reached, causal=causal)
        self.mixes = [dense(3 * width, width, seed + 1 + index) for index in range(layers)]
        self.built = True

    def call(self, columns: Any) -> Any:
        """Features (B, columns, width) of each column and its context."""
        features = self.entry(columns)
        for index, mix in enumerate(self.mixes):
            step = 2**index
            delays = (0, step, 2 * step) if self.causal else (-step, 0, step)
            normed = layer_norm(features)
            seen = ops.concatenate([_delayed(normed, delay) for delay in delays], axis=-1)
            features = features + ops.relu(mix(seen))
        return layer_norm(features)


def dense(inputs: int, units: int, seed: int) -> Any:
    """A linear map in float32, built; the seed decides its initial weights."""
    initializer = keras.initializers.GlorotUniform(seed)
    layer = keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32")
    layer.build((None, None, inputs))
    return layer


def _delayed(columns: Any, delay: int) -> Any:
    """Column t - delay, at column t; 0 beyond the ends."""
    length = ops.shape(columns)[1]
    padded = ops.pad(columns, ((0, 0), (max(delay, 0), max(-delay, 0)), (0, 0)))
    first = max(-delay, 0)
    return padded[:, first : first + length]
