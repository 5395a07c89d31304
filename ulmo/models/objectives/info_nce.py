"""InfoNCE: choose the right one among several vectors, by cosine.

van den Oord, Li and Vinyals 2018 (arXiv:1807.03748), equation 4.
"""

from typing import Any, NamedTuple

from keras import ops

TEMPERATURE = 0.1  # divides cosines; as in wav2vec 2.0 (Baevski et al. 2020, section 4.2)
FAR = -1e9  # logit of a vector that is not a candidate
_EPSILON = 1e-6  # added to a squared norm: bounds the gradient of a vector near 0


class Choice(NamedTuple):
    """Weighted means over all queries with more than one candidate; scalars."""

    loss: Any  # cross-entropy, nats
    score: Any  # share of the queries nearest to their own candidate
    chance: Any  # the score of a guess: mean of 1 / candidates


def choose(
    queries: Any, candidates: Any, allowed: Any, weights: Any, temperature: float = TEMPERATURE
) -> Choice:
    """Choose a candidate (..., n, D) for each query (..., n, D); the i-th is right for the i-th.

    `allowed` (..., n, n) bool: whether query i may choose candidate j; its own is always allowed.
    `weights` (..., n), at least 0, are those of the queries. A query with no other candidate does
    not count; if no query counts, all results are 0.
    """
    similar = ops.matmul(directions(queries), ops.swapaxes(directions(candidates), -1, -2))
    similar = similar / temperature
    own = ops.eye(ops.shape(similar)[-1], dtype="bool")
    others = ops.logical_and(allowed, ops.logical_not(own))
    right = ops.sum(ops.where(own, similar, 0.0), axis=-1)
    rivals = ops.where(others, similar, FAR)
    count = ops.sum(ops.cast(others, "float32"), axis=-1)
    weights = ops.where(count > 0, weights, 0.0)

    def mean(values: Any) -> Any:
        return ops.divide_no_nan(ops.sum(values * weights), ops.sum(weights))

    logits = ops.where(own, similar, rivals)
    return Choice(
        loss=mean(ops.logsumexp(logits, axis=-1) - right),
        score=mean(ops.cast(right > ops.max(rivals, axis=-1, initial=FAR), "float32")),
        chance=mean(1.0 / (1.0 + count)),
    )


def directions(vectors: Any) -> Any:
    """Vectors (..., D) scaled to length 1; a vector of zeros stays."""
    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + _EPSILON)
