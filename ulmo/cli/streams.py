"""The streams of a command: each may be missing, closed, broken, or know few letters."""

import os
import sys
from contextlib import suppress
from typing import Any

from ulmo.config.descriptors import fill_descriptors


class _Stderr:
    """A stream that ends no job: what cannot be written to it, as on a full disk, is lost."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text if the stream takes it; how many letters it has."""
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if it takes what was written."""
        with suppress(OSError):
            self.stream.flush()


def mend_streams() -> None:
    """Replace missing streams; none of them refuses a letter, and a broken stderr ends no job.

    A daemon, pythonw or `2>&-` leaves a process without stdout or stderr.
    """
    fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Stderr):
        setattr(sys, "stderr", _Stderr(sys.stderr))  # noqa: B010 - it has what a TextIO needs


def leave_broken_streams() -> None:
    """Lead streams that cannot be written to nowhere, so that Python does not fail at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            getattr(stream, "stream", stream).flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
