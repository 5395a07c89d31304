"""ulmo-tokenize: recordings become files of tokens.

files and folders -> plan -> recordings, in this process or in several -> files of tokens
                                              with --timeline: -> one file, gaps between them
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import STEM, check_options
from ulmo.formats.writer import PLAIN
from ulmo.pipelines.folders import make_folder
from ulmo.pipelines.pool import Pool, Progress
from ulmo.pipelines.timeline_file import Timeline, write_timeline
from ulmo.pipelines.tokenize_job import (
    How,
    Maker,
    Tokenized,
    size_of,
    tokenize_recording,
    tokenize_with,
)
from ulmo.pipelines.tokenize_plan import Planned, is_file_name, plan_outputs
from ulmo.preprocessing.clock import Clock
from ulmo.tokenizer import Tokenizer

FILES_PER_WORKER = 4
"""Recordings for which another worker is worth its start, unless workers are asked for."""

Done = Callable[[Tokenized], None]


class Listener(NamedTuple):
    """Who is told how a job goes."""

    begin: Callable[[int], Progress]
    """Called with all bytes of input."""
    done: Done


def tokenize_files(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    how: How,
    *,
    out: Path | None = None,
    workers: int | None = None,
    listener: Listener,
) -> list[Tokenized]:
    """Write the tokens of every recording; one that is refused is reported, and the rest go on.

    `sources` are files and folders, `out` is a folder, or for one recording the file to write;
    None writes beside each. In a folder `out` there is a table of all recordings as well, and what
    it tells of an earlier run is not done again.
    """
    Clock.of(how.clock)
    check_options(how.options, how.file_format, tokenizer.vocabulary.size)
    plan = plan_outputs(sources, out, how.file_format)
    for folder in {planned.target.parent for planned in plan}:
        make_folder(folder)
    if out is None or is_file_name(out, how.file_format):
        return list(_tokenize(tokenizer, how, plan, workers, listener))
    return _tokenize_folder(tokenizer, how, plan, out, workers, listener)


def tokenize_timeline(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    how: How,
    *,
    out: Path,
    workers: int | None = None,
    listener: Listener,
) -> tuple[list[Tokenized], Timeline | None]:
    """Write the tokens of consecutive recordings to one file, with `<gap>` where there are none.

    Each recording is tokenized by itself, in a hidden folder beside `out`, which a job that was
    killed finds again. Refused recordings are gaps; where all are, nothing is written.
    """
    if how.channels == "each":
        raise UserError("a timeline has one channel: set --channels to mix, or to a number")
    if not is_file_name(out, how.file_format):
        raise UserError(
            f"--timeline makes one file, and {out} is no name for one: "
            f"set --out to NAME{FORMATS[how.file_format].suffixes[0]}"
        )
    parts = out.with_name(f".{out.name.partition(STEM)[0]}.parts")
    alone = how._replace(file_format="npy", options=PLAIN)
    check_options(how.options, how.file_format, tokenizer.vocabulary.size)
    results = tokenize_files(
        tokenizer, sources, alone, out=parts, workers=workers, listener=listener
    )
    good = [result for result in results if result.outputs]
    timeline = None
    if good:
        timeline = write_timeline(
            good, [result.source for result in good], out, how.file_format, how.options
        )
    shutil.rmtree(parts, ignore_errors=True)
    return results, timeline


def _tokenize_folder(
    tokenizer: Tokenizer,
    how: How,
    plan: Sequence[Planned],
    out: Path,
    workers: int | None,
    listener: Listener,
) -> list[Tokenized]:
    """The same with a report, which is also how a killed job goes on."""
    from ulmo.pipelines.tokenize_report import Report, make_job

    jobs = [make_job(planned, tokenizer.manifest.fingerprint, how) for planned in plan]
    with Report(out) as report:
        earlier = {job.planned: result for job in jobs if (result := report.done(job))}
        left = [job for job in jobs if job.planned not in earlier]
        for result in earlier.values():
            listener.done(result)
        fresh = _tokenize(tokenizer, how, [job.planned for job in left], workers, listener)
        made = {}
        for job, result in zip(left, fresh, strict=True):
            report.add(job, result)
            made[job.planned] = result
        report.close(jobs)
    return [earlier.get(planned) or made[planned] for planned in plan]


def _tokenize(
    tokenizer: Tokenizer,
    how: How,
    plan: Sequence[Planned],
    workers: int | None,
    listener: Listener,
) -> Iterator[Tokenized]:
    cores = os.cpu_count() or 1
    if workers is None:
        workers = min(cores, len(plan) // FILES_PER_WORKER)
    workers = max(min(workers, len(plan)), 1)
    if workers == 1:
        job = partial(tokenize_recording, tokenizer, how)
    else:
        folder, fingerprint, threads, device = tokenizer.maker
        maker = Maker(folder, fingerprint, threads or max(cores // workers, 1), device)
        job = partial(tokenize_with, maker, how)
    size = sum(size_of(planned.source) for planned in plan)
    with Pool(workers, listener.begin(size)) as pool:
        for result in pool.map(job, plan):
            listener.done(result)
            yield result
