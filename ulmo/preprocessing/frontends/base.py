"""What a front end is, and the one stream that drives them all."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array


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
    frame_by_frame: bool
    """True where no bit of a frame depends on samples that the frame does not see."""

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of left + (block_frames - 1) * hop_length + right samples."""
        ...


def count_frames(samples: int, hop_length: int) -> int:
    """Frames of so many samples: those whose centre lies inside the recording."""
    return -(-samples // hop_length)


def stream_power(
    frontend: FrontEnd,
    blocks: Iterable[Array],
    *,
    ready: Callable[[int], int] | None = None,
) -> Iterator[Array]:
    """Power of a recording that comes in blocks (n,), as blocks (M, frames).

    Frames are computed in groups that begin at multiples of block_frames, always with the same
    number of samples around them (zeros outside the recording). How the samples came is
    therefore without effect on any bit of the result.

    `ready` tells how many frames are wanted as soon as so many are certain. Their group is then
    computed before its samples are complete, and again later: the same bits, at more cost. Front
    ends that are not `frame_by_frame` give whole groups all the same.
    """
    hop, group = frontend.hop_length, frontend.block_frames
    length = frontend.left + (group - 1) * hop + frontend.right
    cutter = _Segments(length, group * hop, lead=frontend.left)
    given = begun = 0  # frames that were given; first frame of the group that is being filled
    early = ready if frontend.frame_by_frame else None
    for block in blocks:
        for segment in cutter.feed(block):
            yield frontend.power(segment)[:, given - begun :]
            given = begun = begun + group
        if early:
            wanted = early(max((cutter.received - frontend.right) // hop + 1, 0))
            if wanted > given:
                yield frontend.power(cutter.peek())[:, given - begun : wanted - begun]
                given = wanted
    total = count_frames(cutter.received, hop)
    padding = np.zeros(length + group * hop, np.float32)
    while given < total:
        for segment in cutter.feed(padding):
            yield frontend.power(segment)[:, given - begun : total - begun]
            given = begun = begun + group
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

    def peek(self) -> Array:
        """The segment that is being filled, with zeros for what has not come."""
        held = np.concatenate(self._held)
        return np.concatenate([held, np.zeros(self._length - len(held), np.float32)])

    def _hold(self, samples: Array) -> None:
        self._held.append(samples.copy())
        self._held_length += len(samples)
