"""Keras layers from their records in ulmo.config.network."""

from collections.abc import Iterable
from typing import Any

import keras

from ulmo.config import Convolution


def build_stack(records: Iterable[Convolution], seed: int, dtype: Any) -> list[Any]:
    """One Keras layer for each record; its initial weights depend on `seed` and its index.

    He initialisation before a ReLU, Glorot's elsewhere.
    """
    return [_layer(record, seed + index, dtype) for index, record in enumerate(records)]


def _layer(record: Convolution, seed: int, dtype: Any) -> Any:
    initializers = keras.initializers
    start = initializers.HeNormal(seed) if record.relu else initializers.GlorotUniform(seed)
    layer_class = getattr(keras.layers, record.keras_class)
    options = record.keras_options
    return layer_class(**options, kernel_initializer=start, dtype=dtype, name=record.name)
