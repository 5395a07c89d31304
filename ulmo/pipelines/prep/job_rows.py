"""Rows of the tiles of one job: in its own file while jobs run, and in tiles.parquet at the end."""

from itertools import groupby

import pyarrow as pa

from ulmo.pipelines.prep.job import PrepJob
from ulmo.preprocessing.store import AGAIN, GO_ON
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.faults import reading
from ulmo.storage.plain_file import file_hash
from ulmo.storage.tables import read_recorded, texts_of


def tile_rows(job: PrepJob, recorded: str) -> pa.Table:
    """The rows of a job's tiles. Raises UserError unless their file has the recorded hash."""
    return read_recorded(job.rows_path, TILES_SCHEMA, recorded, remedy=GO_ON, anew=AGAIN)


def rows_hash(job: PrepJob) -> str | None:
    """The hash of the file of a job's rows; None if there is none.

    Raises UserError if it cannot be read.
    """
    with reading(job.rows_path):
        return file_hash(job.rows_path)


def by_prefix(tiles: pa.Table) -> dict[str, pa.Table]:
    """The rows of each job, which stand together, by how the names of its shards begin."""
    found, place = {}, 0
    for prefix, names in groupby(texts_of(tiles["shard"]), prefix_of):
        count = len(list(names))
        found[prefix] = tiles.slice(place, count)
        place += count
    return found


def same_rows(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables have the same rows, whatever the dictionaries of their texts."""
    same: bool = first.cast(TILES_SCHEMA).equals(second.cast(TILES_SCHEMA))
    return same


def prefix_of(shard: str) -> str:
    """How the names of all shards of its job begin."""
    return shard.partition("-")[0] + "-"
