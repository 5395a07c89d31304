"""Comma-separated values (RFC 4180), a row a token."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ulmo.arrays import Ids
from ulmo.formats.base import Headers
from ulmo.formats.cells import csv_cell
from ulmo.formats.header import TokensHeader, utc_text
from ulmo.formats.rows import RowFormat, TokenRow
from ulmo.storage.plain_file import open_unlinked

_HEAD = b"recording,channel,start_s,end_s,low_hz,high_hz,start_utc,id\r\n"
_MAX_ID = 8  # bytes of an id and the end of its line: ids have up to five digits
# An empty field would have no type: readers of many files would give it another in each.
_NO_TIME = "NaT"  # pandas' word for it


class Csv(RowFormat):
    """For spreadsheets and R; a missing channel is an empty field, a missing time NaT.

    A recording whose name would be a formula has an apostrophe before it: see `csv_cell`.
    """

    suffixes = (".tokens.csv",)
    tabular = True
    repeats_name = True

    def _begin(self) -> None:
        super()._begin()
        if self._recordings == 1:
            self._files[0].write(_HEAD)

    def _write_row(self, row: TokenRow) -> None:
        lines = _Lines(row.header)
        text = (
            f"{start}{number}\r\n"
            for column, ids in enumerate(row.ids.tolist(), row.column)
            for start, number in zip(lines.starts(column), ids, strict=True)
        )
        self._files[0].write("".join(text).encode())

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Ids of lines that are just as written: only the ids are parsed."""
        size = path.stat().st_size
        with open_unlinked(path) as file:
            if file.read(len(_HEAD)) != _HEAD:
                raise ValueError("its first line names other columns")
            for header in headers:
                if 2 * header.columns * header.bands > size:
                    raise ValueError("its header says more ids than it can hold")
                lines = _Lines(header)
                ids = np.empty((header.columns, header.bands), np.int32)
                for column in range(header.columns):
                    ids[column] = [_id_behind(start, file) for start in lines.starts(column)]
                yield ids
            if file.read(1):
                raise ValueError("there are more columns than its header says")


class _Lines:
    """The lines of a recording, but for their ids."""

    def __init__(self, header: TokensHeader) -> None:
        self._header = header
        channel = "" if header.channel is None else header.channel
        self._recording = f"{csv_cell(header.recording)},{channel}"
        self._bands = [f"{low},{high}" for low, high in pairwise(header.edges_hz)]

    def starts(self, column: int) -> list[str]:
        """All of the line before the id, for each token of a column."""
        time = self._header.utc(column)
        begin, end = self._header.seconds(column), self._header.end_seconds(column + 1)
        utc = _NO_TIME if time is None else utc_text(time)
        place = f"{self._recording},{begin},{end}"
        return [f"{place},{band},{utc}," for band in self._bands]


def _id_behind(start: str, file: BinaryIO) -> int:
    """The id of the next line, which must begin with `start`."""
    expected = start.encode()
    if file.read(len(expected)) != expected:
        raise ValueError(f"no line begins with {start[:200]!r}")
    text, end = (line := file.readline(_MAX_ID))[:-2], line[-2:]
    if end == b"\r\n" and text.isdigit() and text == b"%d" % int(text):
        return int(text)
    raise ValueError(f"{line!r} is no id as ulmo writes it")
