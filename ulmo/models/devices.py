"""Several devices: each computes some rows of a batch by the same weights.

rows -> a part for each device -> the layers, on that device -> rows, on the first device
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Devices = tuple[str, ...]  # names of TensorFlow's devices; fewer than two: nothing is shared out


def spread_rows(run: Callable[..., Any], rows: Sequence[Any], devices: Devices) -> Any:
    """What `run` makes of rows, as `run(*rows)`, computed on several devices.

    rows: tensors (n, ...). run: makes of some rows a tensor (n, ...), or a nest of them, each row
    by itself. Gradients reach the rows and the variables as if there were one device: they are
    computed where the rows were, and their sums come together on the first device, where the
    variables are. So there is one copy of the weights, and nothing can drift apart. All parts have
    equal length: rows of zeros, which are then dropped, fill the last one.
    """
    if len(devices) < 2:
        return run(*rows)
    count = tf.shape(rows[0])[0]
    lacking = -count % len(devices)
    parts = [tf.split(_filled(each, lacking), len(devices)) for each in rows]
    made = [_on(device, run, some) for device, *some in zip(devices, *parts, strict=True)]
    return tf.nest.map_structure(lambda *each: tf.concat(each, 0)[:count], *made)


def _filled(rows: Any, lacking: Any) -> Any:
    """The rows, and as many of zeros behind them."""
    rows = tf.convert_to_tensor(rows)
    zeros = tf.zeros(tf.concat([[lacking], tf.shape(rows)[1:]], 0), rows.dtype)
    return tf.concat([rows, zeros], 0)


def _on(device: str, run: Callable[..., Any], rows: Sequence[Any]) -> Any:
    """`run(*rows)` on a device, and later the gradient, which a tape alone would not leave there.

    TensorFlow places each operation by the scope in which it is made, and those of the gradient are
    made where the caller asks for it.
    """

    @tf.custom_gradient
    def part(*rows: Any) -> Any:
        with tf.device(device), tf.GradientTape() as tape:
            here = [tf.identity(each) for each in rows]
            sources = _floats(here)
            tape.watch(sources)
            made = run(*here)
        flat = tf.nest.flatten(made)

        def gradient(*slopes: Any, variables: Sequence[Any] = ()) -> Any:
            wanted = [one for one, of in zip(slopes, flat, strict=True) if of.dtype.is_floating]
            with tf.device(device):
                found, by_variables = tape.gradient(
                    _floats(flat), (sources, list(variables)), wanted
                )
            coming = iter(found)
            by_rows = [next(coming) if each.dtype.is_floating else None for each in here]
            return (by_rows, by_variables) if variables else by_rows

        return made, gradient

    return part(*rows)


def _floats(tensors: Sequence[Any]) -> list[Any]:
    return [each for each in tensors if each.dtype.is_floating]
