"""Reading back what was written: each recording's header and ids, and nothing believed."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError, one_line
from ulmo.formats.csv import field_names, row_fields
from ulmo.formats.header import (
    AGAIN,
    TokensHeader,
    check_hash,
    header_path,
    read_stored,
    utc_text,
)
from ulmo.formats.jsonl import row_start
from ulmo.formats.megatron import MAX_LENGTH, index_bytes
from ulmo.formats.parquet import rows_schema
from ulmo.formats.rows import ROW_COLUMNS, Row
from ulmo.tokens import read_npy

Headers = tuple[TokensHeader, ...]


class StoredTokens(NamedTuple):
    """One recording's tokens."""

    header: TokensHeader
    ids: Ids  # (time, band)


def read_tokens(path: Path) -> Iterator[StoredTokens]:
    """Each recording of a tokens file: .npy, .parquet, .jsonl, .csv, .bin, or Megatron's .idx.

    Its header must lie beside it, and say what the file holds; UserError where they disagree, or
    where either is missing or damaged. No more is held than one recording.
    """
    if path.suffix not in READERS:
        raise UserError(f"{path} cannot be read back: only {', '.join(READERS)} can")
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    stored = read_stored(header_path(path))
    headers = stored.headers
    try:
        check_hash(path, stored)
        for header, ids in zip(headers, READERS[path.suffix](path, headers), strict=True):
            yield StoredTokens(header, _checked(header, ids))
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): {AGAIN}") from None


def _checked(header: TokensHeader, ids: Ids) -> Ids:
    if ids.shape != (header.columns, header.bands):
        raise ValueError(f"its header says {header.columns} x {header.bands} ids")
    if ids.size and not (ids.min() >= 0 and ids.max() < header.vocabulary.size):
        raise ValueError(f"ids must be below {header.vocabulary.size}")
    if int((ids == header.vocabulary.unk).sum()) != header.unknown:
        raise ValueError(f"its header says that {header.unknown} ids are unknown")
    return ids


def _read_npy(path: Path, headers: Headers) -> Iterator[Ids]:
    if len(headers) != 1:
        raise ValueError("its header is of several recordings")
    yield read_npy(path)


def _read_flat(path: Path, headers: Headers) -> Iterator[Ids]:
    lengths = [header.columns * header.bands + 1 for header in headers]
    if path.stat().st_size != 2 * sum(lengths):
        raise ValueError(f"its header says {sum(lengths)} ids")
    with path.open("rb") as file:
        for header, length in zip(headers, lengths, strict=True):
            ids = np.fromfile(file, "<u2", length).astype(np.int32)
            if len(ids) < length or ids[-1] != header.vocabulary.special("<eos>"):
                raise ValueError(f"no <eos> after {header.recording!r}")
            yield ids[:-1].reshape(-1, header.bands)


def _read_megatron(path: Path, headers: Headers) -> Iterator[Ids]:
    lengths = [header.columns * header.bands + 1 for header in headers]
    if max(lengths) > MAX_LENGTH:
        raise ValueError("its header says more ids than a document can have")
    expected = index_bytes(lengths)
    if path.stat().st_size != len(expected) or path.read_bytes() != expected:
        raise ValueError("its header says other documents")
    data = path.with_suffix(".bin")
    if not data.is_file():
        raise UserError(f"{data} is missing, which holds the ids of {path.name}")
    check_hash(data, read_stored(header_path(data)))
    yield from _read_flat(data, headers)


def _read_csv(path: Path, headers: Headers) -> Iterator[Ids]:
    bands, size = headers[0].bands, path.stat().st_size
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(_bounded_lines(file, 8 * 4096 + 64 * bands), strict=True)
        if next(rows, None) != field_names(headers[0]):
            raise ValueError("its first line names other columns")
        for header in headers:
            if 2 * header.columns * bands > size:
                raise ValueError("its header says more ids than it can hold")
            ids = np.empty((header.columns, bands), np.int32)
            for column in range(header.columns):
                row = next(rows, [])
                start = [str(value) for value in row_fields(header, column)]
                if len(row) != len(start) + bands or row[: len(start)] != start:
                    raise ValueError(f"column {column} of {header.recording!r} is another's")
                ids[column] = [_integer(text) for text in row[len(start) :]]
            yield ids
        if next(rows, None) is not None:
            raise ValueError("there are more columns than its header says")


def _read_jsonl(path: Path, headers: Headers) -> Iterator[Ids]:
    bound = 8 * 4096 + 8 * ROW_COLUMNS * headers[0].bands
    with path.open(encoding="utf-8", newline="\n") as file:
        rows = (_json_row(line) for line in _bounded_lines(file, bound))
        yield from _from_rows(rows, headers)


def _json_row(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("ids"), list):
        raise ValueError("a line is no row of tokens")
    return row


def _read_parquet(path: Path, headers: Headers) -> Iterator[Ids]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ulmo.storage.parquet_guard import check_pages

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            expected = rows_schema(headers[0].grid)
            found = file.schema_arrow
            if not found.equals(expected) or found.metadata != expected.metadata:
                raise ValueError("it has other columns, or another tokenizer's tokens")
            check_pages(path, ROW_COLUMNS * headers[0].bands)
            yield from _from_rows(_parquet_rows(file), headers)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(error) from None


def _parquet_rows(file: Any) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(batch_size=8):
        for row in range(len(batch)):
            values = {name: batch[name][row] for name in batch.schema.names}
            ids = values.pop("ids")
            if not ids.is_valid or ids.values.null_count:
                raise ValueError("an id is missing")
            yield {
                **{name: value.as_py() for name, value in values.items()},
                "ids": ids.values.to_numpy(),
            }


def _from_rows(rows: Iterator[dict[str, Any]], headers: Headers) -> Iterator[Ids]:
    """Ids of each recording, of rows that must be exactly those that we write."""
    for header in headers:
        pieces = [np.empty((0, header.bands), np.int32)]
        for column in range(0, header.columns, ROW_COLUMNS):
            row = next(rows, None)
            if row is None:
                raise ValueError("there are fewer rows than its header says")
            ids = row.pop("ids")
            if len(ids) != min(ROW_COLUMNS, header.columns - column) * header.bands:
                raise ValueError(f"column {column} of {header.recording!r} begins no such row")
            array = np.array(ids)
            if array.dtype.kind not in "iu" or array.ndim != 1:
                raise ValueError("ids must be whole numbers")
            piece = array.reshape(-1, header.bands)
            if _written(row) != _expected(Row(header, column, piece)):
                raise ValueError(f"column {column} of {header.recording!r} is another's")
            pieces.append(piece.astype(np.int32))
        yield np.concatenate(pieces)
    if next(rows, None) is not None:
        raise ValueError("there are more rows than its header says")


def _expected(row: Row) -> dict[str, Any]:
    rest = {"unk_rate": row.unk_rate, "fingerprint": row.header.fingerprint}
    return {**row_start(row), **rest}


def _written(row: dict[str, Any]) -> dict[str, Any]:
    """A row of Parquet as one of JSON."""
    time = row.get("start_utc")
    return {**row, "start_utc": utc_text(time)} if isinstance(time, datetime) else row


def _bounded_lines(file: TextIO, bound: int) -> Iterator[str]:
    while line := file.readline(bound):
        if len(line) == bound:
            raise ValueError(f"a line is longer than {bound} characters")
        if not line.endswith("\n"):
            raise ValueError("its last line is cut")
        yield line


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError(f"{text[:20]!r} is no id")
    return int(text)


READERS: dict[str, Callable[[Path, Headers], Iterator[Ids]]] = {
    ".npy": _read_npy,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".bin": _read_flat,
    ".idx": _read_megatron,
}
