"""Comma-separated values (RFC 4180), a row a token."""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers
from ulmo.formats.header import TokensHeader, utc_text
from ulmo.formats.rows import MAX_LINE_START, bounded_lines
from ulmo.storage.plain_file import open_unlinked_text

_FIELDS = ("recording", "channel", "start_s", "end_s", "low_hz", "high_hz", "start_utc", "id")
# An empty field would have no type: readers of many files would give it another in each.
_NO_TIME = "NaT"  # pandas' word for it


class Csv(Format):
    """For spreadsheets and R; a missing channel is an empty field, a missing time NaT."""

    words = "a line a token, with its times and hertz, for spreadsheets and R"
    suffixes = (".tokens.csv",)
    tabular = True

    def _begin(self) -> None:
        if self._recordings == 1:
            self._write_lines([_FIELDS])
        self._held = np.empty((0, self.header.bands), np.int32)

    def _write(self, ids: Ids) -> None:
        """The last column is held until the next comes: the recording's last one ends earlier."""
        self._write_columns(self._held, self.columns - len(self._held))
        self._write_columns(ids[:-1], self.columns)
        self._held = ids[-1:].copy()

    def _end(self) -> None:
        self._write_columns(self._held, self.columns - len(self._held))

    def _write_columns(self, ids: Ids, first: int) -> None:
        self._write_lines(
            (*place, number)
            for column, row in enumerate(ids.tolist(), first)
            for place, number in zip(_places(self.header, column), row, strict=True)
        )

    def _write_lines(self, lines: Iterable[Iterable[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(lines)
        self._files[0].write(text.getvalue().encode())

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Compare each line's first fields with the headers' fields, then parse its id."""
        size = path.stat().st_size
        with open_unlinked_text(path, newline="") as file:
            rows = csv.reader(bounded_lines(file, MAX_LINE_START), strict=True)
            if next(rows, None) != list(_FIELDS):
                raise ValueError("its first line names other columns")
            for header in headers:
                if 2 * header.columns * header.bands > size:
                    raise ValueError("its header says more ids than it can hold")
                ids = np.empty((header.columns, header.bands), np.int32)
                for column in range(header.columns):
                    places = _places(header, column)
                    ids[column] = [_id_behind(place, next(rows, [])) for place in places]
                yield ids
            if next(rows, None) is not None:
                raise ValueError("there are more columns than its header says")


def _places(header: TokensHeader, column: int) -> list[tuple[Any, ...]]:
    """The fields before the id, for each token of a column; None is written as an empty field."""
    time = header.utc(column)
    begin, end = header.seconds(column), header.end_seconds(column + 1)
    utc = _NO_TIME if time is None else utc_text(time)
    return [
        (header.recording, header.channel, begin, end, low, high, utc)
        for low, high in pairwise(header.edges_hz)
    ]


def _id_behind(place: tuple[Any, ...], row: list[str]) -> int:
    """The id of a line whose other fields must be those of a token's place."""
    if row[:-1] != ["" if value is None else str(value) for value in place]:
        raise ValueError(f"a line is not that of {place[0]!r} at {place[2]} s")
    return _integer(row[-1])


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError(f"{text[:20]!r} is no id")
    return int(text)
