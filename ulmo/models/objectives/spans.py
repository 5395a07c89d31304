"""Masked spans: which positions of an axis to hide."""

from typing import Any

import tensorflow as tf
from keras import ops

from ulmo.models.draws import Draws


def spans(draws: Draws, batch: Any, length: Any, span: int, share: float) -> Any:
    """(batch, length) bool: which positions to hide, about `share` of each row.

    As in wav2vec 2.0 (Baevski et al. 2020, section 3.1), any position may begin a span of `span`
    positions, and spans may overlap. Here a span may also begin before the first position, so the
    ends are hidden as often as the middle. Each row has at least one span.
    `share` is at least 0 and below 1.
    """
    places = length + span - 1
    seen = (1.0 - share) / ops.maximum(1.0 - span / length, 1.0 - share)  # without the certain span
    drawn = draws.uniform((batch, places)) < 1.0 - seen ** (1.0 / span)
    first = draws.uniform((batch, 1), 0, ops.cast(length, "float32"))
    sure = ops.arange(places)[None] == ops.cast(ops.floor(first), "int32") + (span - 1) // 2
    starts = ops.cast(ops.logical_or(drawn, sure), "int32")
    begun = tf.cumsum(tf.pad(starts, ((0, 0), (1, 0))), axis=1)
    return begun[:, span:] - begun[:, :length] > 0
