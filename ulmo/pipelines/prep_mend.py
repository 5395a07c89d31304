"""Shards that a complete output has lost, prepared again: those, and no others."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.config import UserError
from ulmo.pipelines.prep_record import Job
from ulmo.preprocessing.store import Manifest, read_manifest_table


def lost_shards(out_dir: Path, manifest: Manifest) -> set[str] | None:
    """Shards that tiles.parquet names and that are not there; None where the tables are damaged."""
    try:
        read_manifest_table(out_dir, manifest, "recordings.parquet")
        tiles = read_manifest_table(out_dir, manifest, "tiles.parquet")
    except UserError:
        return None
    names = tiles["shard"].unique().to_pylist()
    return {name for name in names if not (out_dir / "tiles" / Path(name).name).is_file()}


def jobs_of(jobs: Sequence[Job], shards: set[str]) -> list[Job]:
    """The jobs that made some shards."""
    return [job for job in jobs if any(name.startswith(job.prefix) for name in shards)]


def check_mended(out_dir: Path, manifest: Manifest, jobs: Sequence[Job]) -> None:
    """UserError unless the jobs have made the very tiles that tiles.parquet tells of.

    What they made otherwise is removed: a shard that is there is one that the table speaks of.
    """
    tiles = read_manifest_table(out_dir, manifest, "tiles.parquet")
    for job in jobs:
        expected = tiles.filter(pc.starts_with(tiles["shard"], job.prefix))
        if not _rows_of(job).equals(expected):
            for path in (out_dir / "tiles").glob(f"{job.prefix}*.npy"):
                path.unlink()
            raise UserError(
                f"{out_dir}: recordings of its shards {job.prefix}* are not what they were: "
                "choose a new folder"
            )


def _rows_of(job: Job) -> pa.Table:
    with pq.ParquetFile(job.rows_path) as file:
        return file.read()
