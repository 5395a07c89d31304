"""A level that is followed causally, and power in decibels re it: the mode `level`.

    x[t] = 10 log10 of the power of frame t, summed over its bins; at least level_least_db
    L[t] = max(x[t], L[t-1] - level_release_db * seconds a frame)
    value = max(10 log10(power) - L[t], -level_range_db)

A louder recording has a higher L and the same values: gain falls away, but for frames under
level_least_db. L rises at once and falls slowly, as a peak programme meter does (IEC 60268-10), so
that no frame has more than 0 dB. It begins with the recording's first frame, and depends on no
frame to come.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.normalize import to_db

Levels = NDArray[np.float64]


def followed(blocks: Iterable[Array], settings: PrepSettings) -> Iterator[Array]:
    """Blocks (M, n) of power as decibels re the level of their channel so far, float32.

    How the blocks are cut changes no bit.
    """
    for block, level in follow(blocks, settings):
        gain = (10 ** (level / -10)).astype(np.float32)
        yield to_db(block * gain, -settings.level_range_db)


def follow(blocks: Iterable[Array], settings: PrepSettings) -> Iterator[tuple[Array, Levels]]:
    """Each block (M, n) of power, and L (n,) in dB re a full-scale sine.

    The fall of L is taken out before a running maximum, and put back after it. That maximum is all
    that is carried from block to block; after a year, float64 still knows it to 1e-8 dB.
    """
    release = settings.level_release_db * settings.hop_length / settings.sample_rate
    least = 10 ** (settings.level_least_db / 10)
    highest, first = -np.inf, 0
    for block in blocks:
        if not block.shape[1]:
            yield block, np.empty(0)
            continue
        fallen = np.arange(first, first + block.shape[1]) * release
        rising = 10 * np.log10(np.maximum(_frame_power(block), least)) + fallen
        rising[0] = max(rising[0], highest)
        rising = np.maximum.accumulate(rising)
        highest, first = rising[-1], first + block.shape[1]
        yield block, rising - fallen


def _frame_power(block: Array) -> Levels:
    """Sum over the bins, (n,), from the lowest up: one order, however many frames there are."""
    sums: Levels = np.add.accumulate(block, axis=0, dtype=np.float64)[-1]
    return sums
