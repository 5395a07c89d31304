"""Jobs in this process or in several, and how far they have come."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from ulmo.config import JobError
from ulmo.pipelines.memory import keep_freed_memory

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]
"""Called with the bytes of input, and the milliseconds of sound, that were done meanwhile."""

POLL_SECONDS = 0.2


def _silent(size: int, milliseconds: int) -> None: ...


_report: Progress = _silent


def progressed(size: int, milliseconds: int = 0) -> None:
    """Called by a job: so many more bytes of input, and so much sound, are done."""
    _report(size, milliseconds)


class Pool:
    """Runs jobs in order of their results; a worker is a process with one computing thread.

    With one worker the jobs run here. Processes are spawned: forking one that runs threads can
    hang. JobError if a worker is killed.
    """

    def __init__(self, workers: int, advance: Progress) -> None:
        self._workers = workers
        self._advance = advance
        self._stack = ExitStack()
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        global _report
        if self._workers <= 1:
            keep_freed_memory()
            self._stack.enter_context(threadpool_limits(1))
            before, _report = _report, self._advance
            self._stack.callback(_set_report, before)
            return self
        context = get_context("spawn")
        self._done = context.Array("q", 2)
        self._seen = (0, 0)
        self._executor = ProcessPoolExecutor(
            self._workers, context, initializer=_begin_worker, initargs=(self._done,)
        )
        self._stack.callback(self._executor.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Results in the order of the jobs."""
        if self._executor is None:
            yield from map(function, jobs)
            return
        futures = [self._executor.submit(function, job) for job in jobs]
        try:
            for future in futures:
                self._wait_for(future)
                yield future.result()
        except BrokenProcessPool:
            raise JobError(
                "a worker was killed, perhaps for want of memory: "
                "run the same command with fewer --workers to go on"
            ) from None

    def _wait_for(self, future: Future[Any]) -> None:
        while True:
            finished = wait([future], POLL_SECONDS).done
            with self._done.get_lock():
                done = (self._done[0], self._done[1])
            if done != self._seen:
                self._advance(done[0] - self._seen[0], done[1] - self._seen[1])
                self._seen = done
            if finished:
                return


def _begin_worker(done: Any) -> None:
    keep_freed_memory()
    threadpool_limits(1)

    def add(size: int, milliseconds: int) -> None:
        with done.get_lock():
            done[0] += size
            done[1] += milliseconds

    _set_report(add)


def _set_report(report: Progress) -> None:
    global _report
    _report = report
