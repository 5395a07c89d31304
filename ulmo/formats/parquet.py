"""Parquet, as pandas, Polars, DuckDB and Hugging Face datasets read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Headers
from ulmo.formats.header import Grid, utc_text
from ulmo.formats.rows import ROW_COLUMNS, RowFormat, TokenRow, ids_of_rows
from ulmo.storage.plain_file import open_unlinked
from ulmo.storage.sealed import canonical_json

# A group of rows ends with the row that reaches either limit. Over 24 hours of sound, groups of
# 64 Ki ids let memory grow by 5 MB, groups of 256 Ki by 25 MB, and the file is no smaller.
GROUP_IDS = 1 << 16
_GROUP_ROWS = 1 << 14


class Parquet(RowFormat):
    """Rows with lists of uint16, zstd; the same recordings give the same bytes."""

    suffixes = (".tokens.parquet",)
    trains = True
    tabular = True
    _writer: Any = None  # until the first recording is begun

    def _begin(self) -> None:
        super()._begin()
        if self._writer is None:
            from ulmo.storage.parquet_guard import parquet_writer

            schema = _schema(self.header.grid)
            self._writer = parquet_writer(self._files[0], schema, write_page_checksum=True)
            self._rows: list[TokenRow] = []
            self._ids = 0

    def _write_row(self, row: TokenRow) -> None:
        self._rows.append(row)
        self._ids += row.ids.size
        if self._ids >= GROUP_IDS or len(self._rows) == _GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        schema, rows = self._writer.schema, self._rows
        ids = pa.array(np.concatenate([row.ids.reshape(-1) for row in rows]))
        offsets = pa.array(np.cumsum([0, *(row.ids.size for row in rows)]), pa.int32())
        table = pa.Table.from_pylist(
            [{**row.fields(), "start_utc": row.header.utc(row.column)} for row in rows],
            schema=schema,
        )
        place = schema.get_field_index("ids")
        lists = pa.ListArray.from_arrays(offsets, ids, type=schema.field(place).type)
        self._writer.write_table(table.set_column(place, schema.field(place), lists))
        self._rows, self._ids = [], 0

    def abandon(self) -> None:
        """Keep pyarrow from writing a footer into a file that is closed by then."""
        if self._writer is not None:
            self._writer.is_open = False

    def _close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Ids of rows that are just as written; the schema and all page sizes are checked first."""
        import pyarrow as pa

        from ulmo.storage.parquet_guard import check_pages, parquet_file, same_schema

        with open_unlinked(path) as raw:
            try:
                schema = _schema(headers[0].grid)
                check_pages(raw, len(schema), ROW_COLUMNS * headers[0].bands)
                with parquet_file(raw, page_checksum_verification=True) as file:
                    if not same_schema(file.schema_arrow, schema):
                        raise ValueError("it has other columns, or another tokenizer's tokens")
                    yield from ids_of_rows(_rows(file), headers, TokenRow.fields)
            except (pa.ArrowException, OSError) as error:
                raise ValueError(error) from None


def _schema(grid: Grid) -> Any:
    """Columns of the table; its metadata hold the grid and the special tokens, as JSON."""
    import pyarrow as pa

    vocabulary = {"size": grid.vocabulary.size, "special_tokens": grid.vocabulary.specials()}
    return pa.schema(
        [
            ("recording", pa.string()),
            ("channel", pa.int32()),  # null: the mean of all
            ("start_utc", pa.timestamp("us", tz="UTC")),  # of the row's first column
            ("start_s", pa.float64()),  # the same, from the recording's first sample
            ("end_s", pa.float64()),  # of the row's last column
            ("hop_s", pa.float64()),  # from column to column
            ("bands", pa.int32()),
            ("edges_hz", pa.list_(pa.float64())),  # band b lies between edges b and b + 1
            ("ids", pa.list_(pa.uint16())),  # time-major: bands ids a column
            ("unk_rate", pa.float64()),
        ],
        metadata={"ulmo": grid.model_dump_json(), "ulmo.vocabulary": canonical_json(vocabulary)},
    )


def _rows(file: Any) -> Iterator[tuple[NDArray[np.uint16], dict[str, Any]]]:
    """The ids of each row, and the row as `TokenRow.fields` has it."""
    for batch in file.iter_batches(batch_size=8, use_threads=False):
        for row in range(len(batch)):
            values = {name: batch[name][row] for name in batch.schema.names}
            ids = values.pop("ids")
            if not ids.is_valid or ids.values.null_count:
                raise ValueError("an id is missing")
            plain = {name: value.as_py() for name, value in values.items()}
            time = plain["start_utc"]
            row_fields = {**plain, "start_utc": "" if time is None else utc_text(time), "ids": None}
            yield ids.values.to_numpy(), row_fields
