"""Flags for what is unusual about a recording's samples; flagged samples are not changed."""

from collections.abc import Iterable

import numpy as np

from ulmo.arrays import Array

DC = 0.01  # of full scale: a channel whose mean is this far from 0 is flagged
FAR_BEYOND = 10**1.5  # times full scale: no gain reaches 30 dB over it, but other units do
NEAR_FULL_SCALE = 0.99
CLIPPED_RUN = 3  # equal samples in a row, at NEAR_FULL_SCALE or over, that are not natural

# Every flag and its meaning, in the order in which flags are listed. The first seven are of the
# samples in the file, the others of what is made tiles or tokens of it.
FLAGS = {
    "nonfinite": "samples were NaN, infinite or more than 120 dB over full scale, "
    "and were set to 0",
    "over_full_scale": "samples lie beyond +-1",
    "clipped": "three or more equal samples in a row, at 0.99 of full scale or above",
    "dc_offset": "DC offset, which is the mean of a channel: 0.01 of full scale or more",
    "dead_channel": "one of several channels has one constant value, and another has not",
    "silent": "every channel has one constant value",
    "unscaled": "float samples reach 30 dB or more over full scale: another unit is likely",
    "cancelled": "a tenth or more of the power is lost because channels cancel in their mean",
    "below_floor": "no frame reaches the floor of the settings: the tokens fade to silence",
    "above_bandwidth": "over a third of the power lies above bandwidth_hz",
    "time_not_linear": "time was or may have been left out in it, and it is not known where",
    "time_expanded": "its header says that the file plays slower than the sound was (GUANO TE)",
}


def in_order(*flags: Iterable[str]) -> tuple[str, ...]:
    """Each flag once, in the order of FLAGS."""
    found = set().union(*flags)
    return tuple(flag for flag in FLAGS if flag in found)


class Quality:
    """Finds the flags of a recording from its samples (n, channels), block by block.

    Sums are in float64, exact for samples of up to 24 bits: the flags do not depend on where the
    blocks are cut.
    """

    def __init__(self, channels: int) -> None:
        self.frames = 0
        self._low = np.full(channels, np.inf, np.float32)
        self._high = np.full(channels, -np.inf, np.float32)
        self._sums = np.zeros(channels)
        self._clipped = False
        self._last = np.zeros((0, channels), np.float32)

    def add(self, block: Array) -> float:
        """Add finite samples (n, channels), n > 0; return their largest magnitude."""
        columns = [block[:, channel] for channel in range(block.shape[1])]
        low = np.array([column.min() for column in columns])
        high = np.array([column.max() for column in columns])
        self._low = np.minimum(self._low, low)
        self._high = np.maximum(self._high, high)
        self._sums += [column.sum(dtype=np.float64) for column in columns]
        self.frames += len(block)
        peak = float(max(high.max(), -low.min()))
        if not self._clipped and max(peak, self._last_peak) >= NEAR_FULL_SCALE:
            self._clipped = _is_clipped(np.concatenate([self._last, block]))
        self._last = np.concatenate([self._last, block[1 - CLIPPED_RUN :]])[1 - CLIPPED_RUN :]
        return peak

    @property
    def _last_peak(self) -> float:
        return float(np.abs(self._last).max(initial=0))

    def flags(self, non_finite: int) -> tuple[str, ...]:
        """The FLAGS of all samples so far; `non_finite` is the number of samples set to 0."""
        if not self.frames:
            return ()
        dead = self._low == self._high
        peak = max(self._high.max(), -self._low.min())
        found = {
            "nonfinite": non_finite > 0,
            "over_full_scale": peak > 1,
            "clipped": self._clipped,
            "dc_offset": bool((np.abs(self._sums) >= DC * self.frames).any()),
            "dead_channel": bool(dead.any() and not dead.all()),
            "silent": bool(dead.all()),
            "unscaled": peak >= FAR_BEYOND,
        }
        return in_order(flag for flag, is_found in found.items() if is_found)


def _is_clipped(block: Array) -> bool:
    run = (np.abs(block[2:]) >= NEAR_FULL_SCALE) & (block[2:] == block[1:-1])
    return bool((run & (block[2:] == block[:-2])).any())
