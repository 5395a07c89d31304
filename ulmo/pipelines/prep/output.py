"""A folder of tiles: what an earlier job left there, and what this one makes or mends."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ulmo.config import UserError
from ulmo.jobs.inputs import InputFile
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.prep.changes import (
    Lost,
    PrepLedger,
    UnreadError,
    prep_ledger,
    refuse_others,
    refuse_unread,
)
from ulmo.pipelines.prep.done_jobs import DoneJobs
from ulmo.pipelines.prep.job import (
    JobResult,
    PrepJob,
    Source,
    in_batches,
    is_of,
    plan_jobs,
    run_jobs,
)
from ulmo.pipelines.prep.job_rows import by_prefix, prefix_of, rows_hash, same_rows, tile_rows
from ulmo.pipelines.prep.replacement import (
    CHOOSE,
    TILES_TABLE,
    left_overs,
    move_files,
    remove_others,
    replace_output,
)
from ulmo.pipelines.prep.statistics import corpus_constants, learned_of
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.preprocessing.store import (
    BESIDE,
    ROWS,
    TilesManifest,
    fingerprint_head,
    read_tiles_table,
)
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.atomic import make_folder
from ulmo.storage.faults import reading_error, remove_any
from ulmo.storage.journal import Entry
from ulmo.storage.ledger import refuse_folders
from ulmo.storage.lock import LOCK, is_free
from ulmo.storage.manifest import TABLE
from ulmo.storage.names import portable
from ulmo.storage.packed import Index
from ulmo.storage.removal import remove_if_possible
from ulmo.storage.tables import publish_table

# In place of the plan, where recordings changed or could not be read: the next job compares rows.
_OTHERS = "changed while they were read"


class PrepOutput:
    """A folder of tiles, which is new, or was begun with the same settings.

    The constructor writes nothing. Raises UserError if the folder has other files, or tiles of
    other settings or recordings, or if recordings that have tiles cannot be read now. Recordings
    may be added, and refused ones may change or go; with `accept_changes` all of them may. Then
    those whose time alone is another count as changed too.

    `earlier` is the output that this one is about to replace: jobs of which nothing changed have
    their tiles there.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        wanted: TilesManifest,
        *,
        accept_changes: bool = False,
        earlier: "PrepOutput | None" = None,
    ) -> None:
        self._folder = folder
        self._source = source
        self._earlier = earlier
        self.ledger: PrepLedger = prep_ledger(folder)
        if self.ledger.is_new and folder.exists() and not is_free(folder):
            raise UserError(f"{folder} exists and holds other things: choose a new folder")
        self.ledger.resume(wanted, folder)
        refuse_folders(folder / TILES_TABLE)
        # The manifest of the output that is to replace this one, which has tiles of its own.
        self._next: TilesManifest | None = None
        made = self.ledger.manifest
        if made.learned_of not in ("", learned_of(source.files)):
            made = made.model_copy(update={"normalization": None, "learned_of": ""})
            self.ledger.replace(made)
        # Recordings that are not those of the complete output, though sizes and ends are the same.
        self.modified: list[InputFile] = []
        if made.plan != wanted.plan:
            unread = {portable(file.path): file.unread for file in source.files if file.unread}
            refuse_unread(self.ledger, folder, unread)
            if made.complete and not accept_changes:
                refuse_others(self.ledger, folder, source.files)
        elif made.complete:
            files = ((job, file) for job in self._jobs() for file in job.files)
            self.modified = [file for job, file in files if not self.ledger.has(job.key_of(file))]
        if made.plan != wanted.plan or (self.modified and accept_changes):
            if made.complete:
                self._next = wanted
            else:
                self.ledger.replace(wanted)
        if earlier is None and not self.ledger.is_new and not self.ledger.manifest.complete:
            begun = self.ledger.manifest
            # Jobs that are done again would write over tiles that may be all there is.
            self._next = begun.begun_again() if self._others(self._done()) else None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is lost, and nothing is left of a killed job."""
        complete = self.ledger.manifest.complete and self._next is None
        return complete and not left_overs(self.ledger.files) and not self._find_lost()

    def finish(self) -> bool:
        """Make or mend what is not there. Returns whether there was nothing to make."""
        lost = None
        if self._next is not None:
            self._replace(self._next)
        elif not self.ledger.manifest.complete:
            self._make()
        elif lost := self._find_lost():
            self._mend(lost)
        for path in left_overs(self.ledger.files):
            if path.name != LOCK:
                remove_any(path, below=self._folder)
        return lost is not None and not lost

    def _jobs(self) -> Iterator[PrepJob]:
        """All jobs, in their order; they are planned anew, so that not all are in memory."""
        source = self._source
        return plan_jobs(source.audio_dir, self._folder, self.ledger.manifest, source.files)

    def _make(self) -> None:
        """Do the jobs that are not done, then write the tables."""
        ledger, source = self.ledger, self._source
        prefixes = {job.prefix for job in self._jobs()}
        found = (self._folder / "tiles").glob("*.npy")
        refuse_folders(*(path for path in found if prefix_of(path.name) in prefixes))
        ledger.update()  # first: a folder without prep.json is not ours
        self._make_folders()
        advance = source.progress(sum(file.size for file in source.files))
        with source.open(len(source.files), advance) as executor:
            settings = ledger.manifest.settings
            if settings.learns_constants and ledger.manifest.normalization is None:
                learned = corpus_constants(executor, source.audio_dir, source.files, settings)
                plan = ledger.manifest.plan if learned.is_final else _OTHERS
                ledger.update(
                    normalization=learned.normalization, learned_of=learned.learned_of, plan=plan
                )
            done, recordings = self._done(), len(source.files)
            others = self._others(done)
            with ledger.writing(self._keys(done), recordings, self._kept(done), others):
                if done:
                    advance(sum(job.size for job in self._jobs() if job in done))
                missing = (job for job in self._jobs() if job not in done)
                batches = in_batches(missing, len(prefixes) - len(done), executor.workers)
                for batch, results in executor.each(run_jobs, batches):
                    for job, made in zip(batch, results, strict=True):
                        done.add(job, [row.key for row in made.rows])
                        for row in made.rows:
                            ledger.add(row.key, [row], made.tile_rows)
                self._refuse_unread(done)
                merged = self._merge(done)
                in_order = self._rows(self._keys(done))
                ledger.finish(in_order, recordings=recordings, learned_of="", **merged)

    def _make_folders(self) -> None:
        for folder in (self._folder / "tiles", self._folder / ROWS):
            make_folder(folder, CHOOSE, below=self._folder)

    def _done(self) -> DoneJobs:
        return DoneJobs(job for job in self._jobs() if self._is_done(job))

    def _keys(self, done: DoneJobs) -> Iterator[str]:
        """The keys of the rows of all jobs that are done, in the order of the jobs."""
        return (key for job in self._jobs() if job in done for key in done.keys_of(job))

    def _others(self, done: DoneJobs) -> list[str]:
        """The keys of all other rows that have tiles here: until the job ends, they are needed."""
        return [row.key for row in self.ledger.others(Index(self._keys(done))) if row.tiles]

    def _refuse_unread(self, done: DoneJobs) -> None:
        """Raise UnreadError if recordings that have tiles in the earlier output were refused.

        That is, for reasons that may pass.
        """
        if self._earlier is not None:
            rows = (row for row in self._rows(self._keys(done)) if row.reason in MAY_PASS)
            unread = {row.path: row.detail or "" for row in rows}
            refuse_unread(self._earlier.ledger, self._earlier._folder, unread)

    def _kept(self, done: DoneJobs) -> Iterator[Entry[Prepared]]:
        """Jobs of the earlier output of which nothing changed, for the journal.

        They are added to `done`. The rows of their tiles, which are in tiles.parquet alone if it is
        complete, are written for each job again. If a table is lost, all is made anew.
        """
        if (earlier := self._earlier) is None:
            return
        made, found = earlier.ledger.manifest, dict[str, pa.Table]()
        if made.complete:
            try:
                found = by_prefix(read_tiles_table(earlier._folder, made))
            except UserError as error:
                if reading_error(error):
                    raise
                return
        for job in self._jobs():
            if job not in done and self._is_kept(job):
                if made.complete:
                    tiles = found.get(job.prefix, TILES_SCHEMA.empty_table())
                else:
                    there = replace(job, out_dir=earlier._folder)
                    tiles = tile_rows(there, earlier._noted(job.keys).tile_rows)
                with publish_table(job.rows_path, TILES_SCHEMA, below=self._folder) as table:
                    table.add_table(tiles)
                done.add(job, job.keys)
                yield from (Entry(row.key, [row], table.hash) for row in earlier._rows(job.keys))

    def _is_kept(self, job: PrepJob) -> bool:
        """Whether the earlier output has the tiles of a job of which nothing changed."""
        earlier = self._earlier
        if earlier is None:
            return False
        there = replace(job, out_dir=earlier._folder)
        if not earlier.ledger.manifest.complete:
            return earlier._is_done(there)
        return earlier._has_tiles(there, earlier._noted(job.keys).rows)

    def _rows(self, keys: Iterable[str]) -> Iterator[Prepared]:
        """The rows of recordings by their keys, as far as they are done."""
        return (row for key in keys for row in self.ledger.done(key))

    def _noted(self, keys: Iterable[str]) -> JobResult:
        """What a job noted with these keys; its tile rows have no hash if it did not end."""
        entries = [self.ledger.entry(key) for key in keys]
        hashes = {entry.file_hash for entry in entries}
        rows = [row for entry in entries for row in entry.rows]
        return JobResult(rows, hashes.pop() if len(hashes) == 1 else "")

    def _is_done(self, job: PrepJob) -> bool:
        """Whether a job is in the journal, its tiles are there, and so are their rows, unchanged.

        Of the tiles themselves, each has its checksum in its row.
        """
        noted = self._noted(job.keys)
        has_tiles = bool(noted.tile_rows) and self._has_tiles(job, noted.rows)
        return has_tiles and rows_hash(job) == noted.tile_rows

    def _has_tiles(self, job: PrepJob, rows: Sequence[Prepared]) -> bool:
        """Whether these rows are those of a job, and its tiles are there."""
        if not is_of(rows, job):
            return False
        return self._is_kept(job) or all(path.is_file() for path in job.shards(rows))

    def _merge(self, done: DoneJobs) -> dict[str, Any]:
        """Write tiles.parquet, once all jobs are done; returns values for the manifest.

        Shards that belong to none of the jobs are an earlier plan's, and are removed; those of jobs
        that have their tiles in the earlier output are, too.
        """
        path = self._folder / TILES_TABLE
        learns = self.ledger.manifest.settings.learns_constants
        tiles, named, plan = 0, set[str](), self.ledger.manifest.plan
        digest = hashlib.sha256(fingerprint_head(self.ledger.manifest))
        with publish_table(path, TILES_SCHEMA) as table:
            for job in self._jobs():
                keys = done.keys_of(job)
                made = self._noted(keys)
                rows = tile_rows(job, made.tile_rows)
                table.add_table(rows)
                digest.update(rows["crc32c"].to_numpy().astype("<u4").tobytes())
                tiles += len(rows)
                if not self._is_kept(job):
                    named.update(shard.name for shard in job.shards(made.rows))
                # Constants may be those of a recording before it changed, whatever its row is of.
                if not is_of(made.rows, job) or (learns and keys != job.keys):
                    plan = _OTHERS
        remove_others(self._folder, named)
        values = {"tiles": tiles, "fingerprint": digest.hexdigest(), "plan": plan}
        return {**values, "hashes": {path.name: table.hash}}

    def _find_lost(self) -> Lost:
        """Shards and tables of a complete output that are missing or damaged.

        Raises UserError if something cannot be read, as it may be whole.
        """
        try:
            self.ledger.check_rows()
            tiles = read_tiles_table(self._folder, self.ledger.manifest)
        except UserError as error:
            if reading_error(error):
                raise
            return Lost(frozenset(), tables=True)
        names = tiles["shard"].unique().to_pylist()
        shards = self._folder / "tiles"
        missing = (name for name in names if not (shards / Path(name).name).is_file())
        return Lost(frozenset(missing), tables=False)

    def _mend(self, lost: Lost) -> None:
        """Make what is lost in a folder beside, and move it here if its tiles are the same.

        A killed job may have moved a part of it; the manifest comes last.
        """
        beside, manifest = self._folder / BESIDE, self.ledger.manifest
        again = self._beside(manifest.begun_again())
        try:
            if lost.tables:
                if not again.ledger.manifest.complete:
                    again._make()
                made = again.ledger.manifest
                named = ("recordings", "tiles", "fingerprint")
                is_same = all(getattr(made, name) == getattr(manifest, name) for name in named)
                tables = (beside / name for name in (TILES_TABLE, TABLE))
                shards = sorted((beside / "tiles").glob("*.npy"))
                paths = [*shards, *filter(Path.exists, tables)]
            else:
                made = manifest
                jobs = again._make_shards(lost.shards)
                tiles = by_prefix(read_tiles_table(self._folder, manifest))
                is_same = all(
                    job.prefix in tiles and same_rows(tile_rows(job, recorded), tiles[job.prefix])
                    for job, recorded in jobs
                )
                shards = sorted((beside / "tiles").glob("*.npy"))
                paths = [shard for shard in shards if shard.name in lost.shards]
            if not is_same:
                raise UserError(
                    f"{self._folder}: its recordings are not what they were: add --accept-changes "
                    "to prepare them anew, or choose a new folder"
                )
            refuse_folders(*(self._folder / path.relative_to(beside) for path in paths))
        except UserError:
            remove_if_possible(beside)
            raise
        make_folder(self._folder / "tiles", CHOOSE, below=self._folder)
        move_files(beside, self._folder, paths)
        self.ledger.replace(made)
        self.ledger.update()

    def _make_shards(self, names: frozenset[str]) -> list[tuple[PrepJob, str]]:
        """Do the jobs that make some shards, without a ledger; returns the hashes of their rows."""
        self._make_folders()
        prefixes = {prefix_of(name) for name in names}
        jobs = [job for job in self._jobs() if job.prefix in prefixes]
        advance = self._source.progress(sum(job.size for job in jobs))
        with self._source.open(len(jobs), advance) as executor:
            found = executor.each(run_jobs, [[job] for job in jobs])
            return [(job, made.tile_rows) for (job,), (made,) in found]

    def _replace(self, wanted: TilesManifest) -> None:
        """Make the output of the present recordings in a folder beside, and move it here.

        This one stays as it is until all of it is made.
        """
        again = self._beside(wanted, earlier=self)
        if not again.ledger.manifest.complete:
            again._make()
        replace_output(self._folder, self.ledger, again.ledger.manifest)

    def _beside(self, begun: TilesManifest, earlier: "PrepOutput | None" = None) -> "PrepOutput":
        """The output that is made beside; what another job has left there is removed."""
        folder = self._folder / BESIDE
        make_folder(folder, CHOOSE, below=self._folder)
        try:
            output = PrepOutput(folder, self._source, begun, earlier=earlier)
        except UnreadError:
            raise
        except UserError as error:
            if reading_error(error):
                raise
        else:
            made = output.ledger.manifest.begun_again()
            learned = begun.normalization or made.normalization
            same = begun.model_copy(
                update={"normalization": learned, "learned_of": made.learned_of}
            )
            if made == same and not output.modified:
                return output
        remove_any(folder)
        return self._beside(begun, earlier)
