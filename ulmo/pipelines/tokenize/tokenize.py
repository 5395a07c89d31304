"""ulmo-tokenize: recordings become files of tokens.

files and folders -> plan -> recordings, in this process or in several -> files of tokens
                                              with --timeline: -> one file, gaps between them
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import PLAIN
from ulmo.formats.outputs import is_file_name, remove_leftovers
from ulmo.formats.publish import check_options
from ulmo.jobs.executor import Pool, Progress
from ulmo.pipelines.tokenize.job import (
    How,
    Maker,
    Tokenized,
    size_of,
    tokenize_recording,
    tokenize_with,
)
from ulmo.pipelines.tokenize.plan import Planned, parts_folder, plan_outputs, plan_parts
from ulmo.pipelines.tokenize.timeline_file import Timeline, survey
from ulmo.preprocessing.audio import check_channels
from ulmo.preprocessing.clock import Clock
from ulmo.storage.folders import make_folder
from ulmo.storage.lock import LOCK, lock_path, locked
from ulmo.tokenizer import Tokenizer, check_batch_size

if TYPE_CHECKING:
    from ulmo.pipelines.tokenize.joined import Joined
    from ulmo.pipelines.tokenize.report import Report

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
    from ulmo.pipelines.tokenize.report import Report, identify

    _check(tokenizer, how)
    plan = plan_outputs(sources, out, how.file_format, how.channels)
    if out is None or is_file_name(out, how.file_format):
        return _tokenize_apart(tokenizer, how, plan, workers, listener)
    maker = Maker(*tokenizer.ref)
    jobs = identify(out, maker, how, plan)
    report = Report(out, maker, how, jobs)
    if report.is_finished:
        return _tell(report, listener)
    make_folder(out)
    with locked(out / LOCK, out):
        report = Report(out, maker, how, jobs)
        return _tokenize_reported(tokenizer, how, plan, report, workers, listener)


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
    killed finds again. Refused recordings are gaps; where all are, nothing is written. A table of
    all lies beside `out`, and where it tells of the same recordings nothing is done. UserError
    before any is tokenized where one has no time, or where they overlap.
    """
    from ulmo.pipelines.tokenize.joined import Joined
    from ulmo.pipelines.tokenize.report import identify

    _check(tokenizer, how)
    if how.channels == "each":
        raise UserError("a timeline has one channel: set --channels to mix, or to a number")
    if not is_file_name(out, how.file_format):
        raise UserError(
            f"--timeline makes one file, and {out} is no name for one: "
            f"set --out to NAME{FORMATS[how.file_format].suffixes[0]}"
        )
    alone = how._replace(file_format="npy", options=PLAIN)
    maker = Maker(*tokenizer.ref)
    parts = parts_folder(out)
    plan = plan_parts(sources, parts)
    jobs = identify(parts, maker, alone, plan)
    joined = Joined(out, maker, how, jobs)
    if joined.is_finished:
        return _tell(joined, listener), joined.timeline
    survey(tokenizer, alone, [planned.source for planned in plan])
    make_folder(out.parent)
    with locked(lock_path(out), out):
        joined = Joined(out, maker, how, jobs)
        if joined.is_told:
            results, timeline = _tell(joined, listener), joined.timeline
        else:
            report = joined.parts(alone)
            results = _tokenize_reported(tokenizer, alone, plan, report, workers, listener)
            timeline = joined.write(results, report.rows)
        joined.tidy()
    return results, timeline


def _check(tokenizer: Tokenizer, how: How) -> None:
    """UserError for what cannot be, before any recording is opened."""
    Clock.of(how.clock)
    check_channels(how.channels)
    check_batch_size(how.batch_size)
    check_options(how.options, how.file_format, tokenizer.vocabulary.size)


def _tokenize_apart(
    tokenizer: Tokenizer,
    how: How,
    plan: Sequence[Planned],
    workers: int | None,
    listener: Listener,
) -> list[Tokenized]:
    with _folders(plan, how.file_format):
        made = dict(_tokenize(tokenizer, how, plan, workers, listener))
    return [made[planned] for planned in plan]


def _tokenize_reported(
    tokenizer: Tokenizer,
    how: How,
    plan: Sequence[Planned],
    report: "Report",
    workers: int | None,
    listener: Listener,
) -> list[Tokenized]:
    """The same with a report, which is also how a killed job goes on."""
    with (
        _folders(plan, how.file_format),
        report,
        closing(_tokenize(tokenizer, how, report.left, workers, listener)) as fresh,
    ):
        made = dict(report.earlier)
        for result in made.values():
            listener.done(result)
        for planned, result in fresh:
            report.add(planned, result)
            made[planned] = result
    return [made[planned] for planned in plan]


def _tell(report: "Report | Joined", listener: Listener) -> list[Tokenized]:
    """What an earlier run made is all there is."""
    listener.begin(0)
    results = list(report.earlier.values())
    for result in results:
        listener.done(result)
    return results


@contextmanager
def _folders(plan: Sequence[Planned], file_format: str) -> Iterator[None]:
    """Folders for the outputs; in the end they hold nothing that is not complete."""
    for folder in {planned.target.parent for planned in plan}:
        make_folder(folder)
    try:
        yield
    finally:
        remove_leftovers((planned.target for planned in plan), file_format)


def _tokenize(
    tokenizer: Tokenizer,
    how: How,
    plan: Sequence[Planned],
    workers: int | None,
    listener: Listener,
) -> Generator[tuple[Planned, Tokenized], None, None]:
    """Each recording as it ends; the order is that of the plan in one process alone."""
    cores = os.cpu_count() or 1
    if workers is None:
        workers = min(cores, len(plan) // FILES_PER_WORKER)
    workers = max(min(workers, len(plan)), 1)
    if workers == 1:
        job = partial(tokenize_recording, tokenizer, how)
    else:
        maker = Maker(*tokenizer.ref)
        maker = maker._replace(threads=maker.threads or max(cores // workers, 1))
        job = partial(tokenize_with, maker, how)
    size = sum(size_of(planned.source) for planned in plan)
    with Pool(workers, listener.begin(size)) as pool:
        for planned, result in pool.each(job, plan):
            listener.done(result)
            yield planned, result
