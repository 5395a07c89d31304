"""One job of ulmo-prep: a few recordings become shards, and a record that they are done."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.config import AugmentSettings, PrepSettings, canonical_json
from ulmo.preprocessing.atomic import publish
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
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.normalize import Moments, Normalization
from ulmo.preprocessing.spectrogram import NormalizedTile, measure, normalized_tiles
from ulmo.preprocessing.store import checksum, tiles_per_shard, write_shard

Array = NDArray[np.float32]
Row = dict[str, Any]

FINISHED = ".finished"
"""Folder of the records of finished jobs, until all are done."""
STRETCHES = 4
"""Stretches of a tile's length that a recording adds to the corpus statistics."""


class Stretch(NamedTuple):
    """A recording to learn the corpus constants from."""

    path: Path
    settings: PrepSettings


@dataclass(frozen=True)
class Job:
    """A few recordings, and all that decides what comes of them."""

    index: int
    key: str
    audio_dir: Path
    out_dir: Path
    settings: PrepSettings
    augment: AugmentSettings
    normalization: Normalization | None
    paths: tuple[Path, ...]
    size: int

    @property
    def record_path(self) -> Path:
        """Where the record of the finished job lies."""
        return self.out_dir / FINISHED / f"{self.index:06d}.json"


@dataclass
class JobRecord:
    """Rows for the two manifests."""

    key: str
    recordings: list[Row] = field(default_factory=list)
    tiles: list[Row] = field(default_factory=list)

    @classmethod
    def read_file(cls, job: Job) -> "JobRecord":
        """The record of a finished job."""
        return cls(**json.loads(job.record_path.read_bytes()))

    @classmethod
    def is_done(cls, job: Job) -> bool:
        """True where this very job is finished and its shards are there."""
        try:
            record = cls.read_file(job)
        except (OSError, ValueError, TypeError):
            return False
        shards = {row["shard"] for row in record.tiles}
        return record.key == job.key and all(
            (job.out_dir / "tiles" / shard).is_file() for shard in shards
        )


class ShardWriter:
    """Gathers a job's tiles, and writes a shard whenever one is full."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._held: list[Array] = []
        self._shards = 0

    def add(self, tile: NormalizedTile) -> Row:
        """Take a tile; its place and checksum as the beginning of its row."""
        row = {"shard": self._name, "row": len(self._held), "crc32c": checksum(tile.values)}
        self._held.append(tile.values)
        if len(self._held) == tiles_per_shard(self._job.settings.tile_size):
            self.flush()
        return row

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            write_shard(self._job.out_dir / "tiles" / self._name, self._held)
            self._held = []
            self._shards += 1

    @property
    def _name(self) -> str:
        return f"{self._job.index:06d}-{self._shards:04d}.npy"


def run_job(job: Job) -> None:
    """Prepare a job's recordings, unless a record says that it is done."""
    if JobRecord.is_done(job):
        return
    job.record_path.unlink(missing_ok=True)  # its shards are about to be replaced
    record = JobRecord(job.key)
    frontend = build_frontend(job.settings)
    writer = ShardWriter(job)
    for path in job.paths:
        name = portable(path)
        rows: list[Row] = []
        try:
            row = _prepare_recording(job, path, frontend, writer, rows)
        except RefusedError as refusal:
            row = _refused(refusal)
        for tile in rows:
            tile["recording"] = name
        record.tiles += rows
        record.recordings.append({"path": name, "tiles": len(rows), **row})
    writer.flush()
    with publish(job.record_path) as file:
        file.write(canonical_json(record.__dict__).encode())


def _prepare_recording(
    job: Job, path: Path, frontend: FrontEnd, writer: ShardWriter, rows: list[Row]
) -> Row:
    """Write one recording's tiles, their rows into `rows`; its own row is returned."""
    with open_recording(job.audio_dir / path) as recording:
        channels = channel_list(job.settings.channels, recording.channels)
    for channel in channels:
        with open_recording(job.audio_dir / path) as recording:
            tiles = _plain_tiles(job, recording, channel, frontend, writer)
            rows += tiles.rows
        for view in range(1, job.augment.views):
            rows += _view_rows(job, path, channel, view, tiles, writer)
    if not rows:
        raise RefusedError("too_short", f"{recording.frames_read} samples are less than a frame")
    return _row(recording, job.settings)


class PlainTiles(NamedTuple):
    """The tiles of a channel, as far as their views need to know them."""

    rows: list[Row]
    constants: Normalization | None
    """What they were normalised with; None where each was by itself."""
    level: float
    """Root mean square of the channel's samples."""


def _plain_tiles(
    job: Job, recording: Recording, channel: int | None, frontend: FrontEnd, writer: ShardWriter
) -> PlainTiles:
    settings = job.settings
    meter = Meter()
    source = partial(read_channel, recording, channel, settings.sample_rate)
    rows: list[Row] = []
    constants = None
    for tile in normalized_tiles(lambda: meter.of(source()), frontend, settings, job.normalization):
        start = tile.start_frame * settings.hop_length
        rows.append(
            {
                **_tile_row(job, tile, writer),
                "channel": channel,
                "tile": len(rows),
                "view": 0,
                "start_sample": start,
                "start_s": start / settings.sample_rate,
            }
        )
        constants = tile.normalization if settings.normalization != "tile" else None
    return PlainTiles(rows, constants, meter.level)


def _view_rows(
    job: Job, path: Path, channel: int | None, view: int, plain: PlainTiles, writer: ShardWriter
) -> Iterator[Row]:
    """Write one view of each tile of a channel."""
    settings, augment = job.settings, job.augment
    rng = generator(augment, portable(path), 0 if channel is None else channel + 1, view)
    drawn = draw_view(settings, augment, rng)
    with open_recording(job.audio_dir / path) as recording:
        tiles = view_tiles(
            partial(read_channel, recording, channel),
            drawn,
            settings,
            augment,
            [row["start_sample"] for row in plain.rows],
            level=plain.level,
            constants=plain.constants,
            rng=rng,
        )
        for row, seen in zip(plain.rows, tiles, strict=True):
            start_s = seen.tile.start_frame * drawn.hop_length / drawn.sample_rate
            yield {
                **_tile_row(job, seen.tile, writer),
                "channel": channel,
                "tile": row["tile"],
                "view": view,
                "augmentation": seen.describe(drawn),
                "start_sample": round(start_s * settings.sample_rate),
                "start_s": start_s,
            }


def _tile_row(job: Job, tile: NormalizedTile, writer: ShardWriter) -> Row:
    """Write a tile; what its row says of its place and its levels."""
    row = {**writer.add(tile), "valid_frames": tile.valid_frames}
    if job.settings.normalization != "pcen":
        peak = tile.normalization.undo(tile.values[:, : tile.valid_frames].max())
        row["norm_offset_db"] = tile.normalization.offset
        row["norm_scale_db"] = tile.normalization.scale
        row["peak_level_db"] = float(peak)
    return row


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
