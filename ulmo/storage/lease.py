"""One job at a time on an output in a store: an object there says who writes, and until when.

A store has no locks that the kernel lifts. The object is put only where there is none, in one step
where the store can do that (S3, Google Cloud Storage). Its holder renews it; that of a job that was
killed runs out, and another job may then take it. The clocks of the hosts may differ by a minute.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event, Thread

from pydantic import Field, ValidationError

from ulmo.config import JobError, Settings
from ulmo.storage.lock import LockError
from ulmo.storage.remote_path import RemotePath
from ulmo.storage.store_answers import reaching

LEASE = ".ulmo-lease.json"
LEASE_SECONDS = 150.0
_RENEW_SECONDS = 20.0
_SETTLE_SECONDS = 3.0  # until another job that read the same lease has taken it, or lost
_MOST = 4096  # bytes


class _Holder(Settings):
    """Who holds a lease."""

    owner: str  # random
    host: str
    pid: int = Field(ge=0, le=2**40)
    since: datetime
    until: float = Field(ge=0, le=2**37)  # seconds since 1970; 0: it is free

    @property
    def words(self) -> str:
        """For the other job."""
        return f"process {self.pid} on {self.host[:64]!r}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class Lease:
    """The lease of an output.

    owner: who writes; the same for a job that goes on with what an earlier one has on this host.
    """

    def __init__(self, out: RemotePath, owner: str) -> None:
        self._out = out
        self._path = out / LEASE
        self._owner = owner
        self._since = datetime.now(UTC).replace(microsecond=0)
        self._renewed = 0.0
        self._ended = Event()
        self._is_lost = False

    @contextmanager
    def held(self, is_unfinished: Callable[[], bool]) -> Iterator[bool]:
        """Hold it; yields whether this owner was the last one that wrote.

        Raises LockError if another job holds it. At the end it goes. If the block fails and leaves
        something that `is_unfinished`, it stays, is free for all, and says who has written.
        """
        was_ours = self._take()
        thread = Thread(target=self._renew, name="ulmo-lease", daemon=True)
        thread.start()
        try:
            yield was_ours
        finally:
            self._ended.set()
            thread.join()
            with suppress(OSError):
                if self._is_lost:
                    pass  # it is another's
                elif is_unfinished():
                    self._put(until=0)
                else:
                    self._remove()

    def check(self) -> None:
        """Raise JobError unless this job may still write."""
        if self._is_lost or time.time() - self._renewed > LEASE_SECONDS / 2:
            raise JobError(
                f"{self._out} is written by another job by now, or cannot be reached: "
                "run the same command again to go on"
            )

    def _take(self) -> bool:
        holder = self._read()
        was_ours = holder is not None and holder.owner == self._owner
        if holder is not None and not was_ours:
            if holder.until > time.time():
                raise self._taken(holder)
            if (now := self._read()) is not None and now != holder:
                raise self._taken(now)
            self._remove()
        with suppress(FileExistsError):  # another job was faster
            self._put(mode="overwrite" if was_ours else "create")
        self._renewed = time.time()
        self._check_ours()
        if holder is not None and not was_ours:
            time.sleep(_SETTLE_SECONDS)  # another may have read it before it was removed
            self._check_ours()
        return was_ours

    def _check_ours(self) -> None:
        holder = self._read()
        if holder is None or holder.owner != self._owner:
            raise self._taken(holder)

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            with suppress(OSError):  # it is tried again, until `check` finds that it is too late
                holder = self._read()
                if holder is None or holder.owner != self._owner:
                    self._is_lost = True
                    return
                self._put()
                self._renewed = time.time()

    def _read(self) -> _Holder | None:
        """Who holds it, or held it last; None if nobody did."""
        system, name = self._path.store()
        try:
            with reaching(self._path):
                content: bytes = system.cat_file(name, start=0, end=_MOST)
            return _Holder.model_validate_json(content)
        except FileNotFoundError:
            return None
        except ValidationError:
            why = f"it cannot be locked: {LEASE} is in the way, and is no lease of ulmo: remove it"
            raise LockError(errno.EEXIST, why, self._out) from None

    def _put(self, *, until: float | None = None, mode: str = "overwrite") -> None:
        holder = _Holder(
            owner=self._owner,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=self._since,
            until=time.time() + LEASE_SECONDS if until is None else until,
        )
        system, name = self._path.store()
        with reaching(self._path):
            system.pipe_file(name, holder.model_dump_json().encode(), mode=mode)

    def _remove(self) -> None:
        system, name = self._path.store()
        with suppress(FileNotFoundError), reaching(self._path):
            system.rm_file(name)

    def _taken(self, holder: _Holder | None) -> LockError:
        who, gone = "another job", ""
        if holder is not None:
            who += f" ({holder.words})"
            until = datetime.fromtimestamp(holder.until, UTC)
            gone = f"; if that job is gone, run the same after {until:%H:%M:%S} UTC"
        remedy = f"wait for its end, or choose another place{gone}"
        return LockError(errno.EBUSY, f"it is being written by {who}: {remedy}", self._out)
