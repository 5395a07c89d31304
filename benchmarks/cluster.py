"""A Dask scheduler and workers on this machine, each a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT

_LONGEST = 60.0  # seconds until a scheduler must have started
_POLL = 0.02


class Cluster:
    """A scheduler, and as many workers of one thread as are started."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        file.unlink(missing_ok=True)  # of an earlier one
        self._start("scheduler", "--port", 0, "--host", "127.0.0.1", "--scheduler-file", file)
        until = time.monotonic() + _LONGEST
        while not file.exists():
            if time.monotonic() > until:
                raise SystemExit(f"the scheduler did not start: see {folder / 'log'}")
            time.sleep(_POLL)
        self.address: str = json.loads(file.read_text())["address"]

    def _start(self, kind: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments)]
        with (self._folder / "log").open("a") as log:
            process = subprocess.Popen(
                [*command, "--no-dashboard"], cwd=ROOT, stdout=log, stderr=log
            )
        self._processes.append(process)

    def add_workers(self, count: int, threads: int = 1) -> float:
        """Start workers of some threads each.

        Returns the seconds until the scheduler knew all of them.
        """
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            before = len(client.nthreads())
            place = ("--local-directory", self._folder)
            begun = time.perf_counter()
            for _ in range(count):
                self._start("worker", self.address, "--nthreads", threads, "--no-nanny", *place)
            client.wait_for_workers(before + count, timeout=_LONGEST)
            return time.perf_counter() - begun

    def scheduler_seconds(self) -> float:
        """Processor seconds of the scheduler so far."""
        import psutil

        times: Any = psutil.Process(self._processes[0].pid).cpu_times()
        return float(times.user + times.system)

    def processor_seconds(self) -> float:
        """Processor seconds of all processes so far, those included that have ended."""
        import psutil

        every = [psutil.Process(process.pid).cpu_times() for process in self._processes]
        return float(sum(sum(times[:4]) for times in every))  # user, system, of children

    def end(self) -> None:
        """End all of it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster, which ends with the block."""
    cluster = Cluster(folder)
    try:
        if workers:
            cluster.add_workers(workers)
        yield cluster
    finally:
        cluster.end()
