"""Whole commands, start included: seconds, processor seconds, and peak memory."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

EVERY = 0.02  # seconds between two looks at the memory of a process
_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class Ran(NamedTuple):
    """A command that ended well."""

    seconds: float
    processor: float  # seconds, user and system, of all its processes
    peak: float  # VmHWM of its own process, without workers, in megabytes (2**20 bytes)


def limited(threads: int | None) -> dict[str, str]:
    """An environment that limits the threads of every library; None leaves it alone."""
    return {**os.environ, **(dict.fromkeys(_LIMITS, str(threads)) if threads else {})}


def run_module(*arguments: object, threads: int | None = None) -> Ran:
    """Run a module of this interpreter, with its arguments."""
    return run([sys.executable, "-m", *map(str, arguments)], threads=threads)


def ulmo(*arguments: object, threads: int | None = None) -> Ran:
    """Run a command of ulmo: `ulmo("prep", audio, out)`."""
    return run_module("ulmo", *arguments, threads=threads)


def run(command: Sequence[str], *, threads: int | None = None) -> Ran:
    """Run a command to its end; if it fails, end the benchmark and show its error output."""
    seen: list[float] = []
    with tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=limited(threads)
        )
        watcher = threading.Thread(target=_watch, args=(process.pid, seen), daemon=True)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.join()
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return Ran(seconds, used.ru_utime + used.ru_stime, max(seen, default=0.0))


def _watch(pid: int, seen: list[float]) -> None:
    """Keep the peak of a process, until it has no memory any more."""
    while (found := peak_of(pid)) is not None:
        seen[:] = [found]
        time.sleep(EVERY)


def peak_of(pid: int) -> float | None:
    """VmHWM of a process in megabytes; None if it has ended, or the system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else None
