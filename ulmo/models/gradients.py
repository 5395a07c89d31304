"""How the decoder's gradient passes the choice of a code, which has no gradient."""

from typing import Any

from keras import ops

_EPSILON = 1e-6  # of a norm, so that a vector of zeros has a direction


def straight_through(latents: Any, codes: Any) -> Any:
    """The codes; the gradient is copied to the latents (van den Oord et al. 2017, 3.2)."""
    return latents + ops.stop_gradient(codes - latents)


def _rotate(latents: Any, codes: Any) -> Any:
    """The codes, as rotated and scaled latents (Fifty et al. 2024, equation 3).

    q = (|q| / |e|) R e with R = I - 2 r r' + 2 q^ e^', r the unit vector halfway from the
    latent's direction e^ to the code's q^. R and the scale count as constants, so the gradient is
    rotated and scaled as the latent was. It differs between the latents of one code, for all of
    which a copied gradient is the same.
    """
    length, code_length = _norm(latents), _norm(codes)
    direction = ops.stop_gradient(latents / length)
    code_direction = ops.stop_gradient(codes / code_length)
    halfway = direction + code_direction
    halfway = ops.stop_gradient(halfway / _norm(halfway))
    stretch = ops.stop_gradient(code_length / length)
    reflected = latents - 2 * halfway * _dot(halfway, latents)
    return stretch * (reflected + 2 * code_direction * _dot(direction, latents))


GRADIENTS = {"straight_through": straight_through, "rotation": _rotate}


def _norm(vectors: Any) -> Any:
    return ops.sqrt(_dot(vectors, vectors) + _EPSILON**2)


def _dot(a: Any, b: Any) -> Any:
    return ops.sum(a * b, axis=-1, keepdims=True)
