"""Recordings cut into rows, each with its own start time; JSON lines, a row an object."""

import json
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import PIECE, Format, Headers
from ulmo.formats.header import TokensHeader, utc_text
from ulmo.storage.plain_file import open_unlinked

ROW_COLUMNS = PIECE  # columns of tokens in a row, at most: 11 minutes at 160 ms
_MAX_ID = (1 << 16) - 1
MAX_LINE_START = 8 * 4096  # characters of a line before its ids, at most

T = TypeVar("T")


class TokenRow(NamedTuple):
    """Consecutive columns of a recording."""

    header: TokensHeader
    column: int  # the first column
    ids: NDArray[np.uint16]  # (n, band)

    def fields(self, ids: Any = None) -> dict[str, Any]:
        """The row as JSON has it, with `ids` in the place of its ids.

        An unknown time is an empty text: readers of many files give each field one type, and a
        null in the first file has none.
        """
        header, time = self.header, self.header.utc(self.column)
        unknown = int((self.ids == header.vocabulary.unk).sum())
        return {
            "recording": header.recording,
            "channel": header.channel,
            "start_utc": "" if time is None else utc_text(time),  # of the first column
            "start_s": header.seconds(self.column),  # from the recording's first sample
            "end_s": header.end_seconds(self.column + len(self.ids)),
            "hop_s": header.hop / header.sample_rate,
            "bands": header.bands,
            "edges_hz": list(header.edges_hz),
            "ids": ids,
            "unk_rate": unknown / self.ids.size,  # share of the ids that are `<unk>`
        }


def row_columns(header: TokensHeader, column: int) -> int:
    """Columns in a full row that begins at `column`: evenly spaced in time, at most ROW_COLUMNS."""
    end = None if header.gaps == "keep" else header.border(column)
    return ROW_COLUMNS if end is None else min(end - column, ROW_COLUMNS)


class RowFormat(Format):
    """Collects columns into rows as long as `row_columns`; the last of a recording is shorter."""

    def _begin(self) -> None:
        self._start_row(0)

    def _start_row(self, column: int) -> None:
        self._column = column  # the row's first
        self._held = np.empty((ROW_COLUMNS, self.header.bands), np.uint16)
        self._filled = 0

    def _write(self, ids: Ids) -> None:
        """A full row is held until more columns come: the recording's last one ends earlier."""
        while len(ids):
            left = row_columns(self.header, self._column) - self._filled
            if left <= 0:
                self._end()
                self._start_row(self._column + self._filled)
                continue
            taken = ids[:left]
            self._held[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            ids = ids[len(taken) :]

    def _end(self) -> None:
        if self._filled:
            ids = self._held[: self._filled].copy()
            self._write_row(TokenRow(self.header, self._column, ids))

    def _write_row(self, row: TokenRow) -> None:
        raise NotImplementedError


class Jsonl(RowFormat):
    """One object a line, UTF-8."""

    suffixes = (".tokens.jsonl",)
    trains = True
    tabular = True

    def _write_row(self, row: TokenRow) -> None:
        self._files[0].write(_line(row).encode())

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Ids of rows that are just as written."""
        bound = MAX_LINE_START + 8 * ROW_COLUMNS * headers[0].bands
        with TextIOWrapper(open_unlinked(path), "utf-8", newline="\n") as file:
            lines = bounded_lines(file, bound)
            yield from ids_of_rows(((_ids(line), line) for line in lines), headers, _line)


def ids_of_rows(
    rows: Iterator[tuple[NDArray[np.uint16], T]], headers: Headers, written: Callable[[TokenRow], T]
) -> Iterator[Ids]:
    """Ids of each recording, from rows that must be exactly those that `RowFormat` writes.

    rows: the ids that each of them seems to hold, and the whole row.
    written: the row that is written of these ids. If it is the one that was read, no other
        program reads other ids there.
    """
    for header in headers:
        pieces = [np.empty((0, header.bands), np.int32)]
        column = 0
        while column < header.columns:
            found = next(rows, None)
            if found is None:
                raise ValueError("there are fewer rows than its header says")
            ids, row = found
            length = min(row_columns(header, column), header.columns - column)
            if len(ids) != length * header.bands:
                raise ValueError(f"column {column} of {header.recording!r} begins no such row")
            piece = ids.reshape(-1, header.bands)
            if row != written(TokenRow(header, column, piece)):
                raise ValueError(
                    f"column {column} of {header.recording!r} is not as ulmo writes it"
                )
            pieces.append(piece.astype(np.int32))
            column += length
        yield np.concatenate(pieces)
    if next(rows, None) is not None:
        raise ValueError("there are more rows than its header says")


def bounded_lines(file: TextIO, bound: int) -> Iterator[str]:
    """Lines with their ends; ValueError for one without end, or of `bound` characters or more."""
    while line := file.readline(bound):
        if len(line) == bound:
            raise ValueError(f"a line is longer than {bound} characters")
        if not line.endswith("\n"):
            raise ValueError("its last line is cut")
        yield line


def _line(row: TokenRow) -> str:
    values = row.fields(row.ids.reshape(-1).tolist())
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"{text}\n"


def _ids(line: str) -> NDArray[np.uint16]:
    row = json.loads(line)
    ids = row.get("ids") if isinstance(row, dict) else None
    if not isinstance(ids, list):
        raise ValueError("a line is no row of tokens")
    if not all(type(each) is int and 0 <= each <= _MAX_ID for each in ids):
        raise ValueError(f"ids must be whole numbers up to {_MAX_ID}")
    return np.array(ids, np.uint16)
