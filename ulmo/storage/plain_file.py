"""Files that a stranger may have made: opened without waiting, bounded, hashed, and recognised.

`open_plain` follows no link and takes plain files only: for what ulmo wrote. `open_file` follows
links: for recordings.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ulmo.config import UserError

_NO_WAIT = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOCTTY"))
NO_TRAP = _NO_WAIT | getattr(os, "O_NOFOLLOW", 0)  # neither waits for a pipe nor follows a link
_BLOCK = 1 << 20
_OF_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@contextmanager
def open_plain(path: Path, *, remedy: str, size: int | None = None) -> Iterator[BinaryIO]:
    """Open a plain file, of `size` bytes; UserError, which ends with the remedy, for any other."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path} is no plain file: {remedy}")
        with os.fdopen(os.open(path, os.O_RDONLY | NO_TRAP), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path} is no plain file: {remedy}")
            if size not in (None, status.st_size):
                raise UserError(f"{path} has {status.st_size} bytes, not {size}: {remedy}")
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None


def read_bounded(path: Path, most: int, *, remedy: str) -> bytes:
    """Read a plain file of at most `most` bytes."""
    with open_plain(path, remedy=remedy) as file:
        content = _read(file, most + 1)
    if len(content) > most:
        raise UserError(f"{path} is larger than {most} bytes: {remedy}")
    return content


def check_length(path: Path, size: int, *, remedy: str) -> None:
    """Raise UserError unless the plain file has `size` bytes."""
    with open_plain(path, remedy=remedy, size=size):
        pass


def read_hashed(path: Path, size: int, digest: str, *, remedy: str) -> bytes:
    """Read a plain file of `size` bytes whose SHA-256 is `digest`, in hexadecimal.

    It is hashed twice: in blocks, so that a changed file of any size costs no memory; then the
    very bytes that are returned.
    """
    with open_plain(path, remedy=remedy, size=size) as file:
        running, left = sha256(), size
        while left and (block := file.read(min(left, _BLOCK))):
            running.update(block)
            left -= len(block)
        file.seek(0)
        content = _read(file, size) if running.hexdigest() == digest else b""
    if len(content) != size or sha256(content).hexdigest() != digest:
        raise UserError(f"{path} is not the file that the settings name: {remedy}")
    return content


def _read(file: BinaryIO, most: int) -> bytes:
    """Read up to `most` bytes into memory no larger than the file."""
    return file.read(min(os.fstat(file.fileno()).st_size, most))


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file in hexadecimal, in constant memory; None if there is no plain file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def is_of_process(error: OSError) -> bool:
    """Whether an error of reading says nothing of the file: too many are open, or no memory."""
    return error.errno in _OF_PROCESS


class Signature(NamedTuple):
    """Changes when somebody writes to a file, or puts another in its place."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def open_file(path: Path) -> BinaryIO:
    """Open a file, or what a link leads to; OSError for a pipe, a device, a socket or a folder.

    It has no buffer: libsndfile, which is given the descriptor, begins where the file stands.
    """
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb", buffering=0)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")


def signature_of(file: BinaryIO) -> Signature:
    """The signature of an open file, wherever its name may lead by now."""
    status = os.fstat(file.fileno())
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return Signature(status.st_dev, status.st_ino, status.st_size, *times)
