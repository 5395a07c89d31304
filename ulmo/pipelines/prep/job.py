"""Jobs of ulmo-prep: a few recordings each become shards, and a record that they are done.

While the disk takes what one job has made, the next one is computed.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.config import PrepSettings
from ulmo.jobs.executor import progressed
from ulmo.jobs.inputs import InputFile, input_file, portable
from ulmo.jobs.progress import ReadingProgress
from ulmo.pipelines.prep.record import Job, JobRecord, Row, table_file
from ulmo.pipelines.prep.writer import Disk, TileWriter
from ulmo.preprocessing.audio import (
    Meter,
    Recording,
    RefusedError,
    channel_list,
    open_recording,
    read_channel,
)
from ulmo.preprocessing.augment import draw_view, generator, view_tiles
from ulmo.preprocessing.clock import Clock, Start
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.spectrogram import NormalizedTile, normalized_tiles
from ulmo.preprocessing.store import TILES_SCHEMA

Array = NDArray[np.float32]


def run_jobs(jobs: Sequence[Job]) -> None:
    """Prepare the recordings of some jobs, except those of which a record says that it is done."""
    with Disk() as disk:
        for job in jobs:
            if JobRecord.is_done(job):
                progressed(job.size)
            else:
                run_job(job, disk)


class _ChangedError(Exception):
    """A recording was written to while it was read: the tiles that it gave are of no use."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


def run_job(job: Job, disk: Disk) -> None:
    """Prepare a job's recordings; all anew where one changes meanwhile, and for the first time."""
    job.record_path.unlink(missing_ok=True)  # its shards are about to be replaced
    changes: Counter[Path] = Counter()
    while True:
        ways: list[ReadingProgress] = []
        try:
            return _try_job(job, disk, changes, ways)
        except _ChangedError as change:
            changes[change.path] += 1
            for way in ways:
                way.undo()


def _try_job(job: Job, disk: Disk, changes: Counter[Path], ways: list[ReadingProgress]) -> None:
    """Prepare a job's recordings, but for those that have changed twice."""
    frontend = build_frontend(job.settings)
    clock = Clock.of(job.clock)
    recordings = []
    with ExitStack() as opened:
        rows = opened.enter_context(table_file(job.rows_path, TILES_SCHEMA))
        writer = TileWriter(job, rows, disk)
        for planned in job.files:
            path = planned.path
            file = input_file(job.audio_dir, path) if changes[path] else planned
            start = clock.start(job.audio_dir / path)
            tiles = _Counted(writer, portable(path), start)
            way = ReadingProgress(planned.size)
            ways.append(way)
            try:
                if changes[path] > 1:
                    raise RefusedError("changed", "it changed while it was read, twice: try later")
                row = _prepare_recording(job, file, frontend, tiles, way)
            except RefusedError as refusal:
                if refusal.reason == "changed" and changes[path] < 2:
                    raise _ChangedError(path) from None
                row = _refused(refusal)
            way.end()
            if start is not None:
                row |= {"start_utc": start.microseconds, "start_source": start.source}
            facts = {"path": portable(path), "bytes": file.size, "ends_crc32c": file.ends}
            recordings.append({**facts, "tiles": tiles.count, **row})
        writer.flush()
        disk.close(opened.pop_all())
    record = JobRecord(key=job.key, shards=writer.shards, recordings=recordings)
    disk.do(record.write, job)


class _Counted:
    """Where the tiles of one recording go."""

    def __init__(self, writer: TileWriter, recording: str, start: Start | None) -> None:
        self._writer = writer
        self._recording = recording
        self._start = start
        self.count = 0

    def add(self, tile: NormalizedTile, /, *, start_s: float, **columns: Any) -> None:
        if self._start is not None:
            columns["start_utc"] = self._start.after(start_s)
        self._writer.add(self._recording, tile, start_s=start_s, **columns)
        self.count += 1


def _prepare_recording(
    job: Job, file: InputFile, frontend: FrontEnd, tiles: _Counted, way: ReadingProgress
) -> Row:
    """Write one recording's tiles and their views; its own row is returned."""
    with _open(job, file) as recording:
        first, *others = channel_list(job.settings.channels, recording.channels)
        twice = job.settings.normalization == "recording"
        passes = (1 + len(others)) * (2 if twice else 1)
        way.follow(recording, passes)
        plain = _write_tiles(job, recording, first, frontend, tiles)
    _write_views(job, file, first, plain, tiles)
    for channel in others:
        with _open(job, file) as recording:
            way.follow(recording, passes)
            plain = _write_tiles(job, recording, channel, frontend, tiles)
        _write_views(job, file, channel, plain, tiles)
    if not tiles.count:
        raise RefusedError(
            "too_short",
            f"{recording.frames_read} samples are less than a frame",
            declared=recording.frames_declared,
            missing=recording.frames_promised,
        )
    return _row(recording, job.settings)


@contextmanager
def _open(job: Job, file: InputFile) -> Iterator[Recording]:
    """Open a recording, unless it is another by now than the one that its row will tell of."""
    with open_recording(job.audio_dir / file.path) as recording:
        if (recording.size, recording.mtime_ns) != (file.size, file.mtime_ns):
            raise RefusedError("changed", "it is another than when the job was planned")
        yield recording


class Plain(NamedTuple):
    """The tiles of a channel, as far as their views need to know them."""

    starts: list[int]
    """Sample that each begins at, counted at the settings' rate."""
    constants: Normalization | None
    """What they were normalised with; None where each was by itself."""
    level: float
    """Root mean square of the channel's samples."""


def _write_tiles(
    job: Job, recording: Recording, channel: int | None, frontend: FrontEnd, tiles: _Counted
) -> Plain:
    """Write the tiles of a channel."""
    settings = job.settings
    meter = Meter()
    source = partial(read_channel, recording, channel, settings.sample_rate)
    starts: list[int] = []
    constants = None
    for tile in normalized_tiles(lambda: meter.of(source()), frontend, settings, job.normalization):
        start = tile.start_frame * settings.hop_length
        tiles.add(
            tile,
            channel=channel,
            tile=len(starts),
            view=0,
            start_sample=start,
            start_s=start / settings.sample_rate,
        )
        starts.append(start)
        constants = tile.normalization if settings.normalization != "tile" else None
    return Plain(starts, constants, meter.level)


def _write_views(
    job: Job, file: InputFile, channel: int | None, plain: Plain, tiles: _Counted
) -> None:
    """Write all views of a channel but the tiles themselves."""
    for view in range(1, job.augment.views):
        _write_view(job, file, channel, view, plain, tiles)


def _write_view(
    job: Job, file: InputFile, channel: int | None, view: int, plain: Plain, tiles: _Counted
) -> None:
    """Write one view of each tile of a channel."""
    settings, augment = job.settings, job.augment
    rng = generator(augment, portable(file.path), 0 if channel is None else channel + 1, view)
    drawn = draw_view(settings, augment, rng)
    with _open(job, file) as recording:
        seen = view_tiles(
            partial(read_channel, recording, channel),
            drawn,
            settings,
            augment,
            plain.starts,
            level=plain.level,
            constants=plain.constants,
            rng=rng,
        )
        for number, one in enumerate(seen):
            start_s = one.tile.start_frame * drawn.hop_length / drawn.sample_rate
            tiles.add(
                one.tile,
                channel=channel,
                tile=number,
                view=view,
                augmentation=one.describe(drawn),
                start_sample=round(start_s * settings.sample_rate),
                start_s=start_s,
            )


def _row(recording: Recording, settings: PrepSettings) -> Row:
    status, reason = recording.verdict
    return {
        "status": status,
        "reason": reason,
        "detail": recording.detail,
        "sample_rate": recording.sample_rate,
        "channels": recording.channels,
        "frames": recording.frames_read,
        "frames_declared": recording.frames_declared,
        "frames_missing": recording.frames_missing,
        "duration_s": recording.frames_read / recording.sample_rate,
        "flags": list(recording.flags),
        "bandwidth_hz": min(recording.sample_rate, settings.sample_rate) / 2,
        "peak_db": 20 * math.log10(recording.peak) if recording.peak > 0 else None,
    }


def _refused(refusal: RefusedError) -> Row:
    return {
        "status": "refused",
        "reason": refusal.reason,
        "detail": refusal.detail,
        "frames": 0,
        "frames_declared": refusal.declared,
        "frames_missing": refusal.missing,
        "flags": [],
    }
