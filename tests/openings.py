"""What this process opens to write, sockets and programs, as Python's audit events say."""

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEW = os.O_CREAT | os.O_EXCL
# Files that are there already: locks, journals and logs that are appended to, and what a killed
# job left, which is locked before it is removed.
EXISTING = re.compile(
    r"(\..*)?\.lock|(\..+)?\.(prep|tokenize)\.jsonl|(losses|epochs)\.csv|\..+\.[0-9a-f]{16,24}\.tmp"
)
OUTWARD = ("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo")
OUTWARD += ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile")
_recordings = []


def _hook(event, arguments):
    if _recordings and event == "open":
        path, mode, flags = arguments
        if isinstance(path, str | bytes | os.PathLike):
            for recorded in _recordings:
                recorded.append((get_ident(), os.fsdecode(path), mode, flags or 0))
    elif _recordings and event in OUTWARD:
        for recorded in _recordings:
            recorded.append((get_ident(), event, event, 0))


@contextmanager
def recorded():
    """Yields a list that gets every opening: thread, path, mode (None for os.open), flags."""
    if not hasattr(sys, "_ulmo_openings"):
        sys._ulmo_openings = True
        sys.addaudithook(_hook)
    openings = []
    _recordings.append(openings)
    try:
        yield openings
    finally:
        _recordings.remove(openings)


def outward(openings):
    """Sockets that were opened, and programs that were run."""
    return [event for _, event, mode, _ in openings if event == mode]


def written(openings):
    """Path and flags of each opening to write, but for byte code and for nothing.

    `open` with an opener raises two events: its own, and that of the opener's `os.open`, which has
    the flags that count.
    """
    found, last = [], {}
    for place, (thread, path, mode, flags) in enumerate(openings):
        before = last.get(thread)
        if mode is None and before is not None and openings[before][1] == path:
            found = [each for each in found if each[0] != before]
        last[thread] = place if mode is not None else None
        if flags & WRITING and path != os.devnull and "__pycache__" not in path:
            found.append((place, path, flags))
    return [(path, flags) for _, path, flags in found]


def unsafe(openings):
    """Openings to write that may follow a link, or change a file that was not ulmo's."""
    return [(path, flags) for path, flags in written(openings) if not _is_safe(path, flags)]


def _is_safe(path, flags):
    if hasattr(os, "O_TMPFILE") and flags & os.O_TMPFILE == os.O_TMPFILE:
        return True  # it has no name
    if not flags & getattr(os, "O_NOFOLLOW", 0) and hasattr(os, "O_NOFOLLOW"):
        return False
    is_known = EXISTING.fullmatch(Path(path).name)
    return flags & NEW == NEW or bool(is_known and not flags & (os.O_CREAT | os.O_TRUNC))
