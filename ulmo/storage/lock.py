"""One job at a time on an output.

The lock is filelock's, on a hidden file. The kernel lifts it when the process ends, however it
ends: a killed job locks nobody out. Worker processes do not inherit it. The file names its holder,
for the message to the second job; a file or a link that holds anything else is left as it is.
Where files cannot be locked (some network file systems), the file itself is the lock, and filelock
removes it once its process is gone from this machine.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryFile

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout, UnixFileLock, lock_descriptor
from pydantic import ValidationError

from ulmo.config import Settings, UserError
from ulmo.storage.atomic import is_temporary, short_name
from ulmo.storage.open_folder import open_folder
from ulmo.storage.plain_file import NO_TRAP, check_alone, lexists, open_plain

LOCK = ".lock"  # in a folder; beside an output that is a file: .NAME.lock
_WAIT_SECONDS, _POLL_SECONDS = 0.2, 0.02  # for a job that is just ending
_MOST_HOLDER = 4096  # bytes of what is written in a lock file
_HOLDER_BEGINS = b' {"host":'
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


_held: list[Path] = []  # lock files that this process holds


class LockError(UserError, OSError):
    """An output cannot be written now: another job writes it, or its lock cannot be taken.

    It is also an OSError, because a job may refuse one of many outputs and go on. `filename` is the
    output, `strerror` the reason and the remedy.
    """

    def __init__(self, number: int, why: str, what: Path) -> None:
        OSError.__init__(self, number, why, str(what))

    def __str__(self) -> str:
        return f"{self.filename} {str(self.strerror).removeprefix('it ')}"


class _Holder(Settings):
    """The process that holds a lock."""

    host: str
    pid: int
    since: datetime


def is_free(folder: Path) -> bool:
    """Whether a folder is empty, but for a lock and what a job that never began has left."""
    return folder.is_dir() and all(
        is_temporary(path) or path.name == LOCK for path in folder.iterdir()
    )


def lock_path(out: Path) -> Path:
    """The lock file of an output that is a file."""
    return out.with_name(f".{short_name(out.name)}{LOCK}")


@contextmanager
def locked(path: Path, what: Path, *, wait: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock file `path` while `what` is written, then remove it. Its folder must exist.

    Raises LockError, in one line, if another job holds it for more than `wait` seconds, or if it
    cannot be made.
    """
    name = _name_of(path, what)
    in_the_way = f"it cannot be locked: {name} is in the way, and is not a lock of ulmo: remove it"
    with suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise LockError(errno.EEXIST, in_the_way, what)
    try:
        lock = _lock_of(path)
        lock.acquire(wait, _POLL_SECONDS)
    except Timeout:
        raise _taken(what, path) from None
    except _ForeignError:
        raise LockError(errno.EEXIST, in_the_way, what) from None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that was put there just now
            raise LockError(errno.EEXIST, in_the_way, what) from None
        if error.errno not in _DENIED:
            raise OSError(error.errno, error.strerror, str(what)) from None
        remedy = "let yourself write there (chmod, chown), then run the same again"
        why = f"it cannot be locked: {name} cannot be made ({error.strerror}): {remedy}"
        raise LockError(error.errno, why, what) from None
    _held.append(path)
    ours = path.lstat() if isinstance(lock, UnixFileLock) and path.exists() else None
    try:
        yield
    finally:
        _held.remove(path)
        if ours is not None:  # other locks remove their file themselves
            with suppress(OSError), open_folder(path.parent) as folder:
                status = folder.status(path.name)
                if status is not None and os.path.samestat(status, ours):
                    folder.remove(path.name)
        lock.release()


def _name_of(path: Path, what: Path) -> str:
    """A lock's name beside what it locks: messages become rows of tables, which name no places."""
    return str(path.relative_to(what.parent)) if path.is_relative_to(what.parent) else path.name


def locked_name(path: Path) -> str | None:
    """The name of what a lock file locks, cut if it is long; None for a path of another name.

    It is empty for LOCK, which locks its folder.
    """
    is_lock = path.name.startswith(".") and path.name.endswith(LOCK)
    return path.name.removesuffix(LOCK).removeprefix(".") if is_lock else None


def remove_lock(path: Path) -> None:
    """Remove a lock file that a killed job left; one that is held, or is not ulmo's, stays."""
    if lexists(path):
        with suppress(LockError), locked(path, path, wait=0):
            pass


def refuse_held(path: Path, what: Path) -> None:
    """Raise LockError if another job holds the lock file; make and change nothing."""
    if is_held(path):
        raise _taken(what, path)


def held_locks() -> list[Path]:
    """The lock files that this process holds."""
    return list(_held)


def is_left_lock(path: Path) -> bool:
    """Whether a file is a lock that nobody holds: a killed job left it. Change nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_TRAP)
    except OSError:
        return False
    is_ours = False
    try:
        with suppress(OSError):
            is_ours = _names_a_holder(descriptor, path)
    finally:
        os.close(descriptor)
    return is_ours and not is_held(path)


def is_held(path: Path) -> bool:
    """Whether another job holds the lock file; make and change nothing."""
    for access in (os.O_RDWR, os.O_RDONLY):
        try:
            descriptor = os.open(path, access | NO_TRAP)
        except OSError:
            continue
        try:
            return not lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            return error.errno in _NO_LOCKS
        finally:
            os.close(descriptor)
    return False


def _lock_of(path: Path) -> BaseFileLock:
    """A lock that the file system knows, or else one that is a file."""
    if not _has_locks(path.parent):
        return SoftFileLock(path)
    return FileLock(path, on_acquired=partial(_sign, path))


@lru_cache(maxsize=64)  # each recording of a folder has its own lock there
def _has_locks(folder: Path) -> bool:
    """Whether the file system of a folder knows locks; OSError if no file can be made there."""
    with TemporaryFile(dir=folder) as probe:
        try:
            lock_descriptor(probe.fileno(), blocking=False)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
    return True


class _ForeignError(Exception):
    """A file has the name of a lock, and is none."""


def _sign(path: Path, descriptor: int) -> None:
    """Write the holder down, after the first byte: Windows lets nobody read the byte it locks.

    Raises _ForeignError, and changes nothing, if the file is not one that a job has left: a link
    may have been put in its place while it was opened.
    """
    if not _names_a_holder(descriptor, path):
        raise _ForeignError
    now = datetime.now(UTC).replace(microsecond=0)
    holder = _Holder(host=socket.gethostname(), pid=os.getpid(), since=now)
    os.lseek(descriptor, 0, os.SEEK_SET)
    written = os.write(descriptor, f" {holder.model_dump_json()}\n".encode())
    if os.fstat(descriptor).st_size > written:  # ext4 syncs what was truncated, empty or not
        os.ftruncate(descriptor, written)


def _names_a_holder(descriptor: int, path: Path) -> bool:
    """Whether an open file is a lock's, with no other name.

    A job may be killed before it has written anything.
    """
    try:
        check_alone(descriptor, path)
    except UserError:
        return False
    content = os.read(descriptor, _MOST_HOLDER) if os.fstat(descriptor).st_size else b""
    return not content.strip(b"\0 \n") or content.startswith(_HOLDER_BEGINS)


def _taken(what: Path, path: Path) -> LockError:
    who, may_be_gone = "another job", False
    try:
        with open_plain(path, remedy="") as file:
            file.seek(1)
            holder = _Holder.model_validate_json(file.read(_MOST_HOLDER))
    except (UserError, ValidationError):
        if pid := SoftFileLock(path).pid:
            who, may_be_gone = f"{who} (process {pid})", True
    else:
        may_be_gone = holder.host != socket.gethostname()
        place = f" on {holder.host[:64]!r}" if may_be_gone else ""
        who += f" (process {holder.pid}{place}, since {holder.since:%Y-%m-%d %H:%M:%S} UTC)"
    gone = f"; if that job is gone, remove {_name_of(path, what)}" if may_be_gone else ""
    remedy = f"wait for its end, or choose another place{gone}"
    return LockError(errno.EBUSY, f"it is being written by {who}: {remedy}", what)
