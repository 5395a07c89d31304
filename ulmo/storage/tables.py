"""Rows written as Parquet, in groups: the same rows give the same bytes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ulmo.storage.atomic import publish
from ulmo.storage.parquet_guard import is_text_list

ROW_GROUP = 1 << 14
BATCH_ROWS = 1 << 10
"""Rows of a table that are held as Python objects, at most."""


class TableWriter:
    """Rows to Parquet (zstd), in groups of ROW_GROUP; the same rows give the same bytes."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        plain = [field.name for field in schema if not is_text_list(field.type)]
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=plain)
        self._rows: list[dict[str, Any]] = []
        self._pending = schema.empty_table()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._convert()
            if len(self._pending):
                self._writer.write_table(self._pending.combine_chunks())
        self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; columns that it lacks are null."""
        self._rows.append(row)
        if len(self._rows) == BATCH_ROWS:
            self._convert()

    def add_table(self, table: pa.Table) -> None:
        """Take many rows at once."""
        self._convert()
        self._append(table)

    def _convert(self) -> None:
        self._append(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _append(self, table: pa.Table) -> None:
        self._pending = pa.concat_tables([self._pending, table])
        while len(self._pending) >= ROW_GROUP:
            self._writer.write_table(self._pending.slice(0, ROW_GROUP).combine_chunks())
            self._pending = self._pending.slice(ROW_GROUP)


def write_table(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """Publish rows as Parquet."""
    with publish(path) as file, TableWriter(file, schema) as writer:
        for row in rows:
            writer.add(row)
