"""Jobs of ulmo-prep: a few recordings each become shards, tile rows and a row for each recording.

The next job is computed while the tiles of the one before are written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import PrepSettings
from ulmo.jobs.executor import Executor, evenly
from ulmo.jobs.inputs import InputFile, input_file
from ulmo.jobs.outcome import Prepared
from ulmo.jobs.progress import ReadingProgress, lost_with
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep.writer import Disk, TileWriter
from ulmo.preprocessing.augment import draw_view, generator, view_tiles
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.reading.audio import Recording, RefusedError, channel_list, open_recording
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.refusal import MAY_PASS, WORKER_LOST
from ulmo.preprocessing.spectrogram import find_constants, normalized_tiles
from ulmo.preprocessing.store import ROWS, TilesManifest, tiles_per_shard
from ulmo.preprocessing.stretches import Stretch, read_stretches, tile_grid
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.preprocessing.times.clock import Clock, Span, Timing
from ulmo.storage.names import portable
from ulmo.storage.sealed import fingerprint, fingerprint_of_all
from ulmo.storage.tables import TableWriter, publish_table

_CHANGED = "changed"  # the reason of a recording that was written to while it was read
_JOB_FILES = 64
_JOB_BYTES = 8 << 20  # a job ends with the recording that reaches either: small enough to balance
_TOGETHER = 8  # jobs of a worker in a row, at most; only after the last it waits for the disk
_BATCH_BYTES = 16 << 20  # of recordings that a worker does in a row, so that none waits for long
_SHARES = 4  # rows of jobs for each worker, at least, so that none is idle at the end


@dataclass(frozen=True)
class PrepJob:
    """A few recordings, and everything that decides about their tiles.

    `plan` is a hash of it all but for the times of the files: they are in `keys`.
    """

    index: int
    plan: str
    audio_dir: Path
    out_dir: Path
    manifest: TilesManifest
    files: tuple[InputFile, ...]

    @property
    def settings(self) -> PrepSettings:
        """The settings of ulmo-prep."""
        return self.manifest.settings

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @cached_property
    def keys(self) -> list[str]:
        """The key of each of its recordings, as it was when the job was planned."""
        return list(map(self.key_of, self.files))

    def key_of(self, file: InputFile) -> str:
        """The key of one of its recordings, which may have changed since it was planned."""
        return file.key(self.plan, portable(file.path))

    @property
    def rows_path(self) -> Path:
        """Where the rows of its tiles lie, until the tables are written."""
        return self.out_dir / ROWS / f"{self.prefix}{fingerprint(self.keys)[:16]}.parquet"

    @property
    def prefix(self) -> str:
        """How the names of its shards begin."""
        return f"{self.index:06d}-"

    def shard_path(self, number: int) -> Path:
        """Where a shard of its tiles lies."""
        return self.out_dir / "tiles" / f"{self.prefix}{number:04d}.npy"

    def shards(self, rows: Sequence[Prepared]) -> list[Path]:
        """All its shards, once it is done and has given these rows."""
        tiles = sum(row.tiles for row in rows)
        return [
            self.shard_path(number)
            for number in range(-(-tiles // tiles_per_shard(self.settings.tile_size)))
        ]


class Source(NamedTuple):
    """The recordings, and how they are worked on."""

    audio_dir: Path
    files: Sequence[InputFile]
    spread: Spread
    # Called with the bytes of all inputs; returns a callback taking the bytes done since last call.
    progress: Callable[[int], Callable[[int], None]]

    def open(self, jobs: int, advance: Callable[[int], None]) -> Executor:
        """What runs the jobs of some recordings, to be entered."""
        paths = [self.audio_dir / file.path for file in evenly(self.files)]
        return self.spread.open(jobs, lambda size, _: advance(size), inputs=paths)


def plan_of(files: Sequence[InputFile]) -> str:
    """Hash of a list of recordings: their names, sizes and ends."""
    return fingerprint_of_all(_named(files))


def is_of(rows: Sequence[Prepared], job: PrepJob) -> bool:
    """Whether the rows of a job describe exactly the recordings of its plan, and may stay.

    A recording may change before it is read, and change back later.
    """
    read = [[row.path, row.bytes, row.ends_crc32c] for row in rows]
    again = (row.reason in MAY_PASS and row.bytes for row in rows)
    return read == list(_named(job.files)) and not any(again)


def _named(files: Iterable[InputFile]) -> Iterator[list[Any]]:
    return ([portable(file.path), file.size, file.ends] for file in files)


def plan_jobs(
    audio_dir: Path, out_dir: Path, manifest: TilesManifest, files: Iterable[InputFile]
) -> Iterator[PrepJob]:
    """Consecutive recordings, grouped by number and size."""
    named = {"settings", "augment", "clock", "normalization"}
    frame = manifest.model_dump(mode="json", include=named)
    for index, group in enumerate(_groups(files)):
        yield PrepJob(
            index=index,
            plan=fingerprint([frame, index, list(_named(group))]),
            audio_dir=audio_dir,
            out_dir=out_dir,
            manifest=manifest,
            files=tuple(group),
        )


def _groups(files: Iterable[InputFile]) -> Iterator[list[InputFile]]:
    """The recordings of each job; without recordings, there is one job that has none."""
    group: list[InputFile] = []
    size = 0
    for file in files:
        if len(group) >= _JOB_FILES or size >= _JOB_BYTES:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    yield group


def in_batches(jobs: Iterable[PrepJob], count: int, workers: int) -> Iterator[list[PrepJob]]:
    """Jobs that a worker does in a row: several small ones, or a large one.

    They are noted in the journal together, so a kill costs little. count: of `jobs`.
    """
    together = min(max(count // (_SHARES * workers), 1), _TOGETHER)
    batch: list[PrepJob] = []
    for job in jobs:
        if len(batch) == together or sum(each.size for each in batch) > _BATCH_BYTES:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


class JobResult(NamedTuple):
    """What a job has made."""

    rows: list[Prepared]
    tile_rows: str  # SHA-256 of the file at its `rows_path`, as it was written


def run_jobs(jobs: Sequence[PrepJob]) -> list[JobResult]:
    """Prepare the recordings of some jobs; returns their rows once all tiles are on the disk."""
    with Disk() as disk:
        made = [_run_job(job, disk) for job in jobs]
    return [JobResult(rows, table.hash) for rows, table in made]


class _AgainError(Exception):
    """A recording has tiles that are of no use, so its job begins again."""


class _Attempts(NamedTuple):
    """What earlier attempts at a job have shown."""

    changed: set[Path]  # recordings that another program changed while ulmo read them
    refused: dict[Path, RefusedError]  # recordings that were refused once they had tiles


def _run_job(job: PrepJob, disk: Disk) -> tuple[list[Prepared], TableWriter]:
    """Prepare a job's recordings; from the beginning if one changes, or is refused too late."""
    earlier = _Attempts(set(), {})
    while True:
        progress: list[ReadingProgress] = []
        try:
            return _try_job(job, disk, earlier, progress)
        except _AgainError:
            for each in progress:
                each.undo()


def _try_job(
    job: PrepJob, disk: Disk, earlier: _Attempts, progress: list[ReadingProgress]
) -> tuple[list[Prepared], TableWriter]:
    """Prepare a job's recordings, but for those that are known to be refused.

    Raises _AgainError, and notes why in `earlier`, if one changes for the first time, or is refused
    and has tiles.
    """
    frontend = build_frontend(job.settings)
    clock = Clock.of(job.manifest.clock)
    outcomes = []
    with ExitStack() as opened:
        rows = opened.enter_context(publish_table(job.rows_path, TILES_SCHEMA, below=job.out_dir))
        writer = TileWriter(job.shard_path, job.settings, rows, disk)
        for planned in job.files:
            path = planned.path
            file = input_file(path, job.audio_dir) if path in earlier.changed else planned
            timing = None
            writer.begin(portable(path))
            progress.append(ReadingProgress(planned.size))
            try:
                if lost := lost_with(job.audio_dir / path):
                    raise RefusedError(WORKER_LOST, lost)
                timing = clock.timing(job.audio_dir / path)
                if path in earlier.refused:
                    raise earlier.refused[path]
                if timing.log != file.log:
                    raise RefusedError(_CHANGED, "its log has changed since the job was planned")
                facts = timing.facts(
                    _prepare_recording(job, file, timing, frontend, writer, progress[-1])
                )
            except RefusedError as refusal:
                is_first = refusal.reason == _CHANGED and path not in earlier.changed
                if is_first:
                    earlier.changed.add(path)
                elif writer.tiles:
                    earlier.refused[path] = refusal
                if is_first or writer.tiles:
                    raise _AgainError from None
                facts = clock.row(job.audio_dir / path, timing, refusal)
            progress[-1].end()
            outcomes.append(
                Prepared(
                    path=portable(path),
                    bytes=file.size,
                    ends_crc32c=file.ends,
                    key=job.key_of(file),
                    tiles=writer.tiles,
                    **facts,
                )
            )
        writer.flush()
        disk.publish(opened.pop_all())
    return outcomes, rows


def _prepare_recording(
    job: PrepJob,
    file: InputFile,
    timing: Timing,
    frontend: FrontEnd,
    writer: TileWriter,
    progress: ReadingProgress,
) -> dict[str, Any]:
    """Write one recording's tiles and their views; returns values of its row."""
    settings, hearing = job.settings, Hearing(frontend, job.settings)
    writer.start = timing.start
    with open_recording(job.audio_dir / file.path, full_scale=settings.full_scale) as recording:
        is_planned = (recording.size, recording.mtime_ns) == (file.size, file.mtime_ns)
        if not is_planned or timing.signature not in (None, recording.signature):
            raise RefusedError(_CHANGED, "it has changed since the job was planned")
        chosen = channel_list(settings.channels, recording.channels)
        passes = 2 if settings.normalization == "recording" else 1
        progress.follow(recording, len(chosen) * (passes + job.manifest.augment.views - 1))
        with in_turn(recording, chosen):
            for number in chosen:
                channel = _Channel(job, recording, timing.spans, number, writer)
                plain = channel.write_tiles(hearing, frontend)
                channel.write_views(portable(file.path), plain)
    if not writer.tiles:
        raise RefusedError(
            "too_short",
            f"{recording.frames_read} samples are less than a frame",
            declared=recording.frames_declared,
            missing=recording.frames_promised,
        )
    return hearing.facts(recording.facts()) | {"stretches": len(plain.starts)}


class _WrittenTiles(NamedTuple):
    """What views need to know of the tiles of a channel."""

    # By the start of each stretch: first samples of its tiles, from its own first sample on, at the
    # settings' rate.
    starts: dict[Fraction, list[int]]
    constants: Normalization | None  # of all tiles; None if each has its own
    level: float  # root mean square of the channel's samples


class _Channel(NamedTuple):
    """A channel of an open recording, and where its tiles go."""

    job: PrepJob
    recording: Recording
    spans: tuple[Span, ...]
    channel: int | None
    writer: TileWriter

    def read(self, rate: int, hearing: Hearing | None = None) -> Iterator[Stretch]:
        """Its samples at a rate, from the first on at each call."""
        return read_stretches(
            *(self.recording, self.channel, rate, self.spans),
            hop=tile_grid(self.job.settings),
            hearing=hearing,
        )

    def write_tiles(self, hearing: Hearing, frontend: FrontEnd) -> _WrittenTiles:
        """Write the tiles, each at its true time; none crosses a gap."""
        settings = self.job.settings
        rate = settings.true_rate
        source = partial(self.read, rate, hearing)
        constants = find_constants(source, frontend, settings, self.job.manifest.normalization)
        tiles = 0
        starts: dict[Fraction, list[int]] = {}
        for stretch in source():
            begun = starts.setdefault(stretch.start, [])
            for tile in normalized_tiles(
                stretch.blocks, frontend, settings, constants, hearing=hearing
            ):
                start = tile.start_frame * settings.hop_length
                true = stretch.start + Fraction(start, rate)
                self.writer.add(
                    tile,
                    channel=self.channel,
                    tile=tiles,
                    view=0,
                    start_sample=round(true * rate),
                    start_s=float(true),
                )
                begun.append(start)
                tiles += 1
        return _WrittenTiles(starts, constants, hearing.level)

    def write_views(self, name: str, plain: _WrittenTiles) -> None:
        """Write all views but the tiles themselves; `name` is that of the recording."""
        settings, augment = self.job.settings, self.job.manifest.augment
        channel = 0 if self.channel is None else self.channel + 1
        for view in range(1, augment.views):
            rng = generator(augment, name, channel, view)
            drawn = draw_view(settings, augment, rng)
            true_rate = drawn.sample_rate * settings.time_expansion
            number = 0
            for stretch in self.read(round(true_rate)):
                for one in view_tiles(
                    *(stretch.blocks, drawn, settings, augment, plain.starts[stretch.start]),
                    level=plain.level,
                    constants=plain.constants,
                    rng=rng,
                ):
                    start = one.tile.start_frame * drawn.hop_length
                    start_s = float(stretch.start) + start / true_rate
                    self.writer.add(
                        one.tile,
                        channel=self.channel,
                        tile=number,
                        view=view,
                        augmentation=one.describe(drawn),
                        start_sample=round(start_s * settings.true_rate),
                        start_s=start_s,
                    )
                    number += 1
