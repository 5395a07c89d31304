"""How far apart latents are: some objectives reward an encoder that makes all of them equal."""

from typing import Any, NamedTuple

from keras import ops


class Spread(NamedTuple):
    """How far apart latents are; scalars."""

    # Variance as a share of the mean square: 1 if the mean is 0, 0 if all latents are equal.
    variance: Any
    similarity: Any  # mean cosine over all pairs of tokens in a band, -1 to 1


def spread_of(latents: Any, weights: Any) -> Spread:
    """Spread of latents (B, columns, bands, EMB), weighted by `weights` (B, columns, bands).

    A pair weighs the product of its weights. The result is the mean over bands, each computed by
    itself: an encoder that only distinguishes bands has collapsed, too.
    """
    latents, weights = ops.cast(latents, "float64"), ops.cast(weights, "float64")[..., None]
    total, squares = _over_tokens(weights), _over_tokens(ops.square(weights))  # (bands, 1)
    mean = ops.divide_no_nan(_over_tokens(weights * latents), total)  # (bands, EMB)
    power = ops.divide_no_nan(_over_tokens(weights * ops.square(latents)), total)
    resultant = ops.square(_over_tokens(weights * ops.normalize(latents, axis=-1)))
    alike = ops.sum(resultant, axis=-1, keepdims=True) - squares
    centre, whole = (ops.sum(part, axis=-1) for part in (ops.square(mean), power))
    return Spread(
        variance=_mean(1.0 - ops.divide_no_nan(centre, whole)),
        similarity=_mean(ops.divide_no_nan(alike, ops.square(total) - squares)),
    )


def _mean(bands: Any) -> Any:
    """Mean as float32: sums in float64 agree to its last digit in any order."""
    return ops.cast(ops.mean(bands), "float32")


def _over_tokens(values: Any) -> Any:
    """Sums (bands, n) over tiles and columns."""
    return ops.sum(values, axis=(0, 1))
