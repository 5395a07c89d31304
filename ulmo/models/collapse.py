"""Collapse: an encoder that gives every sound the same latent, which some objectives reward."""

from typing import Any, NamedTuple

from keras import ops

# Beyond either a run is called collapsed; docs/objectives.md has those of trained encoders.
LEAST_VARIANCE = 0.05
MOST_SIMILARITY = 0.95


class Spread(NamedTuple):
    """How far apart latents are; scalars."""

    # Share of their mean square that is no mean: 1 about the origin, 0 where all are one.
    variance: Any
    similarity: Any  # mean cosine of all pairs of different tokens of a band, from -1 to 1

    @property
    def collapsed(self) -> bool:
        """Whether nearly all are one."""
        return self.variance < LEAST_VARIANCE or self.similarity > MOST_SIMILARITY


def spread_of(latents: Any, weights: Any) -> Spread:
    """Spread of latents (B, columns, bands, EMB), a pair weighing by the weights of both.

    `weights` (B, columns, bands). Each band is taken by itself, and the mean of the bands told: an
    encoder that tells bands apart, and no sounds, is as collapsed as another.
    """
    latents, weights = ops.cast(latents, "float64"), ops.cast(weights, "float64")[..., None]
    total, squares = _over_tokens(weights), _over_tokens(ops.square(weights))  # (bands, 1)
    mean = ops.divide_no_nan(_over_tokens(weights * latents), total)  # (bands, EMB)
    power = ops.divide_no_nan(_over_tokens(weights * ops.square(latents)), total)
    resultant = ops.square(_over_tokens(weights * ops.normalize(latents, axis=-1)))
    alike = ops.sum(resultant, axis=-1, keepdims=True) - squares
    centre, whole = (ops.sum(part, axis=-1) for part in (ops.square(mean), power))
    return Spread(
        variance=_told(1.0 - ops.divide_no_nan(centre, whole)),
        similarity=_told(ops.divide_no_nan(alike, ops.square(total) - squares)),
    )


def _told(bands: Any) -> Any:
    """The mean, float32: sums in float64 are the same to its last digit in whatever order."""
    return ops.cast(ops.mean(bands), "float32")


def _over_tokens(values: Any) -> Any:
    """Sums (bands, n) over tiles and columns."""
    return ops.sum(values, axis=(0, 1))
