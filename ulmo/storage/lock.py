"""One job at a time on an output.

The lock is filelock's, on a hidden file. The kernel lifts it when the process ends, however it
ends: a killed job locks nobody out. Worker processes do not inherit it. The file names its holder,
for the message to the second job. Where files cannot be locked (some network file systems), the
file itself is the lock, and filelock removes it once its process is gone from this machine.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout, UnixFileLock, lock_descriptor
from pydantic import ValidationError

from ulmo.config import Settings, UserError
from ulmo.storage.atomic import short_name
from ulmo.storage.plain_file import NO_TRAP, open_plain

LOCK = ".lock"  # in a folder; beside an output that is a file: .NAME.lock
_WAIT_SECONDS, _POLL_SECONDS = 0.2, 0.02  # for a job that is just ending
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class _Holder(Settings):
    """The process that holds a lock."""

    host: str
    pid: int
    since: datetime


def lock_path(out: Path) -> Path:
    """The lock file of an output that is a file."""
    return out.with_name(f".{short_name(out.name)}{LOCK}")


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path` while `what` is written, then remove it. Its folder must exist.

    Raises UserError, in one line, if another job holds it or if it cannot be made.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is in the way of the lock, and no file: remove it")
    try:
        lock = _lock_of(path)
        lock.acquire(_WAIT_SECONDS, _POLL_SECONDS)
    except Timeout:
        raise _taken(what, path) from None
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        remedy = "let yourself write there (chmod, chown), then run the same again"
        raise UserError(f"{path} cannot be made ({error.strerror}): {remedy}") from None
    try:
        yield
    finally:
        if isinstance(lock, UnixFileLock):  # other locks remove their file themselves
            with suppress(OSError):
                path.unlink()
        lock.release()


def refuse_held(path: Path, what: Path) -> None:
    """Raise UserError if another job holds the lock file; make and change nothing."""
    for access in (os.O_RDWR, os.O_RDONLY):
        try:
            descriptor = os.open(path, access | NO_TRAP)
        except OSError:
            continue
        try:
            is_held = not lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            is_held = error.errno in _NO_LOCKS
        finally:
            os.close(descriptor)
        if is_held:
            raise _taken(what, path)
        return


def _lock_of(path: Path) -> BaseFileLock:
    """A lock that the file system knows, or else one that is a file."""
    with TemporaryFile(dir=path.parent) as probe:
        try:
            lock_descriptor(probe.fileno(), blocking=False)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return SoftFileLock(path)
    return FileLock(path, on_acquired=_sign)


def _sign(descriptor: int) -> None:
    """Write the holder down, after the first byte: Windows lets nobody read the byte it locks."""
    now = datetime.now(UTC).replace(microsecond=0)
    holder = _Holder(host=socket.gethostname(), pid=os.getpid(), since=now)
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f" {holder.model_dump_json()}\n".encode())


def _taken(what: Path, path: Path) -> UserError:
    who, may_be_gone = "another job", False
    try:
        with open_plain(path, remedy="") as file:
            file.seek(1)
            holder = _Holder.model_validate_json(file.read(4096))
    except (UserError, ValidationError):
        if pid := SoftFileLock(path).pid:
            who, may_be_gone = f"{who} (process {pid})", True
    else:
        may_be_gone = holder.host != socket.gethostname()
        place = f" on {holder.host[:64]!r}" if may_be_gone else ""
        who += f" (process {holder.pid}{place}, since {holder.since:%Y-%m-%d %H:%M:%S} UTC)"
    gone = f"; if that job is gone, remove {path}" if may_be_gone else ""
    remedy = f"wait for its end, or choose another place{gone}"
    return UserError(f"{what} is being written by {who}: {remedy}")
