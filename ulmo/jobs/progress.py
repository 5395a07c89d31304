"""Progress of jobs, and of reading a recording."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

Progress = Callable[[int, int], None]  # bytes of input and milliseconds of sound since last call

_report: Progress | None = None


def progressed(size: int, milliseconds: int = 0) -> None:
    """Report from a job the bytes of input and the sound that it did since its last report."""
    if _report is not None:
        _report(size, milliseconds)


def set_report(report: Progress | None) -> Progress | None:
    """Have `report` called with what jobs of this process report; returns the one before."""
    global _report
    before, _report = _report, report
    return before


class ReadingProgress:
    """Reports the bytes of a file to the pool while its frames are read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._frames = 0
        self._bytes = self._milliseconds = 0  # reported

    def follow(self, recording: Any, passes: int) -> None:
        """Follow one of `passes` passes over a recording of preprocessing.audio."""
        total = max(recording.frames, 1) * passes

        def on_frames(frames: int) -> None:
            self._frames += frames
            done = min(self._size * self._frames // total, self._size)
            self._report(done, 1000 * self._frames // (recording.sample_rate * passes))

        recording.on_frames = on_frames

    def read(self, once: Callable[[], T], is_changed: Callable[[T], bool]) -> T:
        """What `once` reads; read once more if the file changed meanwhile."""
        try:
            found = once()
            if is_changed(found):
                self.undo()
                found = once()
            return found
        finally:
            self.end()

    def end(self) -> None:
        """Report the whole file as read, wherever reading ended."""
        self._report(self._size, self._milliseconds)

    def undo(self) -> None:
        """Take back what was reported: the file will be read again."""
        self._frames = 0
        self._report(0, 0)

    def _report(self, size: int, milliseconds: int) -> None:
        if (size, milliseconds) != (self._bytes, self._milliseconds):
            progressed(size - self._bytes, milliseconds - self._milliseconds)
            self._bytes, self._milliseconds = size, milliseconds
