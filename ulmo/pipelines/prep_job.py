"""One job of ulmo-prep: a few recordings become shards, and a record that they are done."""

import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ulmo.config import PrepSettings
from ulmo.pipelines.prep_record import Job, JobRecord, Row, table_file
from ulmo.preprocessing.audio import (
    Meter,
    Recording,
    RefusedError,
    channel_list,
    open_recording,
    pick_channel,
    read_channel,
    resample,
)
from ulmo.preprocessing.augment import draw_view, generator, view_tiles
from ulmo.preprocessing.clock import Clock, Start
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.normalize import Moments, Normalization
from ulmo.preprocessing.spectrogram import NormalizedTile, measure, normalized_tiles
from ulmo.preprocessing.store import (
    TILES_SCHEMA,
    TableWriter,
    checksum,
    tiles_per_shard,
    write_shard,
)

Array = NDArray[np.float32]
STRETCHES = 4
"""Stretches of a tile's length that a recording adds to the corpus statistics."""


class Stretch(NamedTuple):
    """A recording to learn the corpus constants from."""

    path: Path
    settings: PrepSettings


class TileWriter:
    """Writes a job's tiles, a shard whenever one is full, and their rows.

    While the disk takes one shard, the next one is computed: two are held at most.
    """

    def __init__(self, job: Job, rows: TableWriter) -> None:
        self._job = job
        self._rows = rows
        self._held: list[Array] = []
        self._disk = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None
        self.shards = 0
        """Shards that are written, or being written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._disk:
            if kind is None:
                self._flush()
                self._wait()

    def add(self, recording: str, tile: NormalizedTile, /, **columns: Any) -> None:
        """Take a tile, and what its row says beside its levels and its place in the shard."""
        row = {
            "recording": recording,
            "shard": self._job.shard_path(self.shards).name,
            "row": len(self._held),
            "crc32c": checksum(tile.values),
            "valid_frames": tile.valid_frames,
            **columns,
        }
        if self._job.settings.normalization != "pcen":
            loudest = np.array(tile.loudest, np.float32)
            row["norm_offset_db"] = tile.normalization.offset
            row["norm_scale_db"] = tile.normalization.scale
            row["peak_level_db"] = float(tile.normalization.undo(loudest))
        self._rows.add(row)
        self._held.append(tile.values)
        if len(self._held) == tiles_per_shard(self._job.settings.tile_size):
            self._flush()

    def _flush(self) -> None:
        """Have the disk take what is held, once it has taken what came before."""
        if self._held:
            self._wait()
            path = self._job.shard_path(self.shards)
            self._written = self._disk.submit(write_shard, path, self._held)
            self._held = []
            self.shards += 1

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()


def run_job(job: Job) -> None:
    """Prepare a job's recordings, unless a record says that it is done."""
    if JobRecord.is_done(job):
        return
    job.record_path.unlink(missing_ok=True)  # its shards are about to be replaced
    frontend = build_frontend(job.settings)
    clock = Clock.of(job.clock)
    recordings = []
    with table_file(job.rows_path, TILES_SCHEMA) as rows, TileWriter(job, rows) as writer:
        for path in job.paths:
            start = clock.start(job.audio_dir / path)
            tiles = _Counted(writer, portable(path), start)
            try:
                row = _prepare_recording(job, path, frontend, tiles)
            except RefusedError as refusal:
                row = _refused(refusal)
            if start is not None:
                row |= {"start_utc": start.microseconds, "start_source": start.source}
            recordings.append({"path": portable(path), "tiles": tiles.count, **row})
    JobRecord(key=job.key, shards=writer.shards, recordings=recordings).write(job)


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


def _prepare_recording(job: Job, path: Path, frontend: FrontEnd, tiles: _Counted) -> Row:
    """Write one recording's tiles and their views; its own row is returned."""
    with open_recording(job.audio_dir / path) as recording:
        channels = channel_list(job.settings.channels, recording.channels)
    for channel in channels:
        with open_recording(job.audio_dir / path) as recording:
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


def measure_stretches(stretch: Stretch) -> Moments:
    """Moments of a few tile-long stretches, evenly spread, as far as they can be read."""
    settings = stretch.settings
    frontend = build_frontend(settings)
    moments = Moments()
    try:
        with open_recording(stretch.path) as recording:
            channels = channel_list(settings.channels, recording.channels)
            length = _native_length(recording, settings)
            room = max(recording.frames - length, 0)
            starts = sorted({room * i // (STRETCHES - 1) for i in range(STRETCHES)})
            for start, channel in product(starts, channels):
                blocks = pick_channel(recording.blocks(start, length), channel)
                samples = resample(blocks, recording.sample_rate, settings.sample_rate)
                moments += measure(samples, frontend, settings)
    except RefusedError:
        pass
    return moments


def _native_length(recording: Recording, settings: PrepSettings) -> int:
    tile = settings.tile_size * settings.hop_length
    return -(-tile * recording.sample_rate // settings.sample_rate)


def portable(path: Path) -> str:
    """A path as text that every file format takes; bytes that are no UTF-8 as \\xNN."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
