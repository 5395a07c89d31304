"""Tables as Parquet: a schema from a class of rows, written in groups, read with bounds.

The same rows always give the same bytes. pyarrow gets open files, and never a path: it takes one
that begins with `file:`, `s3:` or the like for an address.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ulmo.config import Settings, UserError, WholeFileError, one_line
from ulmo.config.errors import complaint
from ulmo.storage.atomic import publish
from ulmo.storage.columns import ColumnType
from ulmo.storage.faults import reading_error, unreadable
from ulmo.storage.parquet_guard import (
    GROUP_TEXTS,
    ROW_GROUP,
    ROWS_PER_BYTE,
    is_text_list,
    parquet_writer,
    read_guarded,
)
from ulmo.storage.plain_file import file_hash, lexists, open_plain, written_hash

BATCH_ROWS = 1 << 10  # rows held as Python objects, at most
_BATCH_TEXTS = 1 << 14  # texts in lists of rows that are held, at most, and those of one row

Reader = Callable[[BinaryIO, pa.Schema, float], Any]  # read_guarded, or GroupedTable

TYPES = {
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint32": pa.uint32(),
    "float64": pa.float64(),
    "utc": pa.timestamp("us", tz="UTC"),  # in Python: microseconds since 1970
}


def schema_of(row: type[Settings]) -> pa.Schema:
    """The columns of a class of rows, in the order of its fields.

    Raises KeyError for a field that has no ColumnType.
    """
    kinds = {
        name: each.name
        for name, field in row.model_fields.items()
        for each in field.metadata
        if isinstance(each, ColumnType)
    }
    return pa.schema([(name, TYPES[kinds[name]]) for name in row.model_fields])


def read_table(
    path: Path,
    schema: pa.Schema,
    *,
    remedy: str,
    hashed: bool = False,
    read: Reader = read_guarded,
    rows_per_byte: float = ROWS_PER_BYTE,
) -> Any:
    """What `read` makes of a table of ulmo; `hashed`: the caller found its recorded hash.

    `read` must be GroupedTable for a table with lists; `rows_per_byte` bounds its rows
    by its size. Raises UserError, which ends with `remedy`, if it has other columns or is damaged,
    and WholeFileError if it is `hashed`; if it could not be read at all, the error is that of
    unreadable().
    """
    try:
        with open_plain(path, remedy=remedy) as file:
            return read(file, schema, rows_per_byte)
    except (OSError, ValueError, pa.ArrowException) as error:
        if denied := reading_error(error):
            raise unreadable(path, denied) from error
        state = "is as it was written, but cannot be read" if hashed else "cannot be read"
        refused = WholeFileError if hashed else UserError
        raise refused(f"{path} {state} ({one_line(error)}): {remedy}") from error


def read_recorded(
    path: Path,
    schema: pa.Schema,
    recorded: str | None,
    *,
    remedy: str,
    anew: str | None = None,
    read: Reader = read_guarded,
    rows_per_byte: float = ROWS_PER_BYTE,
) -> Any:
    """A table of ours, if it has the SHA-256 that is recorded of it.

    Raises UserError, which ends with `remedy`, if it is missing or another; and as read_table(),
    with `anew` for a remedy if there is one, if its hash fits but it cannot be read.
    """
    try:
        found = file_hash(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if found is None or found != recorded:
        what = "is damaged" if lexists(path) else "is missing"
        raise UserError(f"{path} {what}: {remedy}")
    options: dict[str, Any] = {"read": read, "rows_per_byte": rows_per_byte}
    return read_table(path, schema, remedy=anew or remedy, hashed=True, **options)


def check_columns(table: pa.Table, row: type[Settings]) -> None:
    """Raise ValueError unless each column holds only what its field in a class of rows may be.

    The least and the largest number stand for all: what a field may be is a range. Texts are
    checked one by one, each once.
    """
    for name, adapter in _adapters(row).items():
        for value in _decisive(table[name]):
            try:
                adapter.validate_python(value, strict=True)
            except ValidationError as error:
                text = complaint(error)
                raise ValueError(f"{name}{text}" if text.startswith(" = ") else text) from None


@cache
def _adapters(row: type[Settings]) -> dict[str, TypeAdapter[Any]]:
    """What validates each field of a class of rows."""
    config = ConfigDict(allow_inf_nan=False)
    kinds: dict[str, Any] = {
        name: Annotated[field.annotation, *field.metadata]
        for name, field in row.model_fields.items()
    }
    return {name: TypeAdapter(kind, config=config) for name, kind in kinds.items()}


def _decisive(column: pa.ChunkedArray) -> Iterator[Any]:
    """The values of a column that decide whether all of them are within bounds."""
    if column.null_count:
        yield None
    if pa.types.is_dictionary(column.type):
        texts = column.drop_null().unique()
        for start in range(0, len(texts), BATCH_ROWS):
            yield from texts.slice(start, BATCH_ROWS).to_pylist()
    elif len(column) > column.null_count:
        column = column.cast(pa.int64()) if column.type == TYPES["utc"] else column
        numbers = column.drop_null().to_numpy()
        yield from (numbers.min().item(), numbers.max().item())  # NaN if one is


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as dictionaries; times are microseconds since 1970."""
    for index, field in enumerate(table.schema):
        if field.type == TYPES["utc"]:
            table = table.set_column(index, field.name, table[field.name].cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def texts_of(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """The texts (n,) of a column, of which those that are equal are one object.

    None for null. An array of text would give all rows the length of the longest.
    """
    named = column.combine_chunks().dictionary_encode()
    texts = np.array([*named.dictionary.to_pylist(), None], dtype=object)
    found: NDArray[np.object_] = texts[named.indices.fill_null(len(texts) - 1).to_numpy()]
    return found


def _text_bytes(table: pa.Table) -> NDArray[np.int64]:
    """The bytes (n,) of the texts of each row, in lists too."""
    sizes = np.zeros(len(table), np.int64)
    for column in table.combine_chunks().columns:
        if column.type == pa.string():
            sizes += pc.binary_length(column).fill_null(0).to_numpy()
        elif is_text_list(column.type):
            lengths = pc.binary_length(pc.list_flatten(column)).fill_null(0).to_numpy()
            ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy())
            total = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
            sizes += np.diff(total[np.concatenate([[0], ends])])
    return sizes


class TableWriter:
    """Writes rows to Parquet (zstd), in groups of ROW_GROUP rows or GROUP_TEXTS bytes of texts.

    A row with more texts is a group of its own. `hash` is the SHA-256 of the table, in
    hexadecimal, once `publish_table` has ended.
    """

    hash: str = ""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._texts = 0  # in lists of these rows
        self._pending = schema.empty_table()
        self._sizes = _text_bytes(self._pending)  # of the rows that are pending

    def __enter__(self) -> Self:
        plain = [field.name for field in self._schema if not is_text_list(field.type)]
        self._writer = parquet_writer(self._file, self._schema, use_dictionary=plain)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._convert()
                if len(self._pending):
                    self._write(len(self._pending))
                self._writer.close()
        finally:  # or its destructor writes a footer to a closed file, and prints a traceback
            self._writer.is_open = False

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; columns that it lacks are null."""
        self._rows.append(row)
        self._texts += sum(len(value) for value in row.values() if isinstance(value, list | tuple))
        if len(self._rows) == BATCH_ROWS or self._texts >= _BATCH_TEXTS:
            self._convert()

    def add_table(self, table: pa.Table) -> None:
        """Add all rows of a table, whose texts may be dictionaries."""
        self._convert()
        for start in range(0, len(table), BATCH_ROWS):
            self._append(table.slice(start, BATCH_ROWS).cast(self._schema))

    def _convert(self) -> None:
        self._append(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._texts = [], 0

    def _append(self, table: pa.Table) -> None:
        self._pending = pa.concat_tables([self._pending, table])
        self._sizes = np.concatenate([self._sizes, _text_bytes(table)])
        while True:
            rows = int(np.searchsorted(np.cumsum(self._sizes), GROUP_TEXTS, "right"))
            rows = min(max(rows, 1), ROW_GROUP)
            if rows >= len(self._pending):  # the next row may belong to the group, too
                break
            self._write(rows)

    def _write(self, rows: int) -> None:
        """Write the first rows that are pending as a group."""
        group = self._pending.slice(0, rows).combine_chunks()  # a copy
        self._pending, self._sizes = self._pending.slice(rows), self._sizes[rows:]
        self._writer.write_table(group)


@contextmanager
def publish_table(
    path: Path, schema: pa.Schema, *, below: Path | None = None
) -> Iterator[TableWriter]:
    """A writer of a table that appears at `path` when the block ends, complete, or not at all.

    `below` as in `open_folder`.
    """
    with publish(path, below=below) as file:
        with TableWriter(file, schema) as writer:
            yield writer
        writer.hash = written_hash(file)
