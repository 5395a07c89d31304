"""One contract for spreading work, whatever carries the jobs: this process, others, a cluster.

The table of executors is in spread.py, and each has a file: in_process.py, processes.py,
dask_cluster.py. One contract test runs over all of them.
"""

import pickle
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from ulmo.config import JobError
from ulmo.jobs.progress import TRIES, Progress
from ulmo.jobs.worker import Ended, WorkerLostError

T = TypeVar("T")
R = TypeVar("R")

_INPUTS = 8  # that each worker must see as the driver does
AHEAD = 3  # jobs handed out for each worker at a time, with the running one


class Request(NamedTuple):
    """What is wanted of an executor."""

    advance: Progress
    workers: int = 1  # processes on this machine
    address: str = ""  # of a scheduler
    say: Callable[[str], None] = lambda _: None  # called with a line for the user
    inputs: Sequence[Path] = ()  # workers elsewhere must see the same files here
    ready: Callable[[], object] | None = None  # each worker calls it before its first job


def evenly(inputs: Sequence[T]) -> list[T]:
    """A few of many inputs, evenly spread, with the last: those that workers must see, too."""
    return [*inputs[:: max(len(inputs) // _INPUTS, 1)], *inputs[-1:]]


class Executor(ABC):
    """Runs jobs with one computing thread each.

    A job is a function and its argument. Both can be pickled, if they leave the process. What a job
    reads is named by paths. If its worker is lost, it is done again, three times; then the
    recording that it had come to (`progress.lost_with`) is refused, and the job goes on. JobError
    if it had come to none. If the block ends with an exception, or this process is killed, the
    workers end at once, in the middle of their jobs.
    """

    words: ClassVar[str]  # what carries the jobs

    def __init__(self, request: Request) -> None:
        self.request = request

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the workers; if there was an error, end them first."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many jobs run at the same time."""

    @abstractmethod
    def each(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield jobs and their results as they end: none waits for a longer one before it.

        Jobs are taken from `jobs` as they are needed. Raises what a job raises.
        """

    def in_order(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results in the order of the jobs; memory holds those that came too early."""
        held: dict[int, R] = {}
        due = 0
        for (number, _), result in self.each(partial(_numbered, function), enumerate(jobs)):
            held[number] = result
            while due in held:
                yield held.pop(due)
                due += 1


def _numbered(function: Callable[[T], R], numbered: tuple[int, T]) -> R:
    return function(numbered[1])


class _Attempts(NamedTuple, Generic[T]):
    """A job, and how often its worker was lost, by the recording that it had come to."""

    job: T
    losses: Counter[str]

    def refused(self) -> frozenset[str]:
        """The recordings that it must go on without."""
        return frozenset(path for path, count in self.losses.items() if count >= TRIES)

    def after(self, lost: WorkerLostError) -> Self:
        """The same after one more loss. Raises JobError if nothing is left to be refused."""
        hopeless = self.refused()
        self.losses[lost.recording] += lost.times
        if lost.recording in hopeless or self.losses[""] >= TRIES:
            raise JobError(str(lost)) from None
        return self


class RemoteExecutor(Executor, Generic[T]):
    """An executor whose jobs run in other processes; a ticket stands for a job that was sent."""

    @abstractmethod
    def send(self, content: bytes) -> T:
        """Hand out what a worker does (worker.Worker.do)."""

    @abstractmethod
    def wait(self, tickets: Collection[T]) -> Iterable[T]:
        """The tickets of jobs that ended within a moment. Passes progress on."""

    @abstractmethod
    def ended(self, ticket: T) -> Ended:
        """How a job ended. Raises WorkerLostError if its worker was lost."""

    def each(self, function: Callable[[Any], R], jobs: Iterable[Any]) -> Iterator[tuple[Any, R]]:
        """See Executor."""
        left = iter(jobs)
        running: dict[T, _Attempts[Any]] = {}

        def send(attempts: _Attempts[Any]) -> None:
            content = pickle.dumps((function, attempts.job, attempts.refused()))
            running[self.send(content)] = attempts

        while True:
            for job in islice(left, max(AHEAD * self.workers - len(running), 0)):
                send(_Attempts(job, Counter()))
            if not running:
                return
            for ticket in self.wait(running):
                attempts = running.pop(ticket)
                try:
                    ended = self.ended(ticket)
                except WorkerLostError as lost:
                    send(attempts.after(lost))
                else:
                    yield attempts.job, ended.result()
