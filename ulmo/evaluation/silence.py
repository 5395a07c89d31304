"""Which tokens stand for sound, and which for silence.

Most of a field recording is near silence, and most of a codebook may be spent on it unnoticed.
Figures of a codebook are therefore given for all tokens and for non-silent ones.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array

# A patch is silent if its mean level is this far below the loudest cell of its recording. 60 dB is
# the decay after which room acoustics calls a sound gone (RT60).
SILENCE_DB = 60.0
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
    """Whether patches (n, columns, bands) are less than SILENCE_DB below their peaks (n,).

    Patches within FLOOR_MARGIN_DB of the floor, where all levels are clipped, are always silent.
    """
    least = np.maximum(peaks - SILENCE_DB, floor_db + FLOOR_MARGIN_DB)
    sound: NDArray[np.bool_] = patches > least[:, None, None]
    return sound
