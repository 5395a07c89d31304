"""Moments: the same instants of a recording in two views of it."""

from typing import Any, NamedTuple

from keras import ops

from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Side


class SharedMoments(NamedTuple):
    """Moments (A,) of a batch: each in a column of its tiles, and in a column of another view."""

    tile: Any  # (A,) int32, from 0 to B - 1
    time: Any  # (A,) float32: frames of view 0, from the beginning of the tile
    column: Any  # (A,) int32: column of `TrainingBatch.tiles` whose middle is the moment
    other_column: Any  # (A,) int32: column of the other view that covers the moment


def times_of(columns: Any, pace: Any, stride: int) -> Any:
    """(B, columns): middle of each column, in frames of view 0.

    At pace p (B,), column c covers the frames from c stride p to (c + 1) stride p.
    """
    middles = (ops.cast(ops.arange(columns), "float32") + 0.5) * stride
    return middles[None] * ops.cast(pace, "float32")[:, None]


def columns_at(times: Any, pace: Any, stride: int) -> Any:
    """(B, n) int32: the columns that cover times (B, n), in tiles of a pace (B,)."""
    length = stride * ops.cast(pace, "float32")
    return ops.cast(ops.floor(times / length[:, None]), "int32")


def values_at(values: Any, columns: Any) -> Any:
    """(B, n): values (B, columns) at columns (B, n); 0 beyond the last column."""
    last = ops.shape(values)[1] - 1
    found = ops.take_along_axis(values, ops.clip(columns, 0, last), axis=1)
    return ops.where(columns <= last, found, 0.0)


def shared_moments(
    encoded: EncodedBatch, other: Side, latents: Any, count: int, draws: Draws
) -> SharedMoments:
    """Draw at most `count` moments that both the batch's tiles and their `other` view show.

    `latents` are those of the other view. The draw is without replacement from all columns of the
    batch, by the mean weight of their tokens: silence is rare, and padding is never drawn.
    (Gumbel's trick: the largest of log weights plus Gumbel noise; Kool et al. 2019,
    arXiv:1903.06059.)
    """
    stride = encoded.model.encoder.settings.time_stride
    weights = ops.mean(encoded.weights, axis=-1)  # (B, columns)
    columns = ops.shape(weights)[1]
    times = times_of(columns, encoded.batch.pace, stride)
    found = columns_at(times, other.pace, stride)
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
    return ops.log(weights) - ops.log(-ops.log(draws.uniform(ops.shape(weights))))


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
