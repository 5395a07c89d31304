"""Jobs in this process or in several, and their progress."""

import ctypes
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import get_context
from threading import Thread, current_thread, main_thread
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from ulmo.config import JobError

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # bytes of input and milliseconds of sound since last call

_POLL_SECONDS = 0.2
_AHEAD = 3  # jobs handed out to each worker at a time, with the running one
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # options of mallopt(3)
_KEPT_BYTES = 256 << 20
_HEAP_BYTES = 32 << 20  # the largest threshold that glibc takes


_report: Progress | None = None


def progressed(size: int, milliseconds: int = 0) -> None:
    """Report from a job the bytes of input and the sound that it did since its last report."""
    if _report is not None:
        _report(size, milliseconds)


class Pool:
    """Runs jobs in worker processes, each with one computing thread.

    With one worker the jobs run in this process. Processes are spawned: forking a process that
    runs threads can hang. Raises JobError if a worker is killed. If the block ends with an
    exception or this process is killed, the workers end at once, in the middle of their jobs.
    """

    def __init__(self, workers: int, advance: Progress) -> None:
        self._workers = workers
        self._advance = advance
        self._stack = ExitStack()
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers <= 1:
            keep_freed_memory()
            self._stack.enter_context(threadpool_limits(1))
            self._stack.callback(_set_report, _report)
            _set_report(self._advance)
            return self
        context = get_context("spawn")
        self._done = context.Array("q", 2)
        self._seen = (0, 0)
        life, self._life = context.Pipe(duplex=False)
        self._stack.enter_context(self._life)
        self._stack.enter_context(life)
        self._executor = ProcessPoolExecutor(
            self._workers, context, initializer=_begin_worker, initargs=(self._done, life)
        )
        self._stack.callback(self._executor.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._executor is not None:
            self._life.close()
        self._stack.close()

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results in the order of the jobs."""
        if self._executor is None:
            yield from map(function, jobs)
            return
        with _naming_kills():
            futures = [self._submit(function, job) for job in jobs]
            for future in futures:
                while not self._wait([future]):
                    pass
                yield future.result()

    def each(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield jobs and their results as they end: none waits for a longer one before it."""
        if self._executor is None:
            yield from ((job, function(job)) for job in jobs)
            return
        left = iter(jobs)
        running: dict[Future[R], T] = {}
        with _naming_kills():
            while True:
                for job in islice(left, _AHEAD * self._workers - len(running)):
                    running[self._submit(function, job)] = job
                if not running:
                    return
                for future in self._wait(running):
                    yield running.pop(future), future.result()

    def _submit(self, function: Callable[[T], R], job: T) -> Future[R]:
        assert self._executor is not None
        with _ignoring_interrupts():
            return self._executor.submit(function, job)

    def _wait(self, futures: Collection[Future[R]]) -> set[Future[R]]:
        """The futures that ended within a moment. Passes progress on."""
        ended = wait(futures, _POLL_SECONDS, FIRST_COMPLETED).done
        with self._done.get_lock():
            done = (self._done[0], self._done[1])
        if done != self._seen:
            self._advance(done[0] - self._seen[0], done[1] - self._seen[1])
            self._seen = done
        return ended


@contextmanager
def _naming_kills() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise JobError(
            "a worker was killed, perhaps for want of memory: "
            "run the same command with fewer --workers to go on"
        ) from None


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


def _begin_worker(done: Any, life: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    threadpool_limits(1)
    Thread(target=_end_with, args=(life,), daemon=True).start()

    def add(size: int, milliseconds: int) -> None:
        with done.get_lock():
            done[0] += size
            done[1] += milliseconds

    _set_report(add)


def _end_with(life: Any) -> None:
    """End this process when no process holds the other end of a pipe any more."""
    life.poll(None)
    os._exit(1)


def _set_report(report: Progress | None) -> None:
    global _report
    _report = report


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for the next block of the same size.

    A front end takes and frees the same megabytes for every block. By default glibc hands them
    back to the system and fetches them again, page by page, which was measured to take as long as
    everything else that ulmo-prep does. Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _HEAP_BYTES)
