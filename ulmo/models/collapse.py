"""Collapse: an encoder that gives every sound the same latent, which some objectives reward."""

from typing import Any, NamedTuple

from keras import ops

LEAST_VARIANCE = 0.05
MOST_SIMILARITY = 0.95
"""Beyond either a run is called collapsed. Latents of an untrained encoder have 0.3 and 0.7, those
of a trained one 0.6 to 1 and 0 to 0.4 (docs/objectives.md)."""


class Spread(NamedTuple):
    """How far apart latents are; scalars."""

    variance: Any
    """Share of their mean square that is no mean: 1 about the origin, 0 where all are one."""
    similarity: Any
    """Mean cosine of all pairs of different tokens, from -1 to 1."""

    @property
    def collapsed(self) -> bool:
        """Whether nearly all are one."""
        return self.variance < LEAST_VARIANCE or self.similarity > MOST_SIMILARITY


def spread_of(latents: Any, weights: Any) -> Spread:
    """Spread of latents (..., EMB), each pair weighing by the weights (...) of both."""
    vectors = ops.reshape(latents, (-1, ops.shape(latents)[-1]))
    weights = ops.reshape(weights, (-1, 1))
    total, squares = ops.sum(weights), ops.sum(ops.square(weights))
    mean = ops.divide_no_nan(ops.sum(weights * vectors, axis=0), total)
    power = ops.divide_no_nan(ops.sum(weights * ops.square(vectors)), total)
    directions = ops.normalize(vectors, axis=-1)
    resultant = ops.sum(ops.square(ops.sum(weights * directions, axis=0)))
    return Spread(
        variance=1.0 - ops.divide_no_nan(ops.sum(ops.square(mean)), power),
        similarity=ops.divide_no_nan(resultant - squares, ops.square(total) - squares),
    )
