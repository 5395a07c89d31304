"""A folder of tiles: what an earlier job left there, and what this one makes or mends."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from ulmo.config import UserError
from ulmo.jobs.executor import Pool
from ulmo.jobs.inputs import InputFile
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.prep.job import PrepJob, is_of, plan_jobs, run_jobs
from ulmo.pipelines.prep.statistics import corpus_constants
from ulmo.preprocessing.store import (
    AGAIN,
    BESIDE,
    GO_ON,
    ROWS,
    SHARD,
    TilesManifest,
    fingerprint_head,
    read_tiles_table,
)
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.atomic import is_temporary, make_folder
from ulmo.storage.faults import reading_error, remove_any
from ulmo.storage.journal import Entry
from ulmo.storage.ledger import Ledger
from ulmo.storage.lock import LOCK, is_free
from ulmo.storage.manifest import TABLE, LedgerFiles
from ulmo.storage.names import portable
from ulmo.storage.open_folder import open_folder
from ulmo.storage.plain_file import file_hash
from ulmo.storage.removal import remove_if_possible
from ulmo.storage.tables import publish_table, read_recorded

_TOGETHER = 8  # jobs of a worker in a row, at most; only after the last it waits for the disk
_BATCH_BYTES = 16 << 20  # of recordings that a worker does in a row, so that none waits for long
_SHARES = 4  # rows of jobs for each worker, at least, so that none is idle at the end
_TILES_TABLE = "tiles.parquet"
_NAMED = 3  # recordings of each kind in a message
# In place of the plan, where recordings changed or could not be read: the next job compares rows.
_OTHERS = "changed while they were read"
_CHOOSE = "choose a new folder"


class Source(NamedTuple):
    """The recordings, and how they are worked on."""

    audio_dir: Path
    files: Sequence[InputFile]
    workers: int
    # Called with the bytes of all inputs; returns a callback taking the bytes done since last call.
    progress: Callable[[int], Callable[[int], None]]


class _Lost(NamedTuple):
    """What a complete output lacks."""

    shards: frozenset[str]  # names of those that have rows in tiles.parquet
    tables: bool  # whether a table is missing or damaged; then nothing says which shards are

    def __bool__(self) -> bool:
        return bool(self.shards) or self.tables


class PrepOutput:
    """A folder of tiles, which is new, or was begun with the same settings.

    The constructor writes nothing. Raises UserError if the folder has other files, or tiles of
    other settings or recordings. Recordings may be added, and refused ones may change or go; with
    `accept_changes` all of them may. Then those modified since the output was complete count as
    changed too, though their sizes and ends are the same.
    """

    def __init__(
        self, folder: Path, source: Source, wanted: TilesManifest, *, accept_changes: bool = False
    ) -> None:
        self._folder = folder
        self._source = source
        files = LedgerFiles.inside(folder, "prep")
        self.ledger = Ledger(files, TilesManifest, Prepared, remedy=GO_ON, anew=AGAIN)
        if self.ledger.is_new and folder.exists() and not is_free(folder):
            raise UserError(f"{folder} exists and holds other things: choose a new folder")
        self.ledger.resume(wanted, folder)
        self._earlier: tuple[TilesManifest, list[InputFile]] | None = None
        made = self.ledger.manifest
        modified = self.modified() if made.complete else []
        if made.plan != wanted.plan or (modified and accept_changes):
            if made.complete:
                if not accept_changes:
                    self._refuse_others()
                self._earlier = made, modified
            self.ledger.replace(wanted)

    def modified(self) -> list[InputFile]:
        """Recordings that were written to after the output was complete, or whose logs were."""
        done = self.ledger.files.manifest.stat().st_mtime_ns
        return [file for file in self._source.files if max(file.times) > done]

    @property
    def is_finished(self) -> bool:
        """Whether nothing is lost, and nothing is left of a killed job."""
        complete = self.ledger.manifest.complete
        return complete and not self._left_overs() and not self._find_lost()

    def finish(self) -> bool:
        """Make or mend what is not there. Returns whether there was nothing to make."""
        lost = None
        if not self.ledger.manifest.complete:
            self._make()
        elif lost := self._find_lost():
            self._mend(lost)
        for path in self._left_overs():
            if path.name != LOCK:
                remove_any(path, below=self._folder)
        return lost is not None and not lost

    def _jobs(self) -> list[PrepJob]:
        source = self._source
        return plan_jobs(source.audio_dir, self._folder, self.ledger.manifest, source.files)

    def _make(self) -> None:
        """Do the jobs that are not done, then write the tables."""
        ledger, source = self.ledger, self._source
        ledger.update()  # first: a folder without prep.json is not ours
        self._make_folders()
        advance = source.progress(sum(file.size for file in source.files))
        workers = min(source.workers, len(source.files))
        with Pool(workers, lambda size, _: advance(size)) as pool:
            settings = ledger.manifest.settings
            if settings.learns_constants and ledger.manifest.normalization is None:
                learned = corpus_constants(pool, source.audio_dir, source.files, settings)
                plan = ledger.manifest.plan if learned.is_final else _OTHERS
                ledger.update(normalization=learned.normalization, plan=plan)
            jobs = self._jobs()
            done = {job.key for job in jobs if self._is_done(job)}
            kept = self._kept([job for job in jobs if job.key not in done])
            recordings = sum(len(job.files) for job in jobs)
            with ledger.writing((job.key for job in jobs if job.key in done), recordings, kept):
                missing = [job for job in jobs if not ledger.has_noted(job.key)]
                if len(missing) < len(jobs):
                    advance(sum(job.size for job in jobs if ledger.has_noted(job.key)))
                for batch, found in pool.each(run_jobs, _batched(missing, workers)):
                    for job, made in zip(batch, found, strict=True):
                        ledger.add(job.key, *made)
                merged = self._merge(jobs)
                if not all(is_of(ledger.done(job.key), job) for job in jobs):
                    merged["plan"] = _OTHERS
                ledger.finish((job.key for job in jobs), recordings=recordings, **merged)

    def _make_folders(self) -> None:
        for folder in (self._folder / "tiles", self._folder / ROWS):
            make_folder(folder, _CHOOSE, below=self._folder)

    def _kept(self, jobs: Sequence[PrepJob]) -> Iterator[Entry[Prepared]]:
        """Jobs of the output that was complete of which nothing changed, for the journal.

        The rows of their tiles, which are in tiles.parquet alone, are written for each job again.
        If a table is lost, all is made anew.
        """
        if self._earlier is None:
            return
        manifest, modified = self._earlier
        try:
            tiles = _by_prefix(read_tiles_table(self._folder, manifest))
        except UserError:
            return
        changed = set(modified)
        for job in jobs:
            rows = self.ledger.done(job.key)
            if changed.isdisjoint(job.files) and self._has_tiles(job, rows):
                with publish_table(job.rows_path, TILES_SCHEMA, below=self._folder) as table:
                    table.add_table(tiles.get(job.prefix, TILES_SCHEMA.empty_table()))
                yield Entry(job.key, rows, table.hash)

    def _is_done(self, job: PrepJob) -> bool:
        """Whether a job is in the journal, its tiles are there, and so are their rows, unchanged.

        Of the tiles themselves, each has its checksum in its row.
        """
        rows, recorded = self.ledger.done(job.key), self.ledger.file_hash(job.key)
        return bool(recorded) and self._has_tiles(job, rows) and _hash(job) == recorded

    @staticmethod
    def _has_tiles(job: PrepJob, rows: Sequence[Prepared]) -> bool:
        """Whether these rows are those of a job, and its tiles are there."""
        return is_of(rows, job) and all(path.is_file() for path in job.shards(rows))

    def _merge(self, jobs: Sequence[PrepJob]) -> dict[str, Any]:
        """Write tiles.parquet; returns values for the manifest.

        Shards that belong to none of the jobs are an earlier plan's, and are removed.
        """
        path = self._folder / _TILES_TABLE
        tiles = 0
        digest = hashlib.sha256(fingerprint_head(self.ledger.manifest))
        with publish_table(path, TILES_SCHEMA) as table:
            for job in jobs:
                rows = _tile_rows(job, self.ledger.file_hash(job.key))
                table.add_table(rows)
                digest.update(rows["crc32c"].to_numpy().astype("<u4").tobytes())
                tiles += len(rows)
        named = {shard.name for job in jobs for shard in job.shards(self.ledger.done(job.key))}
        with open_folder(self._folder / "tiles", below=self._folder) as shards:
            for name in shards.names():
                if SHARD.fullmatch(name) and name not in named:
                    shards.remove(name)
        hashes = {path.name: table.hash}
        return {"tiles": tiles, "fingerprint": digest.hexdigest(), "hashes": hashes}

    def _find_lost(self) -> _Lost:
        """Shards and tables of a complete output that are missing or damaged.

        Raises UserError if something cannot be read, as it may be whole.
        """
        try:
            self.ledger.check_rows()
            tiles = read_tiles_table(self._folder, self.ledger.manifest)
        except UserError as error:
            if reading_error(error):
                raise
            return _Lost(frozenset(), tables=True)
        names = tiles["shard"].unique().to_pylist()
        shards = self._folder / "tiles"
        missing = (name for name in names if not (shards / Path(name).name).is_file())
        return _Lost(frozenset(missing), tables=False)

    def _mend(self, lost: _Lost) -> None:
        """Make what is lost in a folder beside, and move it here if its tiles are the same.

        A killed job may have moved a part of it; the manifest comes last.
        """
        beside, manifest = self._folder / BESIDE, self.ledger.manifest
        again = self._beside(beside, manifest.begun_again())
        try:
            if lost.tables:
                if not again.ledger.manifest.complete:
                    again._make()
                made = again.ledger.manifest
                named = ("recordings", "tiles", "fingerprint")
                is_same = all(getattr(made, name) == getattr(manifest, name) for name in named)
                tables = (beside / name for name in (_TILES_TABLE, TABLE))
                shards = sorted((beside / "tiles").glob("*.npy"))
                paths = [*shards, *filter(Path.exists, tables)]
            else:
                made = manifest
                jobs = again._make_shards(lost.shards)
                tiles = _by_prefix(read_tiles_table(self._folder, manifest))
                is_same = all(
                    job.prefix in tiles and _tile_rows(job, recorded).equals(tiles[job.prefix])
                    for job, recorded in jobs
                )
                shards = sorted((beside / "tiles").glob("*.npy"))
                paths = [shard for shard in shards if shard.name in lost.shards]
            if not is_same:
                raise UserError(
                    f"{self._folder}: its recordings are not what they were: add --accept-changes "
                    "to prepare them anew, or choose a new folder"
                )
        except UserError:
            remove_if_possible(beside)
            raise
        make_folder(self._folder / "tiles", _CHOOSE, below=self._folder)
        self._move(beside, paths)
        self.ledger.replace(made)
        self.ledger.update()

    def _move(self, beside: Path, paths: Sequence[Path]) -> None:
        """Move files from the folder beside to their places here, the tables last."""
        for place in ("tiles", ""):
            made = open_folder(beside / place, below=self._folder)
            with made as old, open_folder(self._folder / place, below=self._folder) as new:
                for path in paths:
                    if path.parent == beside / place:
                        old.move(path.name, path.name, new)

    def _make_shards(self, names: frozenset[str]) -> list[tuple[PrepJob, str]]:
        """Do the jobs that make some shards, without a ledger; returns the hashes of their rows."""
        self._make_folders()
        prefixes = {_prefix(name) for name in names}
        jobs = [job for job in self._jobs() if job.prefix in prefixes]
        advance = self._source.progress(sum(job.size for job in jobs))
        with Pool(min(self._source.workers, len(jobs)), lambda size, _: advance(size)) as pool:
            found = pool.each(run_jobs, [[job] for job in jobs])
            return [(job, made.tile_rows) for (job,), (made,) in found]

    def _beside(self, folder: Path, begun: TilesManifest) -> "PrepOutput":
        """The output that is made beside; what another job has left there is removed."""
        make_folder(folder, _CHOOSE, below=self._folder)
        with suppress(UserError):
            output = PrepOutput(folder, self._source, begun)
            if output.ledger.manifest.begun_again() == begun:
                return output
        remove_any(folder)
        return self._beside(folder, begun)

    def _refuse_others(self) -> None:
        """Raise UserError unless the recordings that tiles were made of are still the same."""
        folder = self._folder
        try:
            rows = self.ledger.rows()
        except UserError as error:
            if reading_error(error):
                raise
            raise UserError(
                f"{folder} was made of other recordings, and has lost the table of them: name the "
                "folder that it was made of, as it was, or choose a new folder"
            ) from None
        here = {portable(file.path): (file.size, file.ends) for file in self._source.files}
        there = {row.path: (row.bytes, row.ends_crc32c) for row in rows if row.status != "refused"}
        changes = {
            "changed": [path for path in there if here.get(path, there[path]) != there[path]],
            "gone": [path for path in there if path not in here],
        }
        if any(changes.values()):
            changes["added"] = sorted(here.keys() - {row.path for row in rows})
            words = "; ".join(_some(kind, paths) for kind, paths in changes.items() if paths)
            raise UserError(
                f"{folder} was made of other recordings ({words}): add --accept-changes to prepare "
                "what changed, or choose a new folder"
            )

    def _left_overs(self) -> list[Path]:
        """What a killed job may have left; a complete output does not need it."""
        names = (ROWS, BESIDE, LOCK, self.ledger.files.journal.name)
        found = [
            path for path in self._folder.iterdir() if is_temporary(path) or path.name in names
        ]
        with suppress(FileNotFoundError, NotADirectoryError):  # or a link, which verify names
            tiles = self._folder / "tiles"
            with open_folder(tiles, below=self._folder) as shards:
                found += filter(is_temporary, map(tiles.joinpath, shards.names()))
        return found


def _some(kind: str, paths: Sequence[str]) -> str:
    """How many recordings, and the first of them: "4 changed: a.wav, b.wav, c.wav and others"."""
    named = ", ".join(paths[:_NAMED]) + (" and others" if len(paths) > _NAMED else "")
    return f"{len(paths)} {kind}: {named}"


def _tile_rows(job: PrepJob, recorded: str) -> pa.Table:
    """The rows of a job's tiles. Raises UserError unless their file has the recorded hash."""
    return read_recorded(job.rows_path, TILES_SCHEMA, recorded, remedy=GO_ON, anew=AGAIN)


def _hash(job: PrepJob) -> str | None:
    """The hash of the file of a job's rows; None if it is not there, or cannot be read."""
    with suppress(OSError):
        return file_hash(job.rows_path)
    return None


def _by_prefix(tiles: pa.Table) -> dict[str, pa.Table]:
    """The rows of each job, which stand together, by how the names of its shards begin."""
    found, place = {}, 0
    for prefix, names in groupby(tiles["shard"].to_pylist(), _prefix):
        count = len(list(names))
        found[prefix] = tiles.slice(place, count)
        place += count
    return found


def _prefix(shard: str) -> str:
    return shard.partition("-")[0] + "-"


def _batched(jobs: Sequence[PrepJob], workers: int) -> list[list[PrepJob]]:
    """Jobs that a worker does in a row: several small ones, or a large one.

    They are noted in the journal together, so a kill costs little.
    """
    together = min(max(len(jobs) // (_SHARES * workers), 1), _TOGETHER)
    rows: list[list[PrepJob]] = [[]]
    for job in jobs:
        if len(rows[-1]) == together or sum(each.size for each in rows[-1]) > _BATCH_BYTES:
            rows.append([])
        rows[-1].append(job)
    return [row for row in rows if row]
