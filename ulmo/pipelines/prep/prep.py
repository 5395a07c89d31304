"""ulmo-prep: a folder of recordings becomes a folder of tiles.

    recordings -> jobs of a few recordings -> shards, tile rows, a ledger -> two tables

A job is planned from names and sizes alone, and depends on nothing but its own recordings, the
settings and the corpus constants. Any number of workers, killed and run again any number of
times, therefore leave the same bytes.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.config import AugmentSettings, ClockSettings, PrepSettings, UserError
from ulmo.jobs.executor import Pool
from ulmo.jobs.inputs import InputFile, list_inputs, portable
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.prep.job import PrepJob, run_jobs
from ulmo.pipelines.prep.mend import (
    Lost,
    find_lost,
    jobs_of,
    refuse_others,
    take_shards,
    take_tables,
)
from ulmo.pipelines.prep.statistics import corpus_constants
from ulmo.preprocessing.augment import check_views
from ulmo.preprocessing.clock import Clock
from ulmo.preprocessing.frontends import build_frontend, check_used
from ulmo.preprocessing.store import (
    AGAIN,
    BESIDE,
    GO_ON,
    ROWS,
    TILES_SCHEMA,
    TilesManifest,
    fingerprint_head,
)
from ulmo.storage.atomic import is_temporary, make_folder
from ulmo.storage.faults import remove_any
from ulmo.storage.ledger import Ledger
from ulmo.storage.lock import LOCK, locked
from ulmo.storage.manifest import LedgerFiles
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import fingerprint
from ulmo.storage.tables import BATCH_ROWS, publish_table

_COMMAND = "prep"
_JOB_FILES = 64
_JOB_BYTES = 8 << 20  # a job ends with the recording that reaches either: small enough to balance
_TOGETHER = (
    8  # jobs that a worker does in a row, at most: only after the last it waits for the disk
)
_SHARES = 4  # rows of jobs for each worker, at least, so that none is idle at the end

_TilesLedger = Ledger[TilesManifest, Prepared]
_Begin = Callable[[int], Callable[[int], None]]
# Called with the bytes of all inputs; returns a callback taking the bytes done since its last call.


class PrepSummary(NamedTuple):
    """What a job did."""

    out_dir: Path
    recordings: int
    hours: float
    tiles: int
    statuses: dict[str, int]
    refused: list[tuple[str, str, str]]  # path, reason code and detail of each
    reused: bool  # whether everything was there already
    untimed: int  # recordings whose names do not fit --timestamp-pattern; 0 without one
    rewritten: tuple[str, ...] = ()  # recordings modified after the output was complete


class _Source(NamedTuple):
    """The recordings, and how they are worked on."""

    audio_dir: Path
    files: Sequence[InputFile]
    workers: int
    progress: _Begin


def prepare(
    audio_dir: Path,
    out_dir: Path,
    settings: PrepSettings,
    *,
    augment: AugmentSettings | None = None,
    clock: ClockSettings | None = None,
    workers: int = 1,
    progress: _Begin | None = None,
) -> PrepSummary:
    """Prepare every recording below a folder.

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
    source = _Source(audio_dir, files, workers, progress or _ignored)
    wanted = TilesManifest(settings=settings, augment=augment, clock=clock, plan=plan_of(files))
    ledger = _opened(out_dir, wanted, files)
    if ledger.manifest.complete and not _leftovers(out_dir) and not find_lost(out_dir, ledger):
        return _summary(out_dir, ledger, files, reused=True)
    make_folder(out_dir, "choose another")
    with locked(out_dir / LOCK, out_dir):
        ledger = _opened(out_dir, wanted, files)
        lost = None
        if not ledger.manifest.complete:
            _make(source, out_dir, ledger)
        elif lost := find_lost(out_dir, ledger):
            _mend(source, out_dir, ledger, lost)
            ledger = _opened(out_dir, wanted, files)
        reused = ledger.manifest.complete and lost is not None and not lost
        _tidy(out_dir)
    return _summary(out_dir, ledger, files, reused=reused)


def _ledger(folder: Path) -> _TilesLedger:
    return Ledger(
        LedgerFiles.inside(folder, _COMMAND), TilesManifest, Prepared, remedy=GO_ON, anew=AGAIN
    )


def _opened(out_dir: Path, wanted: TilesManifest, files: Sequence[InputFile]) -> _TilesLedger:
    """The ledger of an output that may be begun, gone on with, or given more recordings."""
    ledger = _ledger(out_dir)
    if ledger.is_new and out_dir.exists() and not _is_free(out_dir):
        raise UserError(f"{out_dir} exists and holds other things: choose a new folder")
    ledger.resume(wanted, out_dir)
    if ledger.manifest.plan != wanted.plan:
        if ledger.manifest.complete:
            refuse_others(out_dir, ledger, files)
        ledger.replace(wanted)
    return ledger


def _make(source: _Source, out_dir: Path, ledger: _TilesLedger) -> None:
    """Do the jobs that are not done, then write the tables."""
    ledger.update()  # first: a folder without prep.json is not ours
    for folder in (out_dir / "tiles", out_dir / ROWS):
        folder.mkdir(exist_ok=True)
    advance = source.progress(sum(file.size for file in source.files))
    workers = min(source.workers, len(source.files))
    with Pool(workers, lambda size, _: advance(size)) as pool:
        manifest = ledger.manifest
        if manifest.settings.learns_constants and manifest.normalization is None:
            paths = [source.audio_dir / file.path for file in source.files]
            constants = corpus_constants(pool, paths, manifest.settings)
            ledger.update(normalization=constants)
        jobs = plan_jobs(source.audio_dir, out_dir, ledger.manifest, source.files)
        done = {job.key for job in jobs if _is_done(ledger, job)}
        with ledger.writing(job.key for job in jobs if job.key in done):
            if done:
                advance(sum(job.size for job in jobs if job.key in done))
            missing = [job for job in jobs if job.key not in done]
            for batch, found in pool.each(run_jobs, _batched(missing, workers)):
                for job, rows in zip(batch, found, strict=True):
                    ledger.add(job.key, rows)
            recordings = sum(len(job.files) for job in jobs)
            merged = _merge(out_dir, ledger, jobs)
            ledger.finish((job.key for job in jobs), recordings=recordings, **merged)


def _is_done(ledger: _TilesLedger, job: PrepJob) -> bool:
    """Whether a job is in the ledger, and its tiles and their rows are there."""
    rows = ledger.done(job.key)
    files = (job.rows_path, *job.shards(rows))
    return bool(rows) and all(path.is_file() for path in files)


def _merge(out_dir: Path, ledger: _TilesLedger, jobs: Sequence[PrepJob]) -> dict[str, Any]:
    """Write tiles.parquet; returns what the manifest says of it.

    Shards that no job has written are an earlier plan's, and removed.
    """
    path = out_dir / "tiles.parquet"
    tiles = 0
    digest = hashlib.sha256(fingerprint_head(ledger.manifest))
    with publish_table(path, TILES_SCHEMA) as table:
        for job in jobs:
            with pq.ParquetFile(job.rows_path) as part:
                for batch in part.iter_batches(BATCH_ROWS):
                    table.add_table(pa.Table.from_batches([batch]))
                    digest.update(batch["crc32c"].to_numpy().astype("<u4").tobytes())
                    tiles += batch.num_rows
    named = {shard.name for job in jobs for shard in job.shards(ledger.done(job.key))}
    for shard in (out_dir / "tiles").glob("*.npy"):
        if shard.name not in named:
            shard.unlink()
    hashes = {path.name: file_hash(path)}
    return {"tiles": tiles, "fingerprint": digest.hexdigest(), "hashes": hashes}


def _mend(source: _Source, out_dir: Path, ledger: _TilesLedger, lost: Lost) -> None:
    """Make again what a complete output has lost.

    It is made beside the output, and moved there only if it is what it was.
    """
    beside = out_dir / BESIDE
    begun = ledger.manifest.begun_again()
    again = _beside(beside, begun)
    try:
        if lost.tables:
            if not again.manifest.complete:
                _make(source, beside, again)
            take_tables(beside, out_dir, ledger.manifest, again.manifest)
        else:
            jobs = jobs_of(plan_jobs(source.audio_dir, beside, begun, source.files), lost.shards)
            for folder in (beside / "tiles", beside / ROWS):
                folder.mkdir(exist_ok=True)
            advance = source.progress(sum(job.size for job in jobs))
            with Pool(min(source.workers, len(jobs)), lambda size, _: advance(size)) as pool:
                for _ in pool.each(run_jobs, [[job] for job in jobs]):
                    pass
            take_shards(out_dir, ledger.manifest, jobs, lost.shards)
    except UserError:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _beside(folder: Path, begun: TilesManifest) -> _TilesLedger:
    """The ledger of what is made again; what another job has left there is removed."""
    make_folder(folder)
    with suppress(UserError):
        ledger = _ledger(folder)
        ledger.resume(begun, folder)
        if ledger.manifest.begun_again() == begun:
            return ledger
    remove_any(folder)
    return _beside(folder, begun)


def plan_of(files: Sequence[InputFile]) -> str:
    """Hash of the list of recordings: their names, sizes and ends."""
    return fingerprint([[portable(file.path), file.size, file.ends] for file in files])


def plan_jobs(
    audio_dir: Path, out_dir: Path, manifest: TilesManifest, files: Sequence[InputFile]
) -> list[PrepJob]:
    """Consecutive recordings, grouped by number and size."""
    groups: list[list[InputFile]] = [[]]
    for file in files:
        if len(groups[-1]) >= _JOB_FILES or sum(f.size for f in groups[-1]) >= _JOB_BYTES:
            groups.append([])
        groups[-1].append(file)
    named = {"settings", "augment", "clock", "normalization"}
    frame = manifest.model_dump(mode="json", include=named)
    return [
        PrepJob(
            index=index,
            key=fingerprint([frame, index, [[portable(f.path), f.size, f.ends] for f in group]]),
            audio_dir=audio_dir,
            out_dir=out_dir,
            manifest=manifest,
            files=tuple(group),
        )
        for index, group in enumerate(groups)
    ]


def _batched(jobs: Sequence[PrepJob], workers: int) -> list[list[PrepJob]]:
    """Jobs in rows: short ones together; none waits in the journal for many large ones."""
    together = min(max(len(jobs) // (_SHARES * workers), 1), _TOGETHER)
    rows: list[list[PrepJob]] = [[]]
    for job in jobs:
        if len(rows[-1]) == together or sum(each.size for each in rows[-1]) > 2 * _JOB_BYTES:
            rows.append([])
        rows[-1].append(job)
    return [row for row in rows if row]


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, but for what an interrupted first write left."""
    return folder.is_dir() and all(
        is_temporary(path) or path.name == LOCK for path in folder.iterdir()
    )


def _leftovers(out_dir: Path) -> list[Path]:
    """What is of no use in a complete output: a killed job may have left it."""
    names = (ROWS, BESIDE, LOCK, LedgerFiles.inside(out_dir, _COMMAND).journal.name)
    inside = (*out_dir.iterdir(), *(out_dir / "tiles").glob("*"))
    return [path for path in inside if is_temporary(path) or path.name in names]


def _tidy(out_dir: Path) -> None:
    """Remove leftovers, except the lock, which is held."""
    for path in _leftovers(out_dir):
        if path.name != LOCK:
            remove_any(path)


def _summary(
    out_dir: Path, ledger: _TilesLedger, files: Sequence[InputFile], *, reused: bool
) -> PrepSummary:
    rows = ledger.read_table()
    refused = rows.filter(pc.equal(rows["status"], "refused")).to_pylist()
    statuses = pc.value_counts(rows["status"]).to_pylist()
    done = (out_dir / "prep.json").stat().st_mtime_ns
    newer = (portable(file.path) for file in files if file.mtime_ns > done)
    pattern = ledger.manifest.clock.timestamp_pattern
    untimed = pc.not_equal(pc.fill_null(rows["start_source"], ""), "pattern")
    return PrepSummary(
        out_dir=out_dir,
        recordings=len(rows),
        hours=(pc.sum(rows["duration_s"]).as_py() or 0.0) / 3600,
        tiles=pc.sum(rows["tiles"]).as_py(),
        statuses={count["values"]: count["counts"] for count in statuses},
        refused=[(row["path"], row["reason"], row["detail"]) for row in refused],
        reused=reused,
        untimed=pc.sum(untimed).as_py() if pattern else 0,
        rewritten=tuple(newer) if reused else (),
    )


def _ignored(_: int) -> Callable[[int], None]:
    return lambda _: None
