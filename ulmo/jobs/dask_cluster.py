"""Jobs on the workers of a Dask cluster; dask_worker.py has what runs there."""

import logging
import os
import pickle
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Timer
from typing import Any, ClassVar, NamedTuple, Self

from ulmo.config import JobError, UserError, one_line, printable
from ulmo.config.extras import require
from ulmo.jobs.dask_worker import Done, Run, Seen, admit, do_job, end_run, versions
from ulmo.jobs.environment import FOREIGN
from ulmo.jobs.executor import RemoteExecutor, Request, evenly
from ulmo.jobs.worker import Ended, WorkerLostError
from ulmo.storage.lock import held_locks
from ulmo.storage.remote_path import RemotePath

LOCAL = "local"  # the address of a cluster in this process
_THIS_COMPUTER = "127.0.0.1"  # where that one answers: Dask would let in the whole network
_POLL_SECONDS = 0.2
_COUNT_SECONDS = 2.0  # workers may come and go; they are counted so often
_CONNECT_SECONDS = 10.0
_WORKERS_SECONDS = 30.0  # that the first worker may take to come
_SILENT_SECONDS = 2.0  # of waiting, after which a line says what for
# That all workers may take to answer. At the first question each imports ulmo, from a slow disk
# perhaps (as in worker.py).
_ANSWER_SECONDS = 300.0


class _Told(NamedTuple):
    """What a job has reported so far."""

    size: int = 0
    milliseconds: int = 0
    recording: str = ""  # the last one that it came to


class DaskCluster(RemoteExecutor[str]):
    """Runs jobs on the workers of a Dask cluster.

    Paths must lead to the same files on all machines. Before any work, each worker must show that
    it has the same versions, the same bundle, sees the same files, and sees the driver's locks:
    UserError for the first that does not. Dask does a job again if its worker is lost.
    """

    words: ClassVar[str] = "the workers of a Dask cluster"

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        require("distributed")
        self._name = f"ulmo-{secrets.token_hex(8)}"
        self._client: Any = None
        self._stack = ExitStack()
        self._futures: dict[str, Any] = {}
        self._is_silent = False  # a worker has not answered
        self._sent = 0
        self._ended: SimpleQueue[str] = SimpleQueue()  # keys
        self._lock = Lock()
        self._told: dict[str, _Told] = {}
        self._size = self._milliseconds = 0  # done, and not passed on
        self._count, self._counted_at = 0, 0.0
        self._run = Run(
            name=self._name,
            versions=versions(),
            folder=str(Path.cwd()),
            environment={k: v for k, v in os.environ.items() if k.startswith(FOREIGN)},
            files=_seen([*evenly(request.inputs), *held_locks()]),
            locks=tuple(str(path.absolute()) for path in held_locks()),
            ready=pickle.dumps((_call, request.ready, frozenset())) if request.ready else b"",
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_silence())
            self._client = stack.enter_context(_client(self.request))
            self._client.subscribe_topic(self._name, self._hear)
            stack.callback(self._end_run)
            self._admit()
            with self._talking():
                dashboard = _dashboard(self._client, self.request.address)
            self._stack = stack.pop_all()
        count = self.workers
        workers = "1 worker" if count == 1 else f"{count} workers"
        self.request.say(f"dask        {workers}{dashboard}")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            if self._futures:
                self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()
        self._stack.close()

    @property
    def workers(self) -> int:
        """Threads of all Dask workers: each does a job at a time."""
        if time.monotonic() - self._counted_at > _COUNT_SECONDS:
            before = self._count
            with self._talking():
                self._count = sum(self._client.nthreads().values())
            self._counted_at = time.monotonic()
            if before and not self._count:
                self.request.say("dask        no worker is left: waiting for one")
        return max(self._count, 1)

    def send(self, content: bytes) -> str:
        """See RemoteExecutor."""
        self._sent += 1
        key = f"{self._name}-{self._sent}"
        with self._talking():
            future = self._client.submit(do_job, self._run, content, key=key, pure=False)
        self._futures[key] = future
        future.add_done_callback(lambda _: self._ended.put(key))
        return key

    def wait(self, tickets: Collection[str]) -> list[str]:
        """See RemoteExecutor."""
        found = []
        with suppress(Empty):
            found.append(self._ended.get(timeout=_POLL_SECONDS))
            while True:
                found.append(self._ended.get_nowait())
        self._advance()
        return found

    def ended(self, ticket: str) -> Ended:
        """See RemoteExecutor."""
        from distributed.scheduler import KilledWorker

        future = self._futures.pop(ticket)
        with self._lock:
            told = self._told.get(ticket, _Told())
        try:
            with self._talking():
                done: Done = future.result()
        except KilledWorker as killed:
            self._tell(ticket, _Told())
            times = killed.allowed_failures + 1 if told.recording else 1
            raise WorkerLostError(told.recording, times) from None
        if done.complaint:
            self._forget_changed()
            if done.compared == len(self._run.files):
                raise UserError(f"the Dask worker {done.address} cannot help: {done.complaint}")
            done = Done(lost="")  # it compared a file that has changed: it is asked again
        self._tell(ticket, _Told(done.size, done.milliseconds))
        if done.ended is None:
            raise WorkerLostError(done.lost or "")
        del self._told[ticket]
        self._advance()
        return done.ended

    def _advance(self) -> None:
        """Pass progress on."""
        with self._lock:
            done = self._size, self._milliseconds
            self._size = self._milliseconds = 0
        if any(done):
            self.request.advance(*done)

    def _hear(self, event: tuple[float, Any]) -> None:
        """A worker reports how far a job is: key, bytes, milliseconds, recording."""
        key, *told = event[1]
        if key in self._futures:
            self._tell(key, _Told(*told))

    def _tell(self, key: str, told: _Told) -> None:
        with self._lock:
            before = self._told.get(key, _Told())
            self._told[key] = told
            self._size += told.size - before.size
            self._milliseconds += told.milliseconds - before.milliseconds

    def _admit(self) -> None:
        """Compare each worker with this process. Raises UserError for the first that differs."""
        compared = len(self._run.files)
        with self._talking():
            found = self._answers(admit, self._run, on_error="return")
        if any(found.values()):
            self._forget_changed()
        if len(self._run.files) < compared:
            self._admit()
            return
        for address, complaint in found.items():
            if isinstance(complaint, Exception):  # it cannot even call this function
                complaint = f"{one_line(complaint)}: install the same ulmo there"
            if complaint:
                raise UserError(f"the Dask worker {address} cannot help: {complaint}")

    def _answers(self, function: Callable[..., object], *arguments: Any, **how: Any) -> Any:
        """What a function returns on each worker. JobError if one stands still."""
        address = self.request.address
        line = f"dask        waiting for the workers of {address} to answer"
        timer = Timer(_SILENT_SECONDS, self.request.say, [line])
        timer.start()
        try:
            return self._client.run(function, *arguments, **how, callback_timeout=_ANSWER_SECONDS)
        except TimeoutError:
            self._is_silent = True
            raise JobError(
                f"a worker of the Dask scheduler at {address} has not answered for "
                f"{_ANSWER_SECONDS:g} s (Dask's dashboard shows which): end that worker, and run "
                "the same command again"
            ) from None
        finally:
            timer.cancel()

    def _forget_changed(self) -> None:
        """Compare no files any more that have changed here, too: somebody writes to them."""
        same = tuple(file for file in self._run.files if file.is_there())
        self._run = self._run._replace(files=same)

    def _end_run(self) -> None:
        """End what still runs for this run: then nothing writes but a worker that stands still."""
        with suppress(Exception):
            if self._client.status == "running" and not self._is_silent:
                self._answers(end_run, self._name)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Errors of the connection as a JobError of one line."""
        from distributed import CancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except (CancelledError, CommClosedError, TimeoutError):
            raise JobError(
                f"the Dask scheduler at {self.request.address} is gone, or has let go of the jobs: "
                "start it again, and run the same command again to go on"
            ) from None


def _call(ready: Callable[[], object]) -> None:
    ready()


def _seen(paths: Collection[Path]) -> tuple[Seen, ...]:
    found = []
    for path in paths:
        if isinstance(path, RemotePath):  # the same everywhere
            continue
        with suppress(OSError):  # it cannot be read here, and gets its row
            found.append(Seen.of(path))
    return tuple(found)


@contextmanager
def _client(request: Request) -> Iterator[Any]:
    """A client of the cluster, which has a worker. UserError if there is none."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        address: Any = request.address
        if address == LOCAL:
            address = stack.enter_context(
                LocalCluster(
                    n_workers=request.workers,
                    threads_per_worker=1,
                    processes=False,
                    dashboard_address=f"{_THIS_COMPUTER}:0",
                    worker_dashboard_address=f"{_THIS_COMPUTER}:0",
                )
            )
        try:
            if address is request.address:
                _check_address(address)
            client = stack.enter_context(
                Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {printable(request.address)} ({one_line(error)}): "
                "start one with `dask scheduler`, or name the address that it prints"
            ) from None
        try:
            try:
                client.wait_for_workers(1, timeout=_SILENT_SECONDS)
            except TimeoutError:
                request.say(f"dask        waiting for a worker of {request.address}")
                client.wait_for_workers(1, timeout=_WORKERS_SECONDS - _SILENT_SECONDS)
        except TimeoutError:
            raise UserError(
                f"the Dask scheduler at {request.address} has no workers: "
                f"start some with `dask worker {request.address}`"
            ) from None
        yield client


def _check_address(address: str) -> None:
    """Raise ValueError for what is no address: a client of it would take long to give up."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(address)
    get_backend(scheme)
    if scheme != "inproc":
        parse_host_port(place)


def _dashboard(client: Any, address: str) -> str:
    """Where the dashboard is; empty if there is none."""
    if (port := client.scheduler_info()["services"].get("dashboard")) is None:
        return ""
    # Without bokeh, which draws it, a scheduler answers there with a page that asks for bokeh.
    found = client.sync(client.scheduler.versions, packages=["bokeh"])
    if found["packages"].get("bokeh") is None:
        return "; no dashboard: bokeh is not installed where the scheduler runs"
    own = f"http://{_THIS_COMPUTER}:{port}/status"
    return f"; dashboard at {own if address == LOCAL else client.dashboard_link}"


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Dask's log from the terminal: what matters of it is raised."""
    import distributed

    # Its import gives some of its loggers a level of their own.
    top = distributed.__name__
    names = (name for name in logging.root.manager.loggerDict if name.split(".")[0] == top)
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
