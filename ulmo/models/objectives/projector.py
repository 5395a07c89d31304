"""Heads of the contrastive objectives: a perceptron from a column of latents to a vector."""

from typing import Any

import keras
from keras import ops

_EPSILON = 1e-5
_HIDDEN, OUTPUTS = 256, 64


class _Standardize(keras.layers.Layer):
    """Scales vectors (n, D) to mean 0 and variance 1 over the batch, in training and validation.

    Batch normalisation (Ioffe and Szegedy 2015) without scale, offset or moving averages: no state
    can differ between training and validation.
    """

    def call(self, vectors: Any) -> Any:
        """Scale the vectors; a single vector becomes zeros."""
        count = ops.cast(ops.maximum(ops.shape(vectors)[0], 1), "float32")
        centred = vectors - ops.sum(vectors, axis=0) / count
        return centred * ops.rsqrt(ops.sum(ops.square(centred), axis=0) / count + _EPSILON)


def projector(inputs: int, seed: int) -> keras.Sequential:
    """Dense, _Standardize, ReLU, Dense: (n, inputs) -> (n, OUTPUTS); float32, built.

    The head of Grill et al. 2020, section 3.2.
    """
    layers = [
        keras.layers.Dense(
            _HIDDEN,
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed),
            dtype="float32",
        ),
        _Standardize(dtype="float32"),
        keras.layers.ReLU(dtype="float32"),
        keras.layers.Dense(
            OUTPUTS, kernel_initializer=keras.initializers.GlorotUniform(seed + 1), dtype="float32"
        ),
    ]
    head = keras.Sequential(layers)
    head.build((None, inputs))
    return head
