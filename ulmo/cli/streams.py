"""The streams of a command: each may be missing, closed, broken, or know few letters."""

import os
import sys

from ulmo.config.descriptors import fill_descriptors


def mend_streams() -> None:
    """Replace missing streams, and let none of them refuse a letter.

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


def leave_broken_streams() -> None:
    """Lead streams that cannot be written to nowhere, so that Python does not fail at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
