"""Jobs of ulmo-prep: a few recordings each become shards, and a record that they are done.

While the disk takes what one job has made, the next one is computed.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.config import PrepSettings
from ulmo.pipelines.inputs import portable
from ulmo.pipelines.pool import progressed
from ulmo.pipelines.prep_record import Job, JobRecord, Row, table_file
from ulmo.pipelines.prep_writer import Disk, TileWriter
from ulmo.pipelines.way import Way
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


def run_job(job: Job, disk: Disk) -> None:
    """Prepare a job's recordings."""
    job.record_path.unlink(missing_ok=True)  # its shards are about to be replaced
    frontend = build_frontend(job.settings)
    clock = Clock.of(job.clock)
    recordings = []
    with ExitStack() as opened:
        rows = opened.enter_context(table_file(job.rows_path, TILES_SCHEMA))
        writer = TileWriter(job, rows, disk)
        for path, size in zip(job.paths, job.sizes, strict=True):
            start = clock.start(job.audio_dir / path)
            tiles = _Counted(writer, portable(path), start)
            way = Way(size)
            try:
                row = _prepare_recording(job, path, frontend, tiles, way)
            except RefusedError as refusal:
                row = _refused(refusal)
            way.end()
            if start is not None:
                row |= {"start_utc": start.microseconds, "start_source": start.source}
            recordings.append({"path": portable(path), "tiles": tiles.count, **row})
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


def _prepare_recording(job: Job, path: Path, frontend: FrontEnd, tiles: _Counted, way: Way) -> Row:
    """Write one recording's tiles and their views; its own row is returned."""
    with open_recording(job.audio_dir / path) as recording:
        channels = channel_list(job.settings.channels, recording.channels)
    passes = len(channels) * (2 if job.settings.normalization == "recording" else 1)
    for channel in channels:
        with open_recording(job.audio_dir / path) as recording:
            way.follow(recording, passes)
            plain = _write_tiles(job, recording, channel, frontend, tiles)
        for view in range(1, job.augment.views):
            _write_view(job, path, channel, view, plain, tiles)
    if not tiles.count:
        raise RefusedError("too_short", f"{recording.frames_read} samples are less than a frame")
    return _row(recording, job.settings)


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


def _write_view(
    job: Job, path: Path, channel: int | None, view: int, plain: Plain, tiles: _Counted
) -> None:
    """Write one view of each tile of a channel."""
    settings, augment = job.settings, job.augment
    rng = generator(augment, portable(path), 0 if channel is None else channel + 1, view)
    drawn = draw_view(settings, augment, rng)
    with open_recording(job.audio_dir / path) as recording:
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
        "frames_missing": recording.frames_missing,
        "duration_s": recording.frames_read / recording.sample_rate,
        "bandwidth_hz": min(recording.sample_rate, settings.sample_rate) / 2,
        "peak_db": 20 * math.log10(recording.peak) if recording.peak > 0 else None,
    }


def _refused(refusal: RefusedError) -> Row:
    return {
        "status": "refused",
        "reason": refusal.reason,
        "detail": refusal.detail,
        "frames": 0,
        "frames_missing": 0,
    }
