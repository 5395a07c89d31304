"""Comma-separated values (RFC 4180), a row a column of tokens."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from ulmo.arrays import Ids
from ulmo.formats.header import TokensHeader, utc_text
from ulmo.formats.writer import Writer

FIELDS = ("recording", "channel", "start_utc", "start_s", "fingerprint")
"""Before id_0 to id_{bands - 1}."""


class Csv(Writer):
    """For spreadsheets and R; a missing channel or time is an empty field."""

    def _begin(self) -> None:
        if self._recordings == 1:
            self._write_lines([field_names(self.header)])

    def _write(self, ids: Ids) -> None:
        columns = enumerate(ids.tolist(), self.columns)
        self._write_lines([*row_fields(self.header, column), *row] for column, row in columns)

    def _write_lines(self, lines: Iterable[Iterable[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(lines)
        self._files[0].write(text.getvalue().encode())


def field_names(header: TokensHeader) -> list[str]:
    """The first line."""
    return [*FIELDS, *(f"id_{band}" for band in range(header.bands))]


def row_fields(header: TokensHeader, column: int) -> list[Any]:
    """What stands before the ids of a column."""
    time = header.utc(column)
    return [
        header.recording,
        "" if header.channel is None else header.channel,
        "" if time is None else utc_text(time),
        header.seconds(column),
        header.fingerprint,
    ]
