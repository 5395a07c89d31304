"""The base of all front ends, and the stream that drives them."""

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings

FLOAT = 4  # bytes
_SEGMENTS = 5  # copies of a block's samples: held, joined, cut, and zeros for the end
_LEVELS = 4  # copies of a block's power until it lies in a tile
_CALLS = 50_000  # operations that the calls for a block stand for


class FrontEnd:
    """Samples to power, (M, frames); power 1 is a full-scale sine at a bin's centre.

    (Wide bands of `mel` exceed it: see there.) In every front end, frame k is centred on sample
    k * hop_length, counted from 0 at the recording's first sample, and there are
    ceil(samples / hop_length) frames.

    A front end is a class in a file of its own and a line in FRONTENDS.
    """

    words: ClassVar[str]  # what it is, for `--help` and `ulmo inspect`
    settings: ClassVar[tuple[str, ...]]  # those it uses that not all front ends use
    packages: ClassVar[tuple[str, ...]] = ()  # packages of an extra that it imports
    frequencies: NDArray[np.float64]  # centre of each bin in hertz, (M,), rising
    hop_length: int
    left: int  # samples that `power` needs before the centre of its first frame
    right: int  # samples it needs from the centre of its last frame on; at least hop - left
    block_frames: int  # frames that `power` returns
    frame_by_frame: bool  # whether each frame depends, to the last bit, on its own samples alone

    def __init__(self, settings: PrepSettings) -> None:
        """Raise UserError, with a remedy, if the settings cannot be met."""
        raise NotImplementedError

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """What it costs, without building it. UserError for settings that cannot be met."""
        raise NotImplementedError

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of left + (block_frames - 1) * hop_length + right samples."""
        raise NotImplementedError


class Block(NamedTuple):
    """What a front end takes for the frames that it computes at once, and to be built."""

    frames: int
    samples: int  # that it needs
    bytes: float  # of all its arrays, but for the samples and the power
    operations: float
    kept: float  # bytes of what is computed when it is built
    begin: float  # operations of that

    def cost(self, settings: PrepSettings) -> Cost:
        """For a second of sound: of the power, and of the samples that wait for it."""
        cells = settings.tile_size * self.frames
        a_second = settings.true_rate / settings.hop_length / self.frames
        memory = self.bytes + self.kept + FLOAT * (_SEGMENTS * self.samples + _LEVELS * cells)
        operations = a_second * (self.operations + _CALLS + 2 * self.samples)
        return Cost({"front end": float(memory)}, {"front end": float(operations + self.begin)})


def count_frames(samples: int, hop_length: int) -> int:
    """Frames whose centre lies inside a recording of this many samples."""
    return -(-samples // hop_length)


def stream_power(
    frontend: FrontEnd,
    blocks: Iterable[Array],
    *,
    ready: Callable[[int], int] | None = None,
) -> Iterator[Array]:
    """Yield the power of a recording as blocks (M, frames), from sample blocks (n,) of any size.

    Frames are computed in groups that begin at multiples of block_frames, always with the same
    number of samples around them (zeros outside the recording). So the size of the blocks does
    not change a bit of the result.

    `ready` maps the number of frames that are certain to the number wanted now. Their group is
    then computed before its samples are complete, and again later: the same bits, at more cost.
    Front ends that are not `frame_by_frame` always yield whole groups.
    """
    hop, group = frontend.hop_length, frontend.block_frames
    length = frontend.left + (group - 1) * hop + frontend.right
    cutter = _Segments(length, group * hop, lead=frontend.left)
    given = begun = 0  # frames yielded; first frame of the group that is being filled
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
    """Cuts a stream into overlapping segments."""

    def __init__(self, length: int, step: int, *, lead: int) -> None:
        self._length = length
        self._step = step
        self._held = [np.zeros(lead, np.float32)]
        self._held_length = lead
        self.received = 0

    def feed(self, block: Array) -> Iterator[Array]:
        """Yield the segments that this block completes."""
        self.received += len(block)
        self._held.append(block.copy())
        self._held_length += len(block)
        if self._held_length < self._length:
            return
        held = np.concatenate(self._held)
        start = 0
        while start + self._length <= len(held):
            yield held[start : start + self._length]
            start += self._step
        self._held, self._held_length = [held[start:].copy()], len(held) - start

    def peek(self) -> Array:
        """The segment that is being filled, with zeros for samples not yet received."""
        held = np.concatenate(self._held)
        return np.concatenate([held, np.zeros(self._length - len(held), np.float32)])
