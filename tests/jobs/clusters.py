"""A Dask scheduler and workers as processes of their own, which share files alone."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Cluster:
    """`dask scheduler`, and as many `dask worker` as are started."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.workers = []
        self.scheduler = None

    def _start(self, module, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        log = (self.folder / "log").open("a")
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    def start_scheduler(self, port=0):
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            *("dask_scheduler", "--port", port, "--no-dashboard", "--scheduler-file", file),
            *("--host", "127.0.0.1"),
        )
        until = time.monotonic() + 60
        while not (file.exists() and file.read_text().endswith("}")):
            assert time.monotonic() < until
            time.sleep(0.02)
        self.address = json.loads(file.read_text())["address"]

    def start_worker(self, *options):
        worker = self._start(
            *("dask_worker", self.address, "--nthreads", 1, "--no-nanny", "--no-dashboard"),
            *("--local-directory", self.folder / "workers", *options),
        )
        self.workers.append(worker)
        return worker

    def kill_worker(self):
        """As a machine that is gone."""
        worker = self.workers.pop(0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def restart(self):
        """All of it dies, and comes again, at another address."""
        workers = len(self.workers)
        self.end()
        self.workers.clear()
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()

    def end(self):
        while self.processes:
            process = self.processes.pop()
            process.kill()
            process.wait()


@contextmanager
def running(folder, workers=2):
    """A cluster, which ends with the block."""
    pytest.importorskip("distributed", reason="needs ulmo[dask]")
    cluster = Cluster(folder)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.end()
