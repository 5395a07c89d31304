"""Parquet as ulmo writes it, with what ulmo would not put in it."""

import pyarrow.parquet as pq


def write_parquet(table, path, **options):
    """Write a table to a path, without statistics."""
    pq.write_table(table, path, **{"compression": "zstd", "write_statistics": False, **options})
