"""Files as they lie on the disk: opened without waiting for a pipe, and known again."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOCTTY")
)


class Signature(NamedTuple):
    """What changes when somebody writes to a file, or puts another in its place."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def open_file(path: Path) -> BinaryIO:
    """Open a file, or what a link leads to; OSError for a pipe, a device, a socket or a folder.

    It has no buffer: libsndfile, which is given the descriptor, begins where the file stands.
    """
    descriptor = os.open(path, FLAGS)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb", buffering=0)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")


def signature_of(file: BinaryIO) -> Signature:
    """Of an open file, wherever its name may lead by now."""
    status = os.fstat(file.fileno())
    return Signature(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
