"""Where jobs run: the one place that chooses and makes an executor."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ulmo.jobs.dask_cluster import DaskCluster
from ulmo.jobs.executor import Executor, Request
from ulmo.jobs.in_process import InProcess
from ulmo.jobs.processes import Processes
from ulmo.jobs.progress import Progress

_FILES_PER_WORKER = 4  # recordings that make the start of another worker worth its time

EXECUTORS: dict[str, type[Executor]] = {
    "process": InProcess,
    "processes": Processes,
    "dask": DaskCluster,
}
"""Every executor, by its name."""


class Spread(NamedTuple):
    """Where jobs run.

    workers: processes on this machine; None: as many as are worth it, by cores and recordings.
    dask: address of a Dask scheduler, or `local` for one of this process; None: without Dask.
    say: called with a line for the user, such as the address of Dask's dashboard.
    """

    workers: int | None = None
    dask: str | None = None
    say: Callable[[str], None] = lambda _: None

    def count(self, recordings: int) -> int:
        """Processes to start on this machine for some recordings."""
        wanted = self.workers
        if wanted is None:
            wanted = min(os.cpu_count() or 1, recordings // _FILES_PER_WORKER)
        return max(min(wanted, recordings), 1)

    @property
    def enough(self) -> int:
        """Recordings beyond which more of them start no more processes."""
        return (self.workers or os.cpu_count() or 1) * _FILES_PER_WORKER

    def executor(self, recordings: int) -> str:
        """The name of the executor for some recordings."""
        if self.dask is not None and recordings:
            return "dask"
        return "processes" if self.count(recordings) > 1 else "process"

    def threads(self, recordings: int) -> int | None:
        """Computing threads for each worker; None: jobs run in this process."""
        if self.executor(recordings) == "process":
            return None
        if self.executor(recordings) == "dask":
            return 1
        return max((os.cpu_count() or 1) // self.count(recordings), 1)

    def open(
        self,
        recordings: int,
        advance: Progress,
        *,
        inputs: Sequence[Path] = (),
        ready: Callable[[], object] | None = None,
    ) -> Executor:
        """The executor for some recordings, to enter; see Request."""
        request = Request(
            advance=advance,
            workers=self.count(recordings),
            address=self.dask or "",
            say=self.say,
            inputs=inputs,
            ready=ready,
        )
        return EXECUTORS[self.executor(recordings)](request)


BY_FILES = Spread()  # as many processes as are worth it
HERE = Spread(1)  # in this process
