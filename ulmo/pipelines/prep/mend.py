"""What a complete output of tiles has lost, made again: made beside it, and taken if it fits."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.config import UserError
from ulmo.jobs.inputs import InputFile, portable
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.prep.job import PrepJob
from ulmo.preprocessing.store import TilesManifest, read_tiles_table
from ulmo.storage.faults import reading_error
from ulmo.storage.ledger import Ledger
from ulmo.storage.sealed import write_sealed

_TABLES = ("tiles.parquet", "recordings.parquet")


class Lost(NamedTuple):
    """What a complete output lacks."""

    shards: frozenset[str]  # names of those that tiles.parquet has rows of
    tables: bool  # whether a table is missing or damaged; then nothing says which shards are

    def __bool__(self) -> bool:
        return bool(self.shards) or self.tables


def find_lost(out_dir: Path, ledger: Ledger[TilesManifest, Prepared]) -> Lost:
    """Shards and tables that are missing or damaged.

    Raises UserError if something cannot be read, as it may be whole.
    """
    try:
        ledger.read_table()
        tiles = read_tiles_table(out_dir, ledger.manifest)
    except UserError as error:
        if reading_error(error):
            raise
        return Lost(frozenset(), tables=True)
    names = tiles["shard"].unique().to_pylist()
    missing = (name for name in names if not (out_dir / "tiles" / Path(name).name).is_file())
    return Lost(frozenset(missing), tables=False)


def refuse_others(
    out_dir: Path, ledger: Ledger[TilesManifest, Prepared], files: Sequence[InputFile]
) -> None:
    """Raise UserError unless the recordings that an output was made of are still among the files.

    Recordings may be added. A refused one may change or go, as nothing was made of it.
    """
    try:
        rows = ledger.rows()
    except UserError as error:
        if reading_error(error):
            raise
        raise UserError(
            f"{out_dir} was made of other recordings, and has lost the table of them: name the "
            "folder that it was made of, as it was, or choose a new folder"
        ) from None
    here = {portable(file.path): (file.size, file.ends) for file in files}
    for row in rows:
        if row.status != "refused" and here.get(row.path) != (row.bytes, row.ends_crc32c):
            raise UserError(
                f"{out_dir} was made of other recordings ({row.path} is gone, or another now): "
                "choose a new folder"
            )


def jobs_of(jobs: Sequence[PrepJob], shards: frozenset[str]) -> list[PrepJob]:
    """The jobs that made some shards."""
    return [job for job in jobs if any(name.startswith(job.prefix) for name in shards)]


def take_shards(
    out_dir: Path, manifest: TilesManifest, jobs: Sequence[PrepJob], shards: frozenset[str]
) -> None:
    """Move shards that jobs made again to their place.

    UserError, and nothing is moved, unless they are the very tiles that tiles.parquet tells of.
    """
    tiles = read_tiles_table(out_dir, manifest)
    for job in jobs:
        expected = tiles.filter(pc.starts_with(tiles["shard"], job.prefix))
        if not _rows_of(job).equals(expected):
            raise UserError(
                f"{out_dir}: recordings of its shards {job.prefix}* are not what they were: "
                "choose a new folder"
            )
    (out_dir / "tiles").mkdir(exist_ok=True)
    for job in jobs:
        for name in sorted(name for name in shards if name.startswith(job.prefix)):
            (job.out_dir / "tiles" / name).replace(out_dir / "tiles" / name)


def take_tables(beside: Path, out_dir: Path, manifest: TilesManifest, made: TilesManifest) -> None:
    """Move what was made again to its place, the manifest last; a killed job has moved the rest.

    Raises UserError, and moves nothing, unless its tiles have the same fingerprint.
    """
    same = ("recordings", "tiles", "fingerprint")
    if any(getattr(made, name) != getattr(manifest, name) for name in same):
        raise UserError(
            f"{out_dir}: its recordings are not what they were, their tiles differ: "
            "choose a new folder"
        )
    (out_dir / "tiles").mkdir(exist_ok=True)
    for path in sorted((beside / "tiles").glob("*.npy")):
        path.replace(out_dir / "tiles" / path.name)
    for name in _TABLES:
        with suppress(FileNotFoundError):
            (beside / name).replace(out_dir / name)
    if made != manifest:
        write_sealed(out_dir / "prep.json", made)


def _rows_of(job: PrepJob) -> pa.Table:
    with pq.ParquetFile(job.rows_path) as file:
        return file.read()
