"""Files that a stranger may have made: opened without following a link, or waiting for a pipe."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO

from ulmo.config import UserError

FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
BLOCK = 1 << 20


@contextmanager
def open_plain(path: Path, *, remedy: str) -> Iterator[BinaryIO]:
    """Open a plain file; UserError, which ends with the remedy, for anything else."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path} is no plain file: {remedy}")
        with os.fdopen(os.open(path, FLAGS), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path} is no plain file: {remedy}")
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None


def read_bounded(path: Path, most: int, *, remedy: str) -> bytes:
    """All of a plain file of at most so many bytes."""
    with open_plain(path, remedy=remedy) as file:
        content = _read(file, most + 1)
    if len(content) > most:
        raise UserError(f"{path} is larger than {most} bytes: {remedy}")
    return content


def check_length(path: Path, size: int, *, remedy: str) -> None:
    """UserError unless the plain file has so many bytes."""
    with open_plain(path, remedy=remedy) as file:
        _expect(path, file, size, remedy)


def read_hashed(path: Path, size: int, digest: str, *, remedy: str) -> bytes:
    """A plain file of so many bytes whose SHA-256 is `digest`, in hexadecimal.

    Hashed twice: in blocks, so that a changed file costs no memory, whatever its size; then the
    very bytes that are returned.
    """
    with open_plain(path, remedy=remedy) as file:
        _expect(path, file, size, remedy)
        running, left = sha256(), size
        while left and (block := file.read(min(left, BLOCK))):
            running.update(block)
            left -= len(block)
        file.seek(0)
        content = _read(file, size) if running.hexdigest() == digest else b""
    if len(content) != size or sha256(content).hexdigest() != digest:
        raise UserError(f"{path} is not the file that the settings speak of: {remedy}")
    return content


def _expect(path: Path, file: BinaryIO, size: int, remedy: str) -> None:
    found = os.fstat(file.fileno()).st_size
    if found != size:
        raise UserError(f"{path} has {found} bytes, not {size}: {remedy}")


def _read(file: BinaryIO, most: int) -> bytes:
    """Up to so many bytes, in one piece of memory no larger than the file."""
    return file.read(min(os.fstat(file.fileno()).st_size, most))


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file in hexadecimal, in constant memory; None where there is no plain file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
