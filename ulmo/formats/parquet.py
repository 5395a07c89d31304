"""Parquet, as pandas, Polars, DuckDB and Hugging Face datasets read it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import numpy as np

from ulmo.formats.header import Grid
from ulmo.formats.rows import Row, RowWriter
from ulmo.formats.writer import PLAIN, Options
from ulmo.storage.sealed import canonical_json

GROUP_IDS = 1 << 16
GROUP_ROWS = 1 << 14
"""A group of rows ends with the row that reaches either. Over 24 hours, groups of 64 Ki ids let
memory grow by 5 MB, of 256 Ki by 25, and they take no less room."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Parquet(RowWriter):
    """Rows with lists of uint16, zstd; the same recordings give the same bytes."""

    def __init__(self, files: Sequence[BinaryIO], options: Options = PLAIN) -> None:
        super().__init__(files, options)
        self._writer: Any = None
        self._rows: list[Row] = []
        self._ids = 0

    def _begin(self) -> None:
        super()._begin()
        if self._writer is None:
            import pyarrow.parquet as pq

            schema = rows_schema(self.header.grid)
            self._writer = pq.ParquetWriter(
                self._files[0], schema, compression="zstd", write_page_checksum=True
            )

    def _write_row(self, row: Row) -> None:
        self._rows.append(row)
        self._ids += row.ids.size
        if self._ids >= GROUP_IDS or len(self._rows) == GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        schema, rows = self._writer.schema, self._rows
        ids = pa.array(np.concatenate([row.ids.reshape(-1) for row in rows]))
        offsets = pa.array(np.cumsum([0, *(row.ids.size for row in rows)]), pa.int32())
        columns = {
            "recording": [row.header.recording for row in rows],
            "channel": [row.header.channel for row in rows],
            "start_utc": [_microseconds(row.start_utc) for row in rows],
            "start_s": [row.start_s for row in rows],
            "hop_s": [row.header.hop / row.header.sample_rate for row in rows],
            "bands": [row.header.bands for row in rows],
            "ids": pa.ListArray.from_arrays(offsets, ids, type=schema.field("ids").type),
            "unk_rate": [row.unk_rate for row in rows],
            "fingerprint": [row.header.fingerprint for row in rows],
        }
        self._writer.write_table(pa.Table.from_pydict(columns, schema=schema))
        self._rows, self._ids = [], 0

    def abandon(self) -> None:
        """Keep pyarrow from writing a footer into a file that is closed by then."""
        if self._writer is not None:
            self._writer.is_open = False

    def _close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()


def rows_schema(grid: Grid) -> Any:
    """Columns of the table; its metadata tell the grid and the special tokens, as JSON."""
    import pyarrow as pa

    vocabulary = {"size": grid.vocabulary.size, "special_tokens": grid.vocabulary.specials()}
    return pa.schema(
        [
            ("recording", pa.string()),
            ("channel", pa.int32()),  # null: the mean of all
            ("start_utc", pa.timestamp("us", tz="UTC")),  # of the row's first column
            ("start_s", pa.float64()),  # the same, from the recording's first sample
            ("hop_s", pa.float64()),  # from column to column
            ("bands", pa.int32()),
            ("ids", pa.list_(pa.uint16())),  # time-major: bands ids a column
            ("unk_rate", pa.float64()),
            ("fingerprint", pa.string()),  # the tokenizer's
        ],
        metadata={"ulmo": grid.model_dump_json(), "ulmo.vocabulary": canonical_json(vocabulary)},
    )


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - EPOCH) // timedelta(microseconds=1)
