"""How large the numbers inside a model can become: a bundle's distances must be finite.

If all weights of a bundle are finite, its distances may still be infinite. Then each token would be
the first code, without any error. So the interval that holds the numbers of a layer is computed
from that of the layer before (Moore 1966), for every input within the range of tiles:

    high = sum over the kernel of  max(k, 0) * high - max(-k, 0) * low,  plus the bias

and `low` likewise. With 0 inside the interval, it holds for zeros that are padded, and for the sum
of some of the terms too, in whatever order a runtime adds them.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle.weights import BIAS, KERNEL, Weights, stages_of
from ulmo.config import Convolution, ModelSettings

_Bounds = NDArray[np.float64]
# A quarter of the largest float32: rounding adds far less than a factor of 4.
_MOST = float(np.finfo(np.float32).max) / 4


def check_bounds(settings: ModelSettings, weights: Weights, largest: float) -> None:
    """Raise ValueError if a number in the encoder, a distance or a decoded tile may be too large.

    Too large is what float32 does not hold. largest: that no value of a tile exceeds, nor its
    negative (`ulmo.preprocessing.normalize.largest_value`).
    """
    edge = np.array([largest])
    low, high = -edge, edge
    with np.errstate(over="ignore", invalid="ignore"):
        dimensions = settings.embedding_dim
        low, high = _through("encoder", settings.encoder, weights, low, high)
        # Squares of the latents, less their mean, are summed where they are normalised.
        _check("encoder.project", dimensions * (high - low).max() ** 2)
        reach = np.sqrt(dimensions)  # of a coordinate of a normalised latent; fsq's are below 2
        codes = sum(float(np.abs(stage).max()) for stage in stages_of(settings, weights))
        most = max(reach + codes, 2 + codes)
        _check("codebook", 2 * dimensions * most**2)
        if settings.has_boundaries:
            scores = reach * np.abs(weights[KERNEL]).sum(axis=0, dtype=np.float64)
            _check("boundaries", float((scores + np.abs(weights[BIAS])).max()))
        edge = np.full(dimensions, codes)
        _through("decoder", settings.decoder, weights, -edge, edge)


def _through(
    part: str, layers: Iterable[Convolution], weights: Weights, low: _Bounds, high: _Bounds
) -> tuple[_Bounds, _Bounds]:
    """The interval of each channel after the layers, from that before them."""
    for layer in layers:
        name = f"{part}.{layer.name}"
        kernel, bias = weights[f"{name}.kernel"], weights[f"{name}.bias"]
        if layer.onnx_operator == "ConvTranspose":  # (height, width, out, in)
            kernel = kernel.swapaxes(2, 3)
        # (in, out): sums of what is positive, and of what is negative
        up = np.maximum(kernel, 0).sum(axis=(0, 1), dtype=np.float64)
        down = np.maximum(-kernel, 0).sum(axis=(0, 1), dtype=np.float64)
        highest = high @ up - low @ down
        lowest = low @ up - high @ down
        _check(name, max(highest.max(), -lowest.min()) + float(np.abs(bias).max()))
        low = np.zeros_like(lowest) if layer.relu else np.minimum(lowest + bias, 0)
        high = np.maximum(highest + bias, 0)
    return low, high


def _check(name: str, bound: float) -> None:
    if not bound <= _MOST:
        raise ValueError(f"the weights are too large: numbers may become infinite at {name}")
