"""What is odd about the samples of a recording, told by flags: nothing is changed for them."""

import numpy as np

from ulmo.arrays import Array

DC = 0.01
"""Mean of a channel from which on it is off zero: 1 % of full scale."""
NEAR_FULL_SCALE = 0.99
CLIPPED_RUN = 3
"""Equal samples in a row, within 1 % of full scale or over it, that are no sound's own."""

FLAGS = {
    "nonfinite": "samples were NaN, infinite or beyond 120 dB over full scale, and set to 0",
    "over_full_scale": "samples lie beyond +-1",
    "clipped": "three equal samples or more in a row, at 0.99 of full scale or over",
    "dc_offset": "the mean of a channel is 0.01 of full scale or more",
    "dead_channel": "of several channels one has the same value throughout, and another not",
    "silent": "every channel has the same value throughout",
}
"""Every flag, in the order in which they are told, and what it means."""


class Quality:
    """Takes the samples (n, channels) of a recording, block by block, and tells its flags.

    Sums are taken in float64: of samples of up to 24 bits they are exact, and the flags do not
    depend on where the blocks are cut.
    """

    def __init__(self, channels: int) -> None:
        self.frames = 0
        self._low = np.full(channels, np.inf, np.float32)
        self._high = np.full(channels, -np.inf, np.float32)
        self._sums = np.zeros(channels)
        self._clipped = False
        self._last = np.zeros((0, channels), np.float32)

    def add(self, block: Array) -> float:
        """Take finite samples (n, channels), n > 0; the largest of them in magnitude."""
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
        """Those of FLAGS that hold of all samples so far."""
        if not self.frames:
            return ()
        dead = self._low == self._high
        told = {
            "nonfinite": non_finite > 0,
            "over_full_scale": max(self._high.max(), -self._low.min()) > 1,
            "clipped": self._clipped,
            "dc_offset": bool((np.abs(self._sums) >= DC * self.frames).any()),
            "dead_channel": bool(dead.any() and not dead.all()),
            "silent": bool(dead.all()),
        }
        return tuple(flag for flag in FLAGS if told[flag])


def _is_clipped(block: Array) -> bool:
    run = (np.abs(block[2:]) >= NEAR_FULL_SCALE) & (block[2:] == block[1:-1])
    return bool((run & (block[2:] == block[:-2])).any())
