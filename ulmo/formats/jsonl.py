"""JSON lines: the rows of the Parquet file, an object each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ulmo.arrays import Ids
from ulmo.formats.base import Headers
from ulmo.formats.rows import (
    MAX_LINE_START,
    ROW_COLUMNS,
    RowFormat,
    TokenRow,
    bounded_lines,
    ids_of_rows,
)


class Jsonl(RowFormat):
    """One object a line, UTF-8."""

    words = "JSON lines, a row an object"
    suffixes = (".tokens.jsonl",)
    trains = True

    def _write_row(self, row: TokenRow) -> None:
        values = row.fields(row.ids.reshape(-1).tolist())
        line = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._files[0].write(line.encode() + b"\n")

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Ids of rows that are just as written."""
        bound = MAX_LINE_START + 8 * ROW_COLUMNS * headers[0].bands
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from ids_of_rows(map(_row, bounded_lines(file, bound)), headers)


def _row(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("ids"), list):
        raise ValueError("a line is no row of tokens")
    return row
