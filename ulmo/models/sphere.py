"""Vectors on the sphere of radius sqrt(EMB), where the nearest one has the largest cosine."""

from typing import Any

from keras import ops

from ulmo.config import SPHERE_EPSILON


def on_sphere(vectors: Any) -> Any:
    """Vectors (..., EMB) scaled to norm sqrt(EMB); a vector of zeros stays.

    Layer normalisation gives the same norm, so distances, commitment and the decoder's input have
    one scale with either.
    """
    squares = ops.mean(ops.square(vectors), axis=-1, keepdims=True)
    return vectors / ops.sqrt(squares + SPHERE_EPSILON)
