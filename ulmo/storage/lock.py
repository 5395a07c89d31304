"""One job at a time on an output.

The lock is `flock` on a hidden file: the kernel lifts it when the process ends, however it ends, so
that what a killed job leaves locks nobody out. Workers do not inherit it. The file says who holds
it, for the line that the second job gives. Where the file system has no `flock` (some of networks),
the file itself is the lock, and one is stale whose process is gone, or whose machine has started
anew since; whether a process of another machine is gone cannot be told.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ulmo.config import Settings, UserError

LOCK = ".lock"
"""In a folder; beside an output that is a file: .NAME.lock."""
NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
UNSIGNED_SECONDS = 60
"""After so long, a file without an owner is what a killed job left."""
MAX_OWNER_BYTES = 4096


class Owner(Settings):
    """Who holds a lock."""

    host: str
    boot: str
    """Identity of the machine's latest start; empty where it is not told."""
    pid: int
    started: str
    """When the process began, in ticks since then: a number is given to many processes in turn."""
    since: datetime

    @classmethod
    def me(cls) -> "Owner":
        """This process, now."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot=_text(Path("/proc/sys/kernel/random/boot_id")),
            pid=pid,
            started=_started(pid),
            since=datetime.now(UTC).replace(microsecond=0),
        )

    def is_gone(self, me: "Owner") -> bool:
        """True where the process is known to have ended."""
        if self.host != me.host:
            return False
        return self.boot != me.boot or self.started != _started(self.pid) or not _lives(self.pid)


def lock_path(out: Path) -> Path:
    """Where the lock of an output lies that is a file."""
    return out.with_name(f".{out.name}{LOCK}")


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file `path`, whose folder is there, while `what` is written.

    Raises UserError at once, with one line, where another job holds it. The file is gone after it.
    """
    descriptor = _acquire(path, what)
    try:
        _sign(descriptor)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def refuse_held(path: Path, what: Path) -> None:
    """UserError where another job holds the lock file; nothing is made, and nothing changed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise _taken(what, _owner(descriptor), path) from None
    finally:
        os.close(descriptor)


def _acquire(path: Path, what: Path) -> int:
    """A descriptor of the locked file: one that was left there, or a new one.

    Never of one that its holder has just removed.
    """
    while True:
        descriptor, is_new = _open(path)
        try:
            if _lock(descriptor, is_new, path, what) and _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """The lock file, and whether it was made here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_EXCL, 0o666), True
    except FileExistsError:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path} is in the way of the lock, and no file: remove it") from None
        return os.open(path, flags, 0o666), False
    except OSError as error:
        if error.errno not in DENIED:
            raise
        remedy = "let yourself write there (chmod, chown), then run the same again"
        raise UserError(f"{path} cannot be made ({error.strerror}): {remedy}") from None


def _lock(descriptor: int, is_new: bool, path: Path, what: Path) -> bool:
    """True where the file is now locked; False where it was in the way, and is gone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK and error.errno not in NO_FLOCK:
            raise
        if error.errno in NO_FLOCK and is_new:
            return True
        if error.errno == errno.EWOULDBLOCK or not _is_stale(descriptor):
            raise _taken(what, _owner(descriptor), path) from None
        if _is_at(descriptor, path):
            path.unlink(missing_ok=True)
        return False
    return True


def _is_stale(descriptor: int) -> bool:
    """True of a file whose owner is gone, or that was not signed when it should have been."""
    owner = _owner(descriptor)
    if owner is not None:
        return owner.is_gone(Owner.me())
    return time.time() - os.fstat(descriptor).st_mtime > UNSIGNED_SECONDS


def _is_at(descriptor: int, path: Path) -> bool:
    """True where the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, Owner.me().model_dump_json().encode() + b"\n", 0)


def _owner(descriptor: int) -> Owner | None:
    """Who the file says holds it; None where it does not."""
    try:
        return Owner.model_validate_json(os.pread(descriptor, MAX_OWNER_BYTES, 0))
    except (OSError, ValidationError):
        return None


def _taken(what: Path, owner: Owner | None, path: Path) -> UserError:
    who = "another job"
    remedy = "wait for its end, or choose another place"
    if owner is not None:
        here = owner.host == socket.gethostname()
        place = "" if here else f" on {owner.host[:64]!r}"
        who = f"another job (process {owner.pid}{place}, since {owner.since:%Y-%m-%d %H:%M:%S} UTC)"
        remedy += "" if here else f"; where that job is gone, remove {path}"
    return UserError(f"{what} is being written by {who}: {remedy}")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """Field 22 of /proc/PID/stat; empty where there is none."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
