"""Random numbers in training: a function of a seed and a step, so that a run can be resumed."""

from typing import Any

import tensorflow as tf
from keras import ops

MOST = 2**31 - 1


class Draws:
    """Random numbers that a seed and a step decide, each draw its own; `philox` everywhere."""

    def __init__(self, seed: int, step: Any) -> None:
        self._seed = seed
        self._step = ops.cast(step, "int32")
        self._count = 0

    def uniform(self, shape: tuple[Any, ...], least: Any = 0.0, most: Any = 1.0) -> Any:
        """float32 of a shape, evenly from `least` up to, not including, `most`."""
        drawn = tf.random.stateless_uniform(shape, self._next(), alg="philox")
        return least + (most - least) * drawn

    def normal(self, shape: tuple[Any, ...]) -> Any:
        """float32 of a shape, with mean 0 and spread 1."""
        return tf.random.stateless_normal(shape, self._next(), alg="philox")

    def _next(self) -> Any:
        self._count += 1
        return tf.stack([(self._seed + 65_537 * self._count) % MOST, self._step])
