"""How far the reading of a recording has come."""

from collections.abc import Callable
from typing import Protocol

from ulmo.jobs.executor import progressed


class Recording(Protocol):
    """The part of an opened recording that progress needs: preprocessing.audio has the class."""

    on_frames: Callable[[int], None] | None

    @property
    def frames(self) -> int:
        """Frames that the recording is expected to have."""

    @property
    def sample_rate(self) -> int:
        """Frames a second."""


class Way:
    """Tells the pool of the bytes of a file, as its frames are read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._frames = 0
        self._bytes = self._milliseconds = 0  # told

    def follow(self, recording: Recording, passes: int) -> None:
        """Listen to one of so many passes over the recording."""
        total = max(recording.frames, 1) * passes

        def on_frames(frames: int) -> None:
            self._frames += frames
            done = min(self._size * self._frames // total, self._size)
            self._tell(done, 1000 * self._frames // (recording.sample_rate * passes))

        recording.on_frames = on_frames

    def end(self) -> None:
        """It is done, however far it came."""
        self._tell(self._size, self._milliseconds)

    def undo(self) -> None:
        """What was told was in vain."""
        self._frames = 0
        self._tell(0, 0)

    def _tell(self, size: int, milliseconds: int) -> None:
        if (size, milliseconds) != (self._bytes, self._milliseconds):
            progressed(size - self._bytes, milliseconds - self._milliseconds)
            self._bytes, self._milliseconds = size, milliseconds
