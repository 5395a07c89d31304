"""What the parts of a run take: jobs of a worker, its start, the driver, the scheduler."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, NamedTuple, TypeVar
from unittest import mock

from benchmarks.cluster import running
from benchmarks.commands import ulmo
from benchmarks.fleet import Measured
from benchmarks.material import write_recordings
from benchmarks.prep import written
from ulmo.config import PrepSettings
from ulmo.jobs.dask_cluster import DaskCluster
from ulmo.jobs.executor import Request
from ulmo.jobs.processes import Processes
from ulmo.jobs.progress import progressed
from ulmo.jobs.spread import EXECUTORS, Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files
from ulmo.tokenizer import load_tokenizer

T = TypeVar("T")
R = TypeVar("R")

_SHORT = 1.0  # seconds of the recordings that show what the driver takes


class Job(NamedTuple):
    """A job that a worker did."""

    function: str
    argument: Any
    seconds: float
    processor: float  # seconds of it that the process computed


class Timed(Processes):
    """One worker process, which takes the time of each of its jobs."""

    jobs: ClassVar[list[Job]] = []
    first: ClassVar[list[float]] = []  # seconds until the first job had ended

    def __init__(self, request: Request) -> None:
        super().__init__(request._replace(workers=1))

    def each(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R]]:
        """See Executor."""
        name = getattr(function, "func", function).__name__
        begun = time.perf_counter()
        for job, (seconds, processor, result) in super().each(partial(timed, function), jobs):
            if not self.first:
                self.first.append(time.perf_counter() - begun)
            self.jobs.append(Job(name, job, seconds, processor))
            yield job, result


def timed(function: Callable[[T], R], job: T) -> tuple[float, float, R]:
    """Seconds of a job, processor seconds, and what it returns."""
    begun, computing = time.perf_counter(), time.process_time()
    result = function(job)
    return time.perf_counter() - begun, time.process_time() - computing, result


class Command(NamedTuple):
    """A command: what it calls, the name of its jobs, and how many recordings one of them has."""

    run: Callable[[Path, Path], object]
    function: str
    recordings: Callable[[Any], int]
    line: Callable[[Path, Path], list[object]]


def _tokenize(audio: Path, out: Path) -> None:
    listener = Listener(begin=lambda _: lambda *_: None, done=lambda _: None)
    options = TokenizeOptions()
    tokenize_files(load_tokenizer(), [audio], options, out=out, spread=Spread(2), listener=listener)


COMMANDS = {
    "tokenize": Command(
        _tokenize,
        "tokenize_recording",
        lambda _: 1,
        lambda audio, out: ["tokenize", audio, "--out-dir", out],
    ),
    "prep": Command(
        lambda audio, out: prepare(audio, out, PrepSettings(), spread=Spread(2)),
        "run_jobs",
        lambda batch: sum(len(job.files) for job in batch),
        lambda audio, out: ["prep", audio, out],
    ),
}


def job_times(command: Command, audio: Path, out: Path) -> tuple[list[Job], float]:
    """The jobs of a run with one worker, without its first; and what its start took in seconds.

    A job of several recordings counts as that many, with an even share of its time each.
    """
    Timed.jobs.clear()
    Timed.first.clear()
    with mock.patch.dict(EXECUTORS, {"processes": Timed}):
        command.run(audio, out)
    jobs = []
    for job in Timed.jobs:
        if job.function == command.function:
            count = command.recordings(job.argument)
            each = job._replace(seconds=job.seconds / count, processor=job.processor / count)
            jobs.append([each] * count)
    later = [job for batch in jobs[1:] for job in batch]
    head, usual = Timed.jobs[0], median(job.seconds for job in later)
    is_usual = head.function == command.function
    return later, Timed.first[0] - (usual * len(jobs[0]) if is_usual else head.seconds)


class Overheads(NamedTuple):
    """Seconds of what is not a job."""

    worker: float  # until a new `dask worker` is known to the scheduler
    driver: float  # for a recording
    scheduler: float  # for a recording


class Following(NamedTuple):
    """Seconds of following jobs, for each second of a job: they report their progress."""

    driver: float
    scheduler: float


def overheads(name: str, work: Path, few: int, many: int) -> Overheads:
    """Of runs with Dask on few and on many short recordings: what each more of them takes.

    A job of `prep` has many short recordings, and fewer long ones: those take more than this.
    """
    command, used = COMMANDS[name], []
    with running(work / "cluster", workers=1) as cluster:
        worker = cluster.add_workers(1)
        for count in (few, few, many):  # the first one warms everything up
            audio = work / f"{count}"
            if not audio.exists():
                write_recordings(audio, count, _SHORT)
            before = cluster.scheduler_seconds()
            out = work / "out"
            driver = ulmo(*command.line(audio, out), "--dask", cluster.address).processor
            used.append((driver, cluster.scheduler_seconds() - before))
            shutil.rmtree(out)
    return Overheads(worker, *_slopes(used[1], used[2], many - few))


def following(work: Path, threads: int, few: float, many: float) -> Following:
    """Of jobs that do nothing but report, for few seconds and for many: what a second takes."""
    used = []
    with running(work / "cluster", workers=0) as cluster:
        cluster.add_workers(1, threads)
        request = Request(advance=lambda *_: None, address=cluster.address)
        for seconds in (few, few, many):
            before, computing = cluster.scheduler_seconds(), time.process_time()
            with DaskCluster(request) as executor:
                list(executor.each(report, [seconds] * threads))
            scheduler = cluster.scheduler_seconds() - before
            used.append((time.process_time() - computing, scheduler))
    return Following(*_slopes(used[1], used[2], (many - few) * threads))


def report(seconds: float) -> None:
    """A job that only reports, ten times a second."""
    for _ in range(round(10 * seconds)):
        progressed(1, 1)
        time.sleep(0.1)


def _slopes(few: Sequence[float], many: Sequence[float], steps: float) -> list[float]:
    """What each step takes of each thing."""
    return [(after - before) / steps for before, after in zip(few, many, strict=True)]


def measure(
    name: str,
    audio: Path,
    work: Path,
    besides: Overheads,
    followed: Following,
    *,
    computing: bool,
) -> tuple[Measured, list[Job]]:
    """What a command takes for the recordings of a folder, all of one length; and its jobs.

    With `computing`, the time of a job is its processor time: on a machine with other work, the
    clock on the wall counts that too.
    """
    out = work / "measured"
    count = len(list(audio.iterdir()))
    jobs, start = job_times(COMMANDS[name], audio, out)
    seconds = [job.processor if computing else job.seconds for job in jobs]
    usual = sum(seconds) / len(seconds)
    measured = Measured(
        jobs=tuple(seconds),
        start=besides.worker + start,
        driver=besides.driver + followed.driver * usual,
        scheduler=besides.scheduler + followed.scheduler * usual,
        read=written(audio) / count,
        written=written(out) / count,
    )
    shutil.rmtree(out)
    return measured, jobs
