"""Recordings that a worker does in a row, so that few of them wait for the disk.

A file is on the disk before it has its name, which takes longer than half a second of sound takes
to read and to encode. So one recording is read while the files of those before it are written.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Self, TypeVar

from ulmo.jobs.executor import Executor
from ulmo.jobs.inputs import size_of
from ulmo.pipelines.tokenize.plan import Planned

R = TypeVar("R")

_TOGETHER = 32  # recordings in a batch, at most: it is done again if its worker is lost
_BATCH_BYTES = 4 << 20  # a batch ends with the recording that reaches this: long ones are alone
_SHARES = 4  # batches for each worker, at least, so that none is idle at the end
_WRITERS = 8  # recordings of a batch whose files wait for the disk at the same time, at most


class Turn:
    """The turn of a recording to be read, while the files of others wait for the disk.

    Only one is read at a time: that is the one to blame if the process is killed.
    """

    def __init__(self, lock: "Lock | None" = None) -> None:
        """`lock` is that of all recordings of a batch; None: there is no other."""
        self._lock = lock or Lock()
        self._is_held = False

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._is_held = True
        return self

    def end(self) -> None:
        """Let the next recording be read."""
        if self._is_held:
            self._is_held = False
            self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.end()


def in_batches(plan: Iterable[Planned], count: int, workers: int) -> Iterator[list[Planned]]:
    """Recordings that a worker does in a row: several short ones, or a long one.

    count: of the recordings in `plan`.
    """
    together = min(max(count // (_SHARES * workers), 1), _TOGETHER)
    batch: list[Planned] = []
    size = 0
    for planned in plan:
        batch.append(planned)
        size += size_of(planned.source)
        if len(batch) == together or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def each_result(
    executor: Executor, tokenize: Callable[[Planned, Turn], R], plan: Collection[Planned]
) -> Iterator[tuple[Planned, R]]:
    """Each recording and its result as a batch ends; see `tokenize_batch`."""
    job = partial(tokenize_batch, tokenize)
    for batch, results in executor.each(job, in_batches(plan, len(plan), executor.workers)):
        yield from zip(batch, results, strict=True)


def tokenize_batch(tokenize: Callable[[Planned, Turn], R], batch: Sequence[Planned]) -> list[R]:
    """The result of each recording of a batch, once the files of all are on the disk.

    tokenize: `tokenize_recording` with its other arguments.
    """
    if len(batch) == 1:
        return [tokenize(batch[0], Turn())]
    lock = Lock()
    with ThreadPoolExecutor(min(_WRITERS, len(batch)), "ulmo-writer") as threads:
        return list(threads.map(lambda planned: tokenize(planned, Turn(lock)), batch))
