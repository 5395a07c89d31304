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
    """Samples that `power` needs from the centre of its last frame on."""
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
    held = [np.zeros(frontend.left, np.float32)]
    held_length = frontend.left
    received = 0
    given = 0
    for block in blocks:
        held.append(block)
        held_length += len(block)
        received += len(block)
        if held_length < length:
            continue
        segment = np.concatenate(held)
        while len(segment) >= length:
            yield frontend.power(segment[:length])
            given += frontend.block_frames
            segment = segment[step:]
        held, held_length = [segment.copy()], len(segment)
    segment = np.concatenate(held)
    total = count_frames(received, frontend.hop_length)
    while given < total:
        padded = np.zeros(length, np.float32)
        padded[: min(length, len(segment))] = segment[:length]
        yield frontend.power(padded)[:, : total - given]
        given += frontend.block_frames
        segment = segment[step:]
