"""Choosing what belongs together among what does not: scores, and the loss NT-Xent."""

from typing import Any, NamedTuple

from keras import ops

EPSILON = 1e-12
NEVER = -1e9
"""Logit of what may not be chosen."""


class Choice(NamedTuple):
    """How well the right ones were chosen; scalars."""

    score: Any
    """Share of choices that were right: that no other candidate was as similar, or more."""
    chance: Any
    """Mean of 1 / number of candidates."""


def unit(vectors: Any) -> Any:
    """Vectors (..., D) of norm 1; one of zeros stays, and its gradient is finite."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, EPSILON))


def mean_of(values: Any) -> Any:
    """Mean of values (n,); 0 of none."""
    return ops.sum(values) / ops.cast(ops.maximum(ops.size(values), 1), "float32")


def nt_xent(first: Any, second: Any, negative: Any, temperature: float) -> Any:
    """Scalar loss: Chen et al. 2020 (arXiv:2002.05709), equation 1, over both directions.

    `first` and `second` (A, D) are unit vectors; those of one row belong together. `negative`
    (A, A) bool says which moments differ, symmetric and False on its diagonal: a vector's
    candidates are its partner and, of such moments, the vectors of both views.
    """
    both = ops.concatenate([first, second], axis=0)
    similarity = ops.matmul(both, ops.transpose(both)) / temperature
    right = ops.tile(ops.sum(first * second, axis=-1), 2) / temperature
    wrong = ops.where(ops.tile(negative, (2, 2)), similarity, NEVER)
    logits = ops.concatenate([right[:, None], wrong], axis=1)
    return mean_of(ops.logsumexp(logits, axis=1) - right)


def choice(first: Any, second: Any, negative: Any) -> Choice:
    """For each vector of `first` (A, D) its partner is sought among the vectors of `second`."""
    similarity = ops.matmul(first, ops.transpose(second))
    right = ops.sum(first * second, axis=-1)
    wrong = ops.max(ops.where(negative, similarity, NEVER), axis=1, initial=NEVER)
    candidates = 1.0 + ops.sum(ops.cast(negative, "float32"), axis=1)
    return Choice(
        score=mean_of(ops.cast(right > wrong + TIE, "float32")),
        chance=mean_of(1.0 / candidates),
    )


TIE = 1e-6
"""Cosines that differ by less are equal: of vectors that are all one, no choice is right."""
