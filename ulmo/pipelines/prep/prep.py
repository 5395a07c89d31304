"""ulmo-prep: a folder of recordings becomes a folder of tiles.

    recordings -> jobs of a few recordings -> shards and a record a job -> two manifests

A job is planned from names and sizes alone, and depends on nothing but its own recordings, the
settings and the corpus constants. Any number of workers, killed and run again any number of
times, therefore leave the same bytes.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.config import AugmentSettings, ClockSettings, PrepSettings, UserError
from ulmo.jobs.executor import Pool
from ulmo.jobs.inputs import InputFile, list_inputs, portable
from ulmo.pipelines.prep.job import run_jobs
from ulmo.pipelines.prep.mend import (
    BESIDE,
    begun_again,
    jobs_of,
    lost_shards,
    refuse_others,
    take_shards,
    take_tables,
    unreadable,
)
from ulmo.pipelines.prep.record import FINISHED, Job, merge
from ulmo.pipelines.prep.statistics import corpus_constants
from ulmo.preprocessing.augment import check_views
from ulmo.preprocessing.clock import Clock
from ulmo.preprocessing.frontends import build_frontend, check_used
from ulmo.preprocessing.store import Manifest, read_manifest
from ulmo.storage.atomic import is_temporary, make_folder
from ulmo.storage.faults import remove_any
from ulmo.storage.lock import LOCK, locked
from ulmo.storage.sealed import fingerprint, write_sealed

JOB_FILES = 64
JOB_BYTES = 8 << 20
"""A job ends with the recording that reaches either: small enough to balance two workers."""
TOGETHER = 8
"""Jobs that a worker does in a row, at most: only after the last it waits for the disk."""
SHARES = 4
"""Rows of jobs for each worker, at least, so that none is idle at the end."""

RECORDS = (FINISHED, BESIDE)
"""Folders of an output that are of no use once all is there."""

Begin = Callable[[int], Callable[[int], None]]
"""Given the total in bytes, it gives what is called with the bytes that were done meanwhile."""


class PrepSummary(NamedTuple):
    """What the job came to."""

    out_dir: Path
    recordings: int
    hours: float
    tiles: int
    statuses: dict[str, int]
    refused: list[tuple[str, str, str]]
    """Path, reason code and detail of each."""
    reused: bool
    """True where everything was there already."""
    untimed: int
    """Recordings whose names the user's --timestamp-pattern does not fit; 0 without one."""
    rewritten: tuple[str, ...] = ()
    """Recordings that were written to after the output was complete, at neither end."""


def prepare(
    audio_dir: Path,
    out_dir: Path,
    settings: PrepSettings,
    *,
    augment: AugmentSettings | None = None,
    clock: ClockSettings | None = None,
    workers: int = 1,
    progress: Begin | None = None,
) -> PrepSummary:
    """Prepare every recording below a folder; `progress` is given the total in bytes first.

    Raises UserError for settings that cannot be met, for folders that do not fit and for an
    output that was made with other settings.
    """
    augment = augment or AugmentSettings()
    clock = clock or ClockSettings()
    build_frontend(settings)
    check_used(settings)
    Clock.of(clock)
    if augment.views > 1:
        check_views(settings, augment)
    files = list_inputs(audio_dir, out_dir)
    manifest = _wanted(out_dir, settings, augment, clock, files)
    if manifest.complete and lost_shards(out_dir, manifest) == set() and not _leftovers(out_dir):
        return _reused(out_dir, clock, files)
    make_folder(out_dir, "choose another")
    with locked(out_dir / LOCK, out_dir):
        manifest = _wanted(out_dir, settings, augment, clock, files)
        lost = lost_shards(out_dir, manifest) if manifest.complete else None
        source = _Source(audio_dir, files, workers, progress or _deaf)
        if not manifest.complete:
            _make(source, out_dir, manifest)
        elif lost is None or lost:
            _mend(source, out_dir, manifest, lost)
        _tidy(out_dir)
    if lost == set():
        return _reused(out_dir, clock, files)
    return _summary(out_dir, clock, reused=False)


class _Source(NamedTuple):
    """What tiles are made of, and how."""

    audio_dir: Path
    files: Sequence[InputFile]
    workers: int
    progress: Begin


def _make(source: _Source, out_dir: Path, manifest: Manifest) -> Manifest:
    """Do what is left to do, with the output locked."""
    manifest, jobs = _run(source, out_dir, manifest)
    manifest = merge(out_dir, manifest, jobs)
    _write(out_dir, manifest)
    return manifest


def _mend(source: _Source, out_dir: Path, manifest: Manifest, lost: set[str] | None) -> None:
    """Make again what a complete output has lost: some shards, or where it is None a table.

    It is made beside, and moved to its place once it is what it was; else nothing is touched.
    """
    beside = out_dir / BESIDE
    make_folder(beside)
    begun = begun_again(manifest)
    try:
        if lost is None:
            take_tables(beside, out_dir, manifest, _make(source, beside, begun))
        else:
            _, jobs = _run(source, beside, begun, lost)
            take_shards(out_dir, manifest, jobs, lost)
    except UserError:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _run(
    source: _Source, out_dir: Path, manifest: Manifest, lost: set[str] | None = None
) -> tuple[Manifest, list[Job]]:
    """Do all jobs, or those of the lost shards alone; the manifest has its constants then."""
    audio_dir, files, workers, progress = source
    if manifest != read_manifest(out_dir):
        _write(out_dir, manifest)
    for folder in (out_dir / "tiles", out_dir / FINISHED):
        folder.mkdir(exist_ok=True)
    advance = progress(sum(file.size for file in files))
    with Pool(min(workers, len(files)), lambda size, _: advance(size)) as pool:
        if manifest.settings.learns_constants and manifest.normalization is None:
            paths = [audio_dir / file.path for file in files]
            constants = corpus_constants(pool, paths, manifest.settings)
            manifest = manifest.model_copy(update={"normalization": constants})
            _write(out_dir, manifest)
        jobs = plan_jobs(audio_dir, out_dir, manifest, files)
        if lost:
            jobs = jobs_of(jobs, lost)
        together = min(max(len(jobs) // (SHARES * workers), 1), TOGETHER)
        for _ in pool.map(run_jobs, _batched(jobs, together)):
            pass
    return manifest, jobs


def plan_of(files: Sequence[InputFile]) -> str:
    """Hash over the list of recordings: of their names, sizes and ends."""
    return fingerprint([[portable(file.path), file.size, file.ends] for file in files])


def plan_jobs(
    audio_dir: Path, out_dir: Path, manifest: Manifest, files: Sequence[InputFile]
) -> list[Job]:
    """Consecutive recordings, grouped by number and size."""
    groups: list[list[InputFile]] = [[]]
    for file in files:
        if len(groups[-1]) >= JOB_FILES or sum(f.size for f in groups[-1]) >= JOB_BYTES:
            groups.append([])
        groups[-1].append(file)
    named = {"settings", "augment", "clock", "normalization"}
    frame = manifest.model_dump(mode="json", include=named)
    return [
        Job(
            index=index,
            key=fingerprint(
                [frame, [[portable(f.path), f.size, f.mtime_ns, f.ends] for f in group]]
            ),
            audio_dir=audio_dir,
            out_dir=out_dir,
            settings=manifest.settings,
            augment=manifest.augment,
            clock=manifest.clock,
            normalization=manifest.normalization,
            files=tuple(group),
        )
        for index, group in enumerate(groups)
    ]


def _wanted(
    out_dir: Path,
    settings: PrepSettings,
    augment: AugmentSettings,
    clock: ClockSettings,
    files: Sequence[InputFile],
) -> Manifest:
    """The manifest of an output that is ours to begin, to go on with, or to add to.

    It is the one that is there, or one to write.
    """
    plan = plan_of(files)
    present = _present(out_dir)
    if present is None:
        if out_dir.exists() and not _is_free(out_dir):
            raise UserError(f"{out_dir} exists and holds other things: choose a new folder")
    elif changed := _changes(present, settings, augment, clock):
        raise UserError(f"{out_dir} was made with other settings ({changed}): choose a new folder")
    elif present.plan == plan:
        return present
    elif present.complete:
        refuse_others(out_dir, present, files)
    return Manifest(settings=settings, augment=augment, clock=clock, plan=plan)


def _present(out_dir: Path) -> Manifest | None:
    try:
        return read_manifest(out_dir) if out_dir.exists() else None
    except OSError as error:
        raise unreadable(out_dir / "prep.json", error) from None


def _write(out_dir: Path, manifest: Manifest) -> None:
    write_sealed(out_dir / "prep.json", manifest)


def _changes(
    present: Manifest, settings: PrepSettings, augment: AugmentSettings, clock: ClockSettings
) -> str:
    """What differs between an output's settings and those that are given now."""
    there = present.settings.model_dump() | present.clock.model_dump()
    here = settings.model_dump() | clock.model_dump()
    if max(present.augment.views, augment.views) > 1:
        there |= present.augment.model_dump()
        here |= augment.model_dump()
    return ", ".join(
        f"{name} {value!r} there, {here[name]!r} here"
        for name, value in there.items()
        if value != here[name]
    )


def _is_free(folder: Path) -> bool:
    """True of an empty folder; what an interrupted first write left does not count."""
    return folder.is_dir() and all(
        is_temporary(path) or path.name == LOCK for path in folder.iterdir()
    )


def _leftovers(out_dir: Path) -> list[Path]:
    """What is of no use once all is there, and what a kill may have left."""
    inside = (*out_dir.iterdir(), *(out_dir / "tiles").glob("*"))
    return [path for path in inside if is_temporary(path) or path.name in (*RECORDS, LOCK)]


def _tidy(out_dir: Path) -> None:
    """Remove leftovers, except the lock, which is held."""
    for name in RECORDS:
        shutil.rmtree(out_dir / name, ignore_errors=True)
    for path in _leftovers(out_dir):
        if path.name not in (*RECORDS, LOCK):
            remove_any(path)


def _reused(out_dir: Path, clock: ClockSettings, files: Sequence[InputFile]) -> PrepSummary:
    """The summary of an output that was there already, with what was written to since."""
    done = (out_dir / "prep.json").stat().st_mtime_ns
    newer = tuple(portable(file.path) for file in files if file.mtime_ns > done)
    return _summary(out_dir, clock, reused=True)._replace(rewritten=newer)


def _summary(out_dir: Path, clock: ClockSettings, *, reused: bool) -> PrepSummary:
    rows = pq.read_table(out_dir / "recordings.parquet")
    refused = rows.filter(pc.equal(rows["status"], "refused")).to_pylist()
    statuses = pc.value_counts(rows["status"]).to_pylist()
    return PrepSummary(
        out_dir=out_dir,
        recordings=len(rows),
        hours=(pc.sum(rows["duration_s"]).as_py() or 0.0) / 3600,
        tiles=pc.sum(rows["tiles"]).as_py(),
        statuses={count["values"]: count["counts"] for count in statuses},
        refused=[(row["path"], row["reason"], row["detail"]) for row in refused],
        reused=reused,
        untimed=pc.sum(pc.not_equal(pc.fill_null(rows["start_source"], ""), "pattern")).as_py()
        if clock.timestamp_pattern
        else 0,
    )


def _silent(_: int) -> None: ...


def _deaf(_: int) -> Callable[[int], None]:
    return _silent


def _batched(jobs: Sequence[Job], size: int) -> list[Sequence[Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]
