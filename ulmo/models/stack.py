"""The base of encoder and decoder: a stack of Keras layers from its records in ulmo.config."""

from typing import Any, ClassVar, Literal

import keras

from ulmo.config import Convolution, ModelSettings
from ulmo.models.devices import Devices, spread_rows


class Stack(keras.layers.Layer):
    """The layers of one part of `settings`, in order; the weights depend on `seed` alone.

    With several `devices`, each computes some rows of a batch; they are no part of the
    configuration, and there are none at first.
    """

    part: ClassVar[Literal["encoder", "decoder"]]

    def __init__(
        self, settings: ModelSettings | dict[str, Any], *, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.settings = ModelSettings.model_validate(settings)
        self.seed = seed
        self.devices: Devices = ()
        records = getattr(self.settings, self.part)
        self.blocks = [_layer(r, seed + i, self.dtype_policy) for i, r in enumerate(records)]

    def build_blocks(self, shape: tuple[int | None, ...]) -> None:
        """Create the weights, from (B, height, width, channels)."""
        for layer in self.blocks:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def run_blocks(self, features: Any) -> Any:
        """Apply all layers, on all devices."""
        return spread_rows(self._run, [features], self.devices)

    def _run(self, features: Any) -> Any:
        for layer in self.blocks:
            features = layer(features)
        return features

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        settings = self.settings.model_dump(mode="json")
        return {**super().get_config(), "settings": settings, "seed": self.seed}


def _layer(record: Convolution, seed: int, dtype: Any) -> Any:
    """A Keras layer, with He initialisation before a ReLU, and Glorot's elsewhere."""
    initializers = keras.initializers
    start = initializers.HeNormal(seed) if record.relu else initializers.GlorotUniform(seed)
    layer_class = getattr(keras.layers, record.keras_class)
    options = record.keras_options
    return layer_class(**options, kernel_initializer=start, dtype=dtype, name=record.name)
