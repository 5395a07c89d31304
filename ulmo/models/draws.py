"""Random numbers in training: a function of seed and step, so that a run can be resumed."""

from typing import Any

import tensorflow as tf
from keras import ops

MOST = 2**31 - 1


class Draws:
    """Random numbers decided by a seed and a step; each draw differs. The algorithm is `philox`."""

    def __init__(self, seed: int, step: Any) -> None:
        self._seed = seed
        self._step = ops.cast(step, "int32")
        self._count = 0

    def uniform(self, shape: tuple[Any, ...], least: Any = 0.0, most: Any = 1.0) -> Any:
        """float32 of this shape, uniform from `least` up to, but not including, `most`."""
        drawn = tf.random.stateless_uniform(shape, self._next(), alg="philox")
        return least + (most - least) * drawn

    def normal(self, shape: tuple[Any, ...]) -> Any:
        """float32 of this shape, with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self._next(), alg="philox")

    def _next(self) -> Any:
        self._count += 1
        return tf.stack([(self._seed + 65_537 * self._count) % MOST, self._step])
