"""Which tokens stand for sound, and which for silence.

Most of a field recording is near silence, and most of a codebook can be spent on it unseen:
figures of a codebook are therefore given for all tokens and for non-silent ones.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array

SILENCE_DB = 60.0
"""A patch is silent where its mean level lies this far under its recording's loudest cell.

60 dB is the drop by which room acoustics calls a sound gone (RT60).
"""
FLOOR_MARGIN_DB = 3.0


def patch_levels(levels: Array, *, bands: int, columns: int, strides: tuple[int, int]) -> Array:
    """Mean level in dB under each token, (n, columns, bands), of tiles (n, M, M) in dB.

    `strides` are (frequency, time). Patches at the upper and right border may be smaller.
    """
    height, width = bands * strides[0], columns * strides[1]
    padding = ((0, 0), (0, height - levels.shape[1]), (0, width - levels.shape[2]))
    padded = np.pad(levels, padding, constant_values=np.nan)
    patches = padded.reshape(len(levels), bands, strides[0], columns, strides[1])
    means: Array = np.nanmean(patches, axis=(2, 4)).transpose(0, 2, 1)
    return means


def is_sound(patches: Array, peaks: Array, floor_db: float) -> NDArray[np.bool_]:
    """True for patches (n, columns, bands) less than SILENCE_DB under their peaks (n,).

    A patch within FLOOR_MARGIN_DB of the floor, where all levels are clipped, is silent anyhow.
    """
    least = np.maximum(peaks - SILENCE_DB, floor_db + FLOOR_MARGIN_DB)
    sound: NDArray[np.bool_] = patches > least[:, None, None]
    return sound
