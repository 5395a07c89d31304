"""What tells whether a file is still the one that it was."""

from typing import NamedTuple


class Signature(NamedTuple):
    """Changes when somebody writes to a file, or puts another in its place."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class ChangedError(OSError):
    """A file that ends before the length that it had when it was opened."""
