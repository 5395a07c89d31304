"""Channels of a recording that are read one after the other, and decoded together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

import numpy as np

from ulmo.arrays import Array
from ulmo.preprocessing.reading.audio import Recording

MOST_KEPT = 1 << 30  # bytes of samples on the disk, in TMPDIR
_IN_MEMORY = 1 << 24  # bytes of them that need no file


@contextmanager
def in_turn(recording: Recording, channels: Sequence[int | None]) -> Iterator[None]:
    """Within the block, these channels of a recording are read in this order, each at least once.

    A decoder gives all channels at once. So the pass over one channel keeps the samples of the next
    ones, as many as fit into MOST_KEPT, and their passes decode nothing. A single channel, and a
    recording whose header does not say how long it is, are decoded in each pass.
    """
    numbers = [channel for channel in channels if channel is not None]
    if len(numbers) < 2:
        yield
        return
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        recording.in_turn = _Kept(recording, numbers, file).blocks
        try:
            yield
        finally:
            recording.in_turn = None


class _Kept:
    """Samples of a group of channels, from the run that decoded them."""

    def __init__(self, recording: Recording, channels: Sequence[int], file: IO[bytes]) -> None:
        self._recording = recording
        self._channels = channels
        self._file = file  # of each block the channels of the group, one after the other
        self._group: Sequence[int] = ()
        self._lengths: list[int] = []  # frames of each block
        self._run: tuple[int, int | None] | None = None  # first frame, and number of frames

    def blocks(self, channel: int, start: int, frames: int | None) -> Iterator[Array]:
        """Blocks (n, 1) of a channel, of the frames that `Recording.blocks` gives."""
        if self._run != (start, frames) or channel not in self._group:
            yield from self._decoded(channel, start, frames)
            return
        row, place = self._group.index(channel), 0
        for length in self._lengths:
            self._file.seek(4 * (place + row * length))
            place += len(self._group) * length
            if self._recording.on_frames:
                self._recording.on_frames(length)
            yield np.frombuffer(self._file.read(4 * length), np.float32)[:, None]

    def _decoded(self, channel: int, start: int, frames: int | None) -> Iterator[Array]:
        """The same while it is decoded; the group is there once the run has come to its end."""
        most = self._recording.frames if frames is None else frames
        first = self._channels.index(channel)
        group = self._channels[first : first + (MOST_KEPT // (4 * most) if most else 0)]
        self._group, self._lengths = (), []
        self._file.seek(0)
        self._file.truncate()
        for block in self._recording.blocks(start, frames):
            self._lengths.append(len(block))
            try:
                self._file.write(np.ascontiguousarray(block[:, group].T).data)
            except OSError:  # no room there: then each channel is decoded by itself
                group = ()
            yield block[:, channel : channel + 1]
        self._group, self._run = group, (start, frames)
