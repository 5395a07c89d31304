"""Records of finished jobs, and their merger into the manifests.

A job writes the rows of its tiles as they come, and its recordings' rows last: once they are
there, the job is done. Neither a long recording nor a year of them is held in memory.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from ulmo.config import AugmentSettings, ClockSettings, PrepSettings
from ulmo.jobs.inputs import InputFile
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.store import (
    RECORDINGS_SCHEMA,
    SCHEMAS,
    TILES_SCHEMA,
    Manifest,
    fingerprint_head,
)
from ulmo.storage.atomic import publish
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import canonical_json
from ulmo.storage.tables import BATCH_ROWS, TableWriter

Row = dict[str, Any]

FINISHED = ".finished"
"""Folder of the records of finished jobs, until all are done."""


@dataclass(frozen=True)
class Job:
    """A few recordings, and all that decides what comes of them."""

    index: int
    key: str
    audio_dir: Path
    out_dir: Path
    settings: PrepSettings
    augment: AugmentSettings
    clock: ClockSettings
    normalization: Normalization | None
    files: tuple[InputFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def record_path(self) -> Path:
        """Where the record of the finished job lies."""
        return self.out_dir / FINISHED / f"{self.index:06d}.json"

    @property
    def rows_path(self) -> Path:
        """Where the rows of its tiles lie."""
        return self.out_dir / FINISHED / f"{self.index:06d}.parquet"

    @property
    def prefix(self) -> str:
        """How the names of its shards begin."""
        return f"{self.index:06d}-"

    def shard_path(self, number: int) -> Path:
        """Where a shard of its tiles lies."""
        return self.out_dir / "tiles" / f"{self.prefix}{number:04d}.npy"


class JobRecord(BaseModel):
    """What a finished job leaves beside its tiles and their rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    shards: int
    recordings: list[Row]

    def write(self, job: Job) -> None:
        """Publish it: the job is done."""
        with publish(job.record_path) as file:
            file.write(canonical_json(self.model_dump()).encode())

    @classmethod
    def read(cls, job: Job) -> "JobRecord":
        """The record of a finished job."""
        return cls.model_validate(json.loads(job.record_path.read_bytes()))

    @classmethod
    def is_done(cls, job: Job) -> bool:
        """True where this very job is finished, and its rows and shards are there."""
        try:
            record = cls.read(job)
        except (OSError, ValueError, ValidationError):
            return False
        shards = (job.shard_path(number) for number in range(record.shards))
        return record.key == job.key and all(path.is_file() for path in (job.rows_path, *shards))


def merge(out_dir: Path, manifest: Manifest, jobs: Sequence[Job]) -> Manifest:
    """Both manifests of all jobs; prep.json as it is once they are published.

    Shards that no job has written are an earlier plan's, and removed.
    """
    recordings = tiles = 0
    shards = set()
    digest = hashlib.sha256(fingerprint_head(manifest))
    with (
        table_file(out_dir / "recordings.parquet", RECORDINGS_SCHEMA) as recording_rows,
        table_file(out_dir / "tiles.parquet", TILES_SCHEMA) as tile_rows,
    ):
        for job in jobs:
            record = JobRecord.read(job)
            for row in record.recordings:
                recording_rows.add(row)
            recordings += len(record.recordings)
            shards |= {job.shard_path(number).name for number in range(record.shards)}
            with pq.ParquetFile(job.rows_path) as part:
                for batch in part.iter_batches(BATCH_ROWS):
                    tile_rows.add_table(pa.Table.from_batches([batch]))
                    digest.update(batch["crc32c"].to_numpy().astype("<u4").tobytes())
                    tiles += batch.num_rows
    for path in (out_dir / "tiles").glob("*.npy"):
        if path.name not in shards:
            path.unlink()
    return manifest.model_copy(
        update={
            "complete": True,
            "recordings": recordings,
            "tiles": tiles,
            "fingerprint": digest.hexdigest(),
            "hashes": {name: file_hash(out_dir / name) for name in SCHEMAS},
        }
    )


@contextmanager
def table_file(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Publish a table whose rows come one by one."""
    with publish(path) as file, TableWriter(file, schema) as writer:
        yield writer
