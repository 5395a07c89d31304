"""Jobs in this process, one after the other."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import ClassVar, Self, TypeVar

from threadpoolctl import threadpool_limits

from ulmo.jobs.executor import Executor, Request
from ulmo.jobs.memory import keep_freed_memory
from ulmo.jobs.progress import Reports, set_reports

T = TypeVar("T")
R = TypeVar("R")


class InProcess(Executor):
    """Runs jobs in this process. A job that crashes ends it."""

    words: ClassVar[str] = "this process"

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        keep_freed_memory()
        self._stack.enter_context(threadpool_limits(1))
        before = set_reports(Reports(self.request.advance))
        self._stack.callback(set_reports, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def workers(self) -> int:
        """One: this process."""
        return 1

    def each(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R]]:
        """See Executor."""
        yield from ((job, function(job)) for job in jobs)
