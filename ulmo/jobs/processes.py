"""Jobs in several processes on this machine."""

import signal
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock, current_thread, main_thread
from typing import ClassVar, TypeAlias

from ulmo.jobs.executor import RemoteExecutor, Request
from ulmo.jobs.worker import Ended, Worker, WorkerLostError

_POLL_SECONDS = 0.2

Ticket: TypeAlias = Future[Ended]


class Processes(RemoteExecutor[Ticket]):
    """Runs jobs in worker processes.

    Workers are fresh interpreters (worker.py): forking a process that runs threads can hang. Raises
    JobError if one cannot be started. A worker that is lost is replaced.
    """

    words: ClassVar[str] = "processes on this machine"

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._alive: set[Worker] = set()
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        # One thread waits for each worker.
        self._threads = ThreadPoolExecutor(request.workers, "ulmo-worker")
        self._lock = Lock()
        self._size = self._milliseconds = 0  # done, and not passed on

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for worker in tuple(self._alive):
                worker.stop()
        for _thread in range(self.workers):  # those whose worker was lost wait for another
            self._idle.put(None)
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._alive:
            worker.close()

    @property
    def workers(self) -> int:
        """Processes, once there is work for all of them."""
        return self.request.workers

    def send(self, content: bytes) -> Ticket:
        """Start a worker if there are too few, here: it must ignore Ctrl-C from the first."""
        if len(self._alive) < self.workers:
            with _ignoring_interrupts():
                worker = Worker()
            self._alive.add(worker)
            self._idle.put(worker)
        return self._threads.submit(self._do, content)

    def _do(self, content: bytes) -> Ended:
        """Have a job done by a worker that has none: there are as many as threads."""
        worker = self._idle.get()
        if worker is None:
            raise WorkerLostError("")
        try:
            ended = worker.do(content, self._add)
        except WorkerLostError:
            self._alive.discard(worker)
            worker.kill()
            raise
        except BaseException:
            self._idle.put(worker)
            raise
        self._idle.put(worker)
        return ended

    def _add(self, size: int, milliseconds: int) -> None:
        with self._lock:
            self._size += size
            self._milliseconds += milliseconds

    def wait(self, tickets: Collection[Ticket]) -> set[Ticket]:
        """See RemoteExecutor."""
        ended = wait(tickets, _POLL_SECONDS, FIRST_COMPLETED).done
        with self._lock:
            done = self._size, self._milliseconds
            self._size = self._milliseconds = 0
        if any(done):
            self.request.advance(*done)
        return ended

    def ended(self, ticket: Ticket) -> Ended:
        """See RemoteExecutor."""
        return ticket.result()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Have processes started inside ignore Ctrl-C from the first: they inherit that on POSIX.

    Ctrl-C is for the process that can say what it means. Only its main thread may set this.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
