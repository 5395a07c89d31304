"""Files that a stranger may have made: opened without waiting, bounded, hashed, and recognised.

`open_plain` and `open_unlinked` follow no link and take plain files only: for what ulmo wrote.
`open_file` follows links: for recordings. Every file that ulmo writes is opened by `create_file`
or `append_to`, or is a lock that passed `check_alone`: no planted link leads to another file.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self, cast

from ulmo.config import UserError
from ulmo.storage.remote_file import RemoteFile
from ulmo.storage.remote_path import RemotePath
from ulmo.storage.signature import ChangedError as ChangedError
from ulmo.storage.signature import Signature as Signature

_NO_WAIT = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOCTTY"))
NO_TRAP = _NO_WAIT | getattr(os, "O_NOFOLLOW", 0)  # neither waits for a pipe nor follows a link
_BLOCK = 1 << 20
# Errors of a name that nothing has.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_OF_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class LinkError(UserError, OSError):
    """A link in the place of a file that ulmo wrote: it could lead to any file."""

    def __init__(self, path: Path) -> None:
        why = "it is a link, and ulmo follows no links to its own files: put the file itself there"
        OSError.__init__(self, errno.ELOOP, why, str(path))

    def __str__(self) -> str:
        return f"{self.filename} cannot be read: {self.strerror}"

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (Path(self.filename),)


def lexists(path: Path) -> bool:
    """Whether something has a name; a link counts, wherever it leads.

    Raises OSError if that cannot be found out. `os.path.lexists` then says that nothing is there,
    and what is there would be written over.
    """
    try:
        path.lstat() if isinstance(path, RemotePath) else os.lstat(path)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return False
    except ValueError:  # no file system takes such a name
        return False
    return True


def open_unlinked(path: Path) -> BufferedReader:
    """Open a plain file, and follow no link: LinkError for one, OSError for any other.

    A path that the user named may be a link: see `followed`.
    """
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise LinkError(path)
    return os.fdopen(_descriptor(path, os.O_RDONLY | NO_TRAP), "rb")


def followed(path: Path) -> Path:
    """What a path that the user named leads to, if it is a link; else the same path."""
    return path.resolve() if path.is_symlink() and path.exists() else path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in errors of the system that name no file, or another one that stands for it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not one of the system
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def open_plain(path: Path, *, remedy: str, size: int | None = None) -> Iterator[BinaryIO]:
    """Open a plain file, of `size` bytes; UserError, which ends with the remedy, for any other."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path} is no plain file: {remedy}")
        with open_unlinked(path) as file:
            status = os.fstat(file.fileno())
            if size not in (None, status.st_size):
                raise UserError(f"{path} has {status.st_size} bytes, not {size}: {remedy}")
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None


def read_unlinked(path: Path, most: int) -> bytes:
    """Read a plain file; OSError as open_unlinked().

    Raises UserError if it has more than `most` bytes, or is a folder, a pipe or a device.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file: move it elsewhere")
    with open_unlinked(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else _read(file, most + 1)
    if max(size, len(content)) > most:
        raise UserError(f"{path} is too large to be ours")
    return content


def read_bounded(path: Path, most: int, *, remedy: str) -> bytes:
    """Read a plain file of at most `most` bytes."""
    with open_plain(path, remedy=remedy) as file:
        content = _read(file, most + 1)
    if len(content) > most:
        raise UserError(f"{path} is larger than {most} bytes: {remedy}")
    return content


def bounded_lines(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Lines with their ends, which the last may lack; ValueError for one of over `most` bytes.

    A hole in a file is one line, of any length.
    """
    while line := file.readline(most + 1):
        if len(line) > most:
            raise ValueError(f"a line is longer than {most} bytes")
        yield line


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
    """SHA-256 of a file in hexadecimal, in constant memory; None if there is no plain file.

    A link is none. Raises OSError if the file cannot be read.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open_unlinked(path) as file:
        return file_digest(file, "sha256").hexdigest()


def is_of_process(error: OSError) -> bool:
    """Whether an error of reading says nothing of the file: too many are open, or no memory."""
    return error.errno in _OF_PROCESS


def create_file(path: Path | str, *, folder: int | None = None) -> BinaryIO:
    """Open a new file, to be written and read. Raises FileExistsError if its name is taken.

    `folder` is the descriptor of the folder that a relative path begins in.
    """

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | NO_TRAP, 0o666, dir_fd=folder)

    return open(path, "x+b", opener=opened)


def append_to(path: Path, *, buffering: int = -1) -> BinaryIO:
    """Open a file of ours to append to it. UserError if somebody put a link in its place."""

    def opened(name: str, flags: int) -> int:
        descriptor = os.open(name, (flags | NO_TRAP) & ~os.O_CREAT)
        try:
            check_alone(descriptor, path)
        except UserError:
            os.close(descriptor)
            raise
        return descriptor

    try:
        return open(path, "ab", buffering, opener=opened)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link; a pipe without a reader
            raise
        raise _linked(path) from None


def check_alone(descriptor: int, path: Path) -> None:
    """Raise UserError unless an open file is a plain one with no other name.

    What is written to a hard link changes the file whose other name it is.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _linked(path)


def _linked(path: Path) -> UserError:
    return UserError(f"{path} is a link to another file, or no plain file: remove it")


def written_hash(file: BinaryIO) -> str:
    """SHA-256 in hexadecimal of all that was written to a file of `create_file`.

    It is read by the descriptor: another file may have the name by now, or soon.
    """
    running = sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        running.update(block)
    file.seek(0, os.SEEK_END)
    return running.hexdigest()


def open_file(path: Path) -> BinaryIO:
    """Open a file, or what a link leads to; OSError for a pipe, a device, a socket or a folder.

    An object of a store, too: what has been read of it is at hand for a while (remote_file.py).
    """
    if isinstance(path, RemotePath):
        return cast(BinaryIO, RemoteFile(path))
    return _Unbuffered(_descriptor(path, os.O_RDONLY | _NO_WAIT))


class _Unbuffered(io.FileIO):
    """An open file that gives all the bytes asked for: only the end of the file cuts a read short.

    A read of the system may give fewer, and nothing at all behind the end of a file that was cut
    meanwhile. A reader must not take this for the end of the file: so it raises OSError, or
    ChangedError if another program wrote to the file. It also raises OSError for a file without
    data yet, as some in /proc, for which Python returns None.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._opened = signature_of(self)

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        found = self._read(wanted)
        if len(found) == wanted or not self._opened.size:
            return found
        left = self._opened.size - self.tell()  # by the length that it had
        while left > 0 and len(found) != wanted:
            more = self._read(left if wanted < 0 else min(wanted - len(found), left))
            if not more:
                raise self._cut()
            found, left = found + more, left - len(more)
        return found

    def _read(self, size: int) -> bytes:
        """What the system gives; OSError if that is nothing yet."""
        found = super().read(size)
        if found is None:
            raise BlockingIOError(errno.EAGAIN, "it belongs to the kernel, and is no recording")
        return found

    def _cut(self) -> OSError:
        if signature_of(self) != self._opened:
            return ChangedError(errno.ESTALE, "the file was changed while it was read")
        return OSError(errno.EIO, "the system gives fewer bytes than the file has")


def _descriptor(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")


def signature_of(file: BinaryIO) -> Signature:
    """The signature of an open file, wherever its name may lead by now."""
    if isinstance(file, RemoteFile):
        return file.signature()
    return _signature(os.fstat(file.fileno()))


def signature_at(path: Path) -> Signature | None:
    """The signature of what has a name, which may be a link; None if nothing has it."""
    with suppress(OSError):
        return _signature(os.lstat(path))
    return None


def _signature(status: os.stat_result) -> Signature:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return Signature(status.st_dev, status.st_ino, status.st_size, *times)
