"""Random numbers in training: a function of seed and step, so that a run can be resumed."""

from typing import Any

import tensorflow as tf
from keras import ops

_MOST = 2**31 - 1
_LEAST = 1e-9  # of a uniform number whose logarithm must be finite; the others are above 1e-7


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

    def log_exponential(self, shape: tuple[Any, ...]) -> Any:
        """Logarithms of exponential random numbers of mean 1; times -1, Gumbel noise."""
        return ops.log(-ops.log(ops.maximum(self.uniform(shape), _LEAST)))

    def normal(self, shape: tuple[Any, ...]) -> Any:
        """float32 of this shape, with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self._next(), alg="philox")

    def spans(self, batch: Any, length: Any, span: int, share: float) -> Any:
        """(batch, length) bool: which positions to hide, about `share` of each row.

        As in wav2vec 2.0 (Baevski et al. 2020, section 3.1), any position may begin a span of
        `span` positions, and spans may overlap. Here a span may also begin before the first
        position, so the ends are hidden as often as the middle. Each row has at least one span.
        `share` is at least 0 and below 1.
        """
        places = length + span - 1
        # Share that stays visible, without the certain span.
        seen = (1.0 - share) / ops.maximum(1.0 - span / length, 1.0 - share)
        drawn = self.uniform((batch, places)) < 1.0 - seen ** (1.0 / span)
        first = self.uniform((batch, 1), 0, ops.cast(length, "float32"))
        sure = ops.arange(places)[None] == ops.cast(ops.floor(first), "int32") + (span - 1) // 2
        starts = ops.cast(ops.logical_or(drawn, sure), "int32")
        begun = tf.cumsum(tf.pad(starts, ((0, 0), (1, 0))), axis=1)
        return begun[:, span:] - begun[:, :length] > 0

    def _next(self) -> Any:
        self._count += 1
        return tf.stack([(self._seed + 65_537 * self._count) % _MOST, self._step])
