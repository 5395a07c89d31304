"""Moments: the same instants of a recording in two views of it."""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Side


class SharedMoments(NamedTuple):
    """Moments (A,) of a batch: each in a column of its tiles, and in a column of another view."""

    tile: Any  # (A,) int32, from 0 to B - 1
    time: Any  # (A,) float32: frames of view 0, as in `Side`
    column: Any  # (A,) int32: column of `TrainingBatch.tiles` whose middle is the moment
    other_column: Any  # (A,) int32: column of the other view that covers the moment


def middles_of(edges: Any) -> Any:
    """(B, columns): the middle of each column, from the edges (B, columns + 1) of a `Side`."""
    return (edges[:, :-1] + edges[:, 1:]) / 2.0


def columns_at(times: Any, edges: Any) -> Any:
    """(B, n) int32: the columns, by their edges (B, columns + 1), that cover times (B, n).

    A column covers the time at which it begins, and not that at which it ends. -1 is before the
    first column; the number of columns is after the last.
    """
    return tf.searchsorted(edges, times, side="right") - 1


def values_at(values: Any, columns: Any) -> Any:
    """(B, n): values (B, columns) at columns (B, n); 0 before the first and beyond the last."""
    last = ops.shape(values)[1] - 1
    inside = ops.clip(columns, 0, last)
    return ops.where(columns == inside, ops.take_along_axis(values, inside, axis=1), 0.0)


def shared_moments(
    encoded: EncodedBatch, other: Side, latents: Any, count: int, draws: Draws
) -> SharedMoments:
    """Draw at most `count` moments that both the batch's tiles and their `other` view show.

    `latents` are those of the other view. The draw is without replacement from all columns of the
    batch, by the mean weight of their tokens: silence is rare, and padding is never drawn.
    (Gumbel's trick: the largest of log weights plus Gumbel noise; Kool et al. 2019,
    arXiv:1903.06059.)
    """
    weights = ops.mean(encoded.weights, axis=-1)  # (B, columns)
    columns = ops.shape(weights)[1]
    times = middles_of(encoded.batch.edges)
    found = columns_at(times, other.edges)
    share = encoded.model.inside(latents, other.valid_frames)[:, :, 0]
    place = drawn(ops.reshape(weights * values_at(share, found), (-1,)), count, draws)
    return SharedMoments(
        tile=place // columns,
        time=ops.take(ops.reshape(times, (-1,)), place),
        column=place % columns,
        other_column=ops.take(ops.reshape(found, (-1,)), place),
    )


def drawn(weights: Any, count: int, draws: Draws) -> Any:
    """(A,) int32: at most `count` indices into `weights` (n,), all different, none of weight 0."""
    some = ops.minimum(ops.cast(ops.count_nonzero(weights), "int32"), count)
    return ops.top_k(jittered(weights, draws), some).indices


def jittered(weights: Any, draws: Draws) -> Any:
    """Log weights plus Gumbel noise; -inf for a weight of 0. Any shape."""
    return ops.log(weights) - draws.log_exponential(ops.shape(weights))


def columns_of(latents: Any, tile: Any, column: Any) -> Any:
    """(..., bands EMB): columns (...) of latents (B, columns, bands, EMB), their bands joined."""
    batch, columns, bands, width = ops.shape(latents)
    joined = ops.reshape(latents, (batch * columns, bands * width))
    return ops.take(joined, tile * columns + column, axis=0)


def far_apart(moments: SharedMoments, least: float) -> Any:
    """(A, A) bool: whether moments are in different tiles, or `least` frames of view 0 apart."""
    same = moments.tile[:, None] == moments.tile[None]
    distance = ops.absolute(moments.time[:, None] - moments.time[None])
    return ops.logical_or(ops.logical_not(same), distance >= least)


def mean_of(values: Any) -> Any:
    """Mean of values (A,); 0 if there are none."""
    return ops.sum(values) / ops.cast(ops.maximum(ops.size(values), 1), "float32")
