"""Workers of a Dask cluster beside processes of `--workers`, on the same recordings."""

import hashlib
import shutil
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cluster import running
from benchmarks.commands import ulmo
from benchmarks.job_times import COMMANDS


class Runs(NamedTuple):
    """Runs of a command with a number of workers."""

    workers: int
    local: list[float]  # seconds of each run with --workers
    dask: list[float]  # seconds of each run with workers of their own


def content(folder: Path) -> str:
    """A hash of all files below a folder, with their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def efficiency(name: str, audio: Path, work: Path, workers: list[int], turns: int) -> list[Runs]:
    """Seconds of whole commands, in turn; SystemExit if one of them writes other bytes."""
    runs = [Runs(count, [], []) for count in workers]
    out, first = work / "out", ""

    def run(kept: list[float] | None, *options: object) -> None:
        nonlocal first
        seconds = ulmo(*COMMANDS[name].line(audio, out), *options).seconds
        first = first or content(out)
        if content(out) != first:
            raise SystemExit(f"ulmo {name} {options}: other bytes than those of the first run")
        shutil.rmtree(out)
        if kept is not None:
            kept.append(seconds)

    run(None, "--workers", workers[0])  # to warm up
    for _ in range(turns):
        for each in runs:
            run(each.local, "--workers", each.workers)
            with running(work / "cluster", each.workers) as cluster:
                run(each.dask, "--dask", cluster.address)
            shutil.rmtree(work / "cluster")
    return runs


def computing(name: str, audio: Path, work: Path, workers: int, turns: int) -> list[str]:
    """Processor seconds of all processes of a run: other work on the machine hardly counts.

    A line of a table: recordings, seconds with --workers and with Dask, and their ratio.
    """
    local, dask, out = [], [], work / "out"
    with running(work / "cluster", workers) as cluster:
        for _ in range(turns + 1):  # the first turn warms up
            local.append(ulmo(*COMMANDS[name].line(audio, out), "--workers", workers).processor)
            shutil.rmtree(out)
            before = cluster.processor_seconds()
            driver = ulmo(*COMMANDS[name].line(audio, out), "--dask", cluster.address)
            dask.append(driver.processor + cluster.processor_seconds() - before)
            shutil.rmtree(out)
    ours, others = median(local[1:]), median(dask[1:])
    return [
        str(len(list(audio.iterdir()))),
        f"{ours:.1f} ({min(local[1:]):.1f} to {max(local[1:]):.1f})",
        f"{others:.1f} ({min(dask[1:]):.1f} to {max(dask[1:]):.1f})",
        f"**{ours / others:.0%}**",
    ]


def rows(runs: list[Runs]) -> list[list[str]]:
    """Lines of a table: workers, seconds, and what they say of each kind of workers."""
    alone = median(runs[0].local)
    found = []
    for each in runs:
        local, dask = median(each.local), median(each.dask)
        found.append(
            [
                str(each.workers),
                f"{local:.1f} ({min(each.local):.1f} to {max(each.local):.1f})",
                f"{dask:.1f} ({min(each.dask):.1f} to {max(each.dask):.1f})",
                f"{alone / local:.2f}x",
                f"{alone / dask:.2f}x",
                f"**{local / dask:.0%}**",
            ]
        )
    return found


HEADER = (
    *("workers", "`--workers`, s", "Dask, s", "speed-up of `--workers`", "of Dask"),
    "Dask to `--workers`",
)
