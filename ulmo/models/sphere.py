"""Vectors on the sphere of radius sqrt(EMB), where the nearest has the largest cosine."""

from typing import Any

from keras import ops

from ulmo.config import SPHERE_EPSILON


def on_sphere(vectors: Any) -> Any:
    """Vectors (..., EMB) stretched to norm sqrt(EMB); a vector of zeros stays.

    That radius, and not 1, is the norm that a layer normalisation would give: distances, the
    commitment and what the decoder sees are of one size whichever of the two is chosen.
    """
    squares = ops.mean(ops.square(vectors), axis=-1, keepdims=True)
    return vectors / ops.sqrt(squares + SPHERE_EPSILON)
