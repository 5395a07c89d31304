"""Comma-separated values (RFC 4180), a row a column of tokens."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers
from ulmo.formats.header import TokensHeader, utc_text
from ulmo.formats.rows import MAX_LINE_START, bounded_lines

_FIELDS = ("recording", "channel", "start_utc", "start_s", "fingerprint")  # then id_0, id_1, ...


class Csv(Format):
    """For spreadsheets and R; a missing channel or time is an empty field."""

    words = "a line a column, for spreadsheets and R"
    suffixes = (".tokens.csv",)

    def _begin(self) -> None:
        if self._recordings == 1:
            self._write_lines([_field_names(self.header)])

    def _write(self, ids: Ids) -> None:
        columns = enumerate(ids.tolist(), self.columns)
        self._write_lines([*_row_fields(self.header, column), *row] for column, row in columns)

    def _write_lines(self, lines: Iterable[Iterable[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(lines)
        self._files[0].write(text.getvalue().encode())

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Compare each line's first fields with the headers' fields, then parse its ids."""
        bands, size = headers[0].bands, path.stat().st_size
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(bounded_lines(file, MAX_LINE_START + 64 * bands), strict=True)
            if next(rows, None) != _field_names(headers[0]):
                raise ValueError("its first line names other columns")
            for header in headers:
                if 2 * header.columns * bands > size:
                    raise ValueError("its header says more ids than it can hold")
                ids = np.empty((header.columns, bands), np.int32)
                for column in range(header.columns):
                    row = next(rows, [])
                    fields = _row_fields(header, column)
                    start = ["" if value is None else str(value) for value in fields]
                    if len(row) != len(start) + bands or row[: len(start)] != start:
                        raise ValueError(f"column {column} of {header.recording!r} is another's")
                    ids[column] = [_integer(text) for text in row[len(start) :]]
                yield ids
            if next(rows, None) is not None:
                raise ValueError("there are more columns than its header says")


def _field_names(header: TokensHeader) -> list[str]:
    """Fields of the first line."""
    return [*_FIELDS, *(f"id_{band}" for band in range(header.bands))]


def _row_fields(header: TokensHeader, column: int) -> list[Any]:
    """The fields before the ids of a column; None is written as an empty field."""
    time = header.utc(column)
    text = None if time is None else utc_text(time)
    return [header.recording, header.channel, text, header.seconds(column), header.fingerprint]


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError(f"{text[:20]!r} is no id")
    return int(text)
