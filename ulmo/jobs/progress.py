"""What jobs report while they run: progress, and which recording comes next."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Progress = Callable[[int, int], None]  # bytes of input and milliseconds of sound since last call

TRIES = 4  # a job is done again three times if its worker is lost
_LOST = (
    f"each of {TRIES} workers that read it was lost, perhaps for want of memory: "
    "run the same again with fewer workers"
)


class Reports(NamedTuple):
    """Where the jobs of a process report to, and what they must know."""

    advance: Progress
    begin: Callable[[str], None] = lambda _: None  # called with the path of each recording
    lost: frozenset[str] = frozenset()  # paths of recordings that workers were lost with


_reports: Reports | None = None
_lock = Lock()  # a job may report from several threads


def progressed(size: int, milliseconds: int = 0) -> None:
    """Report from a job the bytes of input and the sound that it did since its last report."""
    if _reports is not None:
        with _lock:
            _reports.advance(size, milliseconds)


def lost_with(path: Path) -> str | None:
    """Report that a job comes to a recording now; returns why it is to be refused, if it is.

    Call it before the recording is opened. If the worker is lost, the recording is blamed; once
    TRIES workers were lost with it, it is refused as `worker_lost`, and the job goes on without it.
    """
    if _reports is None:
        return None
    _reports.begin(str(path))
    return _LOST if str(path) in _reports.lost else None


def set_reports(reports: Reports | None) -> Reports | None:
    """Have the jobs of this process report there; returns where they reported before."""
    global _reports
    before, _reports = _reports, reports
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
