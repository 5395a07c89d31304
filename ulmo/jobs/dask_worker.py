"""What runs on a Dask worker: each job is handed to a worker process of ulmo's beside it.

A Dask worker computes nothing itself. So a job that crashes, or takes all memory, ends its own
process alone, and it is known which job that was; jobs of a driver that is gone are ended in their
middle; and the threads of a Dask worker share nothing.
"""

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

from ulmo.config import JobError, UserError, one_line
from ulmo.jobs.environment import FOREIGN
from ulmo.jobs.worker import Ended, Worker, WorkerLostError
from ulmo.storage.differences import differences
from ulmo.storage.lock import is_held

_POLL_SECONDS = 0.2
# The packages that read, compute and write what a job makes.
_PACKAGES = (
    *("ulmo", "numpy", "soundfile", "soxr", "opencv-python-headless", "onnxruntime", "pyarrow"),
    "distributed",
)
_OF_WAVELETS = ("scipy", "PyWavelets")  # not needed without: compared where both have them


class Seen(NamedTuple):
    """A file as the driver sees it."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Seen":
        """Raises OSError if it cannot be looked at."""
        status = path.stat()
        return cls(str(path), status.st_size, status.st_mtime_ns)

    def is_there(self, folder: str = "") -> bool:
        """Whether it is there, as it was. folder: in which a relative path begins."""
        try:
            return Seen.of(Path(folder, self.path))[1:] == self[1:]
        except OSError:
            return False


class Run(NamedTuple):
    """A driver's run, as workers know it."""

    name: str  # random
    versions: Mapping[str, str]  # what must be the same
    folder: str  # the driver's working folder, in which its relative paths begin
    environment: Mapping[str, str]  # FOREIGN settings
    files: tuple[Seen, ...]  # some inputs, and locks that the driver holds
    locks: tuple[str, ...]
    ready: bytes  # a job that a worker process does first; empty: there is none


class Done(NamedTuple):
    """What became of a job that was sent to a Dask worker: one of the first three."""

    ended: Ended | None = None
    lost: str | None = None  # the recording that it had come to when its process was killed
    complaint: str = ""  # why it cannot be done here
    address: str = ""  # of the Dask worker that complains
    compared: int = 0  # files that it was to compare
    size: int = 0  # of progress, all of it
    milliseconds: int = 0


class _Processes(NamedTuple):
    """The worker processes of a run."""

    locks: tuple[str, ...]
    idle: list[Worker]
    busy: set[Worker]

    def end_idle(self) -> None:
        """End those that have no job."""
        while self.idle:
            self.idle.pop().kill()

    def end(self) -> None:
        """End all of them now; no process is left when this returns."""
        self.end_idle()
        for worker in tuple(self.busy):
            worker.kill()


_runs: dict[str, _Processes] = {}
_over: set[str] = set()  # runs that do nothing here any more
_changing = Lock()


def versions() -> dict[str, str]:
    """What decides about the bytes of an output, by name."""
    found = {"python": "{}.{}".format(*sys.version_info), "machine": platform.machine()}
    for package in (*_PACKAGES, *_OF_WAVELETS):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def admit(run: Run) -> str:
    """Have a Dask worker take part in a run; returns a line that says why it cannot.

    What an earlier driver left here on the same output is ended first. No worker process is started
    and nothing is waited for: it runs beside the jobs of other drivers.
    """
    try:
        _check(run)
    except (UserError, OSError) as error:
        return one_line(error)
    with _changing:
        for name, processes in _runs.items():
            if name != run.name:
                processes.end_idle()
            if name != run.name and set(processes.locks) & set(run.locks):
                processes.end()
                _over.add(name)
        _runs.setdefault(run.name, _Processes(run.locks, [], set()))
    return ""


def end_run(name: str) -> None:
    """End the worker processes of a run."""
    with _changing:
        _over.add(name)
        if (processes := _runs.pop(name, None)) is not None:
            processes.end()


def do_job(run: Run, content: bytes) -> Done:
    """Do a job. It is ended in its middle if nobody wants it any more."""
    from distributed import get_worker

    dask_worker: Any = get_worker()
    key = dask_worker.get_current_task()
    try:
        worker = _take(run)
    except (UserError, JobError, OSError) as error:
        complaint, address = one_line(error), dask_worker.address
        return Done(complaint=complaint, address=address, compared=len(run.files))
    watch = _Watch(run.name, key, dask_worker, worker)
    try:
        ended = worker.do(content, watch.add, watch.begin)
    except WorkerLostError as lost:
        worker.kill()
        _give_back(run, worker, is_alive=False)
        return Done(lost=lost.recording)
    finally:
        watch.stop()
    _give_back(run, worker)
    return Done(ended=ended, size=watch.size, milliseconds=watch.milliseconds)


class _Watch:
    """Looks after a job: sends its progress, and ends it once its driver is gone."""

    def __init__(self, topic: str, key: str, dask_worker: Any, worker: Worker) -> None:
        self.size = self.milliseconds = 0
        self._recording = ""
        self._sent: tuple[int, int, str] | None = None
        self._topic, self._key = topic, key
        self._dask_worker, self._worker = dask_worker, worker
        self._ended = Event()
        self._thread = Thread(target=self._look, name="ulmo-watch", daemon=True)
        self._thread.start()

    def add(self, size: int, milliseconds: int) -> None:
        """Count progress."""
        self.size += size
        self.milliseconds += milliseconds

    def begin(self, recording: str) -> None:
        """Note the recording that comes next."""
        self._recording = recording

    def stop(self) -> None:
        """The job has ended."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            task = self._dask_worker.state.tasks.get(self._key)
            if task is None or task.state not in ("executing", "long-running"):
                self._worker.kill()
                return
            now = (self.size, self.milliseconds, self._recording)
            if now != self._sent:
                self._sent = now
                self._dask_worker.log_event(self._topic, [self._key, *now])


def _take(run: Run) -> Worker:
    """A worker process that has no job, and is ready. Raises UserError where it cannot work."""
    with _changing:
        _refuse_over(run)
        if (processes := _runs.get(run.name)) is None:
            _check(run)
            processes = _runs[run.name] = _Processes(run.locks, [], set())
        if processes.idle:
            worker = processes.idle.pop()
            processes.busy.add(worker)
            return worker
    foreign = {name for name in os.environ if name.startswith(FOREIGN)}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    worker = Worker(Path(run.folder), {**kept, **run.environment})
    try:
        if run.ready:
            worker.do(run.ready, lambda *_: None).result()
        with _changing:
            _refuse_over(run)  # it may have ended meanwhile, when nobody knew of this process
            processes.busy.add(worker)
    except BaseException:
        worker.kill()
        raise
    return worker


def _refuse_over(run: Run) -> None:
    if run.name in _over:
        raise JobError("another run of the same has begun")


def _give_back(run: Run, worker: Worker, *, is_alive: bool = True) -> None:
    """A worker process has no job any more; it is kept for the next one, if its run goes on."""
    with _changing:
        processes = _runs.get(run.name)
        if processes is not None:
            processes.busy.discard(worker)
        if processes is None or run.name in _over:
            worker.kill()
        elif is_alive:
            processes.idle.append(worker)


def _check(run: Run) -> None:
    """UserError, in one line, if a job would give something else here than at the driver."""
    own = versions()
    alone = [name for name in _OF_WAVELETS if not (name in own and name in run.versions)]
    if changes := differences(own, run.versions, may_differ=alone):
        raise UserError(f"it has other versions ({changes}): install the same everywhere")
    if not Path(run.folder).is_dir():
        raise UserError(
            f"there is no folder {run.folder}, in which the command was started: start it in one "
            "that all machines share"
        )
    for file in run.files:
        if not file.is_there(run.folder):
            raise UserError(
                f"{Path(run.folder, file.path)} is not there, or is another file: recordings and "
                "outputs must lie on storage that all machines share, at the same path"
            )
    for lock in run.locks:
        if not is_held(Path(run.folder, lock)):
            raise UserError(
                f"{lock} does not look locked: mount its storage so that all machines share locks"
            )
