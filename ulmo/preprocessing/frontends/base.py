"""What a front end is, and the one stream that drives them all."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class FrontEnd(Protocol):
    """Samples to power, (M, frames); power 1 is a sine of full scale at a bin's centre.

    (In a wide band of `mel` it has more: see there.) Frame k is centred on sample
    k * hop_length, counted from 0 at the recording's first sample, in every front end; there are
    ceil(samples / hop_length) frames.
    """

    frequencies: NDArray[np.float64]
    """Centre of each bin in hertz, (M,), rising."""
    hop_length: int
    left: int
    """Samples that `power` needs before the centre of its first frame."""
    right: int
    """Samples that `power` needs from the centre of its last frame on; at least hop - left."""
    block_frames: int
    """Frames that `power` gives at a time."""

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of left + (block_frames - 1) * hop_length + right samples."""
        ...


def count_frames(samples: int, hop_length: int) -> int:
    """Frames of so many samples: those whose centre lies inside the recording."""
    return -(-samples // hop_length)


def stream_power(frontend: FrontEnd, blocks: Iterable[Array]) -> Iterator[Array]:
    """Power of a recording that comes in blocks (n,), as blocks (M, frames).

    Frames are computed in groups that begin at multiples of block_frames, always with the same
    number of samples around them (zeros outside the recording). How the samples came is
    therefore without effect on any bit of the result.
    """
    step = frontend.block_frames * frontend.hop_length
    length = frontend.left + step - frontend.hop_length + frontend.right
    cutter = _Segments(length, step, lead=frontend.left)
    given = 0
    for block in blocks:
        for segment in cutter.feed(block):
            yield frontend.power(segment)
            given += frontend.block_frames
    total = count_frames(cutter.received, frontend.hop_length)
    padding = np.zeros(length + step, np.float32)
    while given < total:
        for segment in cutter.feed(padding):
            yield np.ascontiguousarray(frontend.power(segment)[:, : total - given])
            given += frontend.block_frames
            if given >= total:
                return


class _Segments:
    """Cuts a stream into overlapping segments; copies only those that span two blocks."""

    def __init__(self, length: int, step: int, *, lead: int) -> None:
        self._length = length
        self._step = step
        self._held = [np.zeros(lead, np.float32)]
        self._held_length = lead
        self.received = 0

    def feed(self, block: Array) -> Iterator[Array]:
        """Segments that are complete with this block."""
        self.received += len(block)
        if self._held_length + len(block) < self._length:
            self._hold(block)
            return
        held = np.concatenate(self._held)
        start = 0  # of the next segment, counted in `held` and then in the block
        while start < len(held) and start + self._length <= len(held) + len(block):
            end = start + self._length - len(held)
            yield np.concatenate([held[start:], block[:end]])
            start += self._step
        start -= len(held)
        while 0 <= start <= len(block) - self._length:
            yield block[start : start + self._length]
            start += self._step
        self._held, self._held_length = [], 0
        if start < 0:
            self._hold(held[start:])
        self._hold(block[max(start, 0) :])

    def _hold(self, samples: Array) -> None:
        self._held.append(samples.copy())
        self._held_length += len(samples)
