"""Jobs in this process or in several, and their progress."""

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from queue import SimpleQueue
from threading import Lock, current_thread, main_thread
from typing import Self, TypeVar

from threadpoolctl import threadpool_limits

from ulmo.jobs.memory import keep_freed_memory
from ulmo.jobs.progress import Progress, set_report
from ulmo.jobs.worker import Worker

T = TypeVar("T")
R = TypeVar("R")

_POLL_SECONDS = 0.2
_AHEAD = 3  # jobs handed out to each worker at a time, with the running one
_FILES_PER_WORKER = 4  # recordings that make the start of another worker worth its time


def worker_count(wanted: int | None, recordings: int) -> int:
    """How many workers to start for some recordings; None: as many as are worth it."""
    if wanted is None:
        wanted = min(os.cpu_count() or 1, recordings // _FILES_PER_WORKER)
    return max(min(wanted, recordings), 1)


class Pool:
    """Runs jobs in worker processes, each with one computing thread.

    With one worker the jobs run in this process. Workers are fresh interpreters (worker.py):
    forking a process that runs threads can hang. Raises JobError if a worker cannot be started or
    is killed. If the block ends with an exception or this process is killed, the workers end at
    once, in the middle of their jobs.
    """

    def __init__(self, workers: int, advance: Progress) -> None:
        self._count = workers
        self._advance = advance
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None  # one waits for each worker
        self._lock = Lock()
        self._size = self._milliseconds = 0  # done, and not passed on

    def __enter__(self) -> Self:
        if self._count <= 1:
            keep_freed_memory()
            self._stack.enter_context(threadpool_limits(1))
            self._stack.callback(set_report, set_report(self._advance))
        else:
            self._threads = ThreadPoolExecutor(self._count, "ulmo-worker")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._threads is not None:
            if kind is not None:
                for worker in self._workers:
                    worker.stop()
            self._threads.shutdown(wait=True, cancel_futures=True)
            for worker in self._workers:
                worker.close()
        self._stack.close()

    def each(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield jobs and their results as they end: none waits for a longer one before it."""
        if self._threads is None:
            yield from ((job, function(job)) for job in jobs)
            return
        left = iter(jobs)
        running: dict[Future[R], T] = {}
        while True:
            for job in islice(left, _AHEAD * self._count - len(running)):
                running[self._submit(function, job)] = job
            if not running:
                return
            for future in self._wait(running):
                yield running.pop(future), future.result()

    def _submit(self, function: Callable[[T], R], job: T) -> Future[R]:
        assert self._threads is not None
        if len(self._workers) < self._count:
            with _ignoring_interrupts():
                self._workers.append(Worker())
            self._idle.put(self._workers[-1])
        return self._threads.submit(self._do, function, job)

    def _do(self, function: Callable[[T], R], job: T) -> R:
        """Have a job done by a worker that has none: there are as many as threads."""
        worker = self._idle.get()
        try:
            result: R = worker.do(function, job, self._add)
            return result
        finally:
            self._idle.put(worker)

    def _add(self, size: int, milliseconds: int) -> None:
        with self._lock:
            self._size += size
            self._milliseconds += milliseconds

    def _wait(self, futures: Collection[Future[R]]) -> set[Future[R]]:
        """The futures that ended within a moment. Passes progress on."""
        ended = wait(futures, _POLL_SECONDS, FIRST_COMPLETED).done
        with self._lock:
            done = self._size, self._milliseconds
            self._size = self._milliseconds = 0
        if any(done):
            self._advance(*done)
        return ended


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
