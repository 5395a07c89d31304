"""substitution.safetensors: how well one id stands for another, in bits, for each band.

One tensor, `scores` (bands, CB, CB) float16. The settings determine all bytes but its numbers.
"""

import math

import numpy as np
import safetensors.numpy

from ulmo.arrays import Array
from ulmo.bundle.weights import tensors_header
from ulmo.config import ModelSettings

_NAME = "scores"
_EXPONENT = np.uint16(0x7C00)  # bits of a float16, which are all 1 if it is infinite or no number
_MOST_SCORES = 1 << 24  # 32 MiB: two bands of 2,896 codes


def scores_shape(settings: ModelSettings) -> tuple[int, int, int]:
    """(bands, CB, CB)."""
    return settings.bands, settings.codebook_size, settings.codebook_size


def may_have_scores(settings: ModelSettings) -> bool:
    """Whether the scores are few enough for a bundle."""
    return math.prod(scores_shape(settings)) <= _MOST_SCORES


def scores_size(settings: ModelSettings) -> int:
    """Bytes of substitution.safetensors."""
    return len(_header(settings)) + 2 * math.prod(scores_shape(settings))


def pack_scores(settings: ModelSettings, scores: Array) -> bytes:
    """substitution.safetensors; ValueError for scores of another shape, or not finite."""
    if scores.shape != scores_shape(settings):
        raise ValueError(f"{_NAME} has shape {scores.shape}, not {scores_shape(settings)}")
    packed = safetensors.numpy.save({_NAME: np.ascontiguousarray(scores, np.float16)})
    check_scores(settings, packed)
    return packed


def unpack_scores(settings: ModelSettings, data: bytes) -> Array:
    """(bands, CB, CB) float32; ValueError for what `check_scores` refuses."""
    check_scores(settings, data)
    return safetensors.numpy.load(data)[_NAME].astype(np.float32)


def check_scores(settings: ModelSettings, data: bytes) -> None:
    """Raise ValueError for another header, or scores that are not finite.

    The length must have been checked. It takes a sixth of the time of unpacking.
    """
    header = _header(settings)
    if not data.startswith(header):
        raise ValueError("its header is not the one that the settings give")
    if (np.frombuffer(data, "<u2", offset=len(header)) & _EXPONENT == _EXPONENT).any():
        raise ValueError(f"{_NAME} is not finite")


def _header(settings: ModelSettings) -> bytes:
    return tensors_header({_NAME: scores_shape(settings)}, "F16")
