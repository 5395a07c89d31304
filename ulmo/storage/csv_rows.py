"""Rows of a CSV file that a user wrote: bounded, and checked for the columns that are needed."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ulmo.config import UserError, one_line, plain


def read_csv_rows(
    path: Path, columns: Sequence[str], *, most_bytes: int, most_rows: int
) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by column; row i is on line i + 2 of a plain file.

    Raises UserError if the file cannot be read, passes a bound, lacks a column, or has a row with
    too few or too many fields.
    """
    names, rows = _read(path, most_bytes, most_rows)
    missing = [name for name in columns if name not in names]
    if missing:
        there = ", ".join(map(plain, names[:8])) or "none"
        raise UserError(f"{path} has no column {missing[0]!r}: it has {there}")
    for line, row in enumerate(rows, 2):
        if None in row.values():
            raise UserError(f"{path}: line {line} has too few columns")
    return rows


def _read(path: Path, most_bytes: int, most_rows: int) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the columns, and the rows."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.stat().st_size > most_bytes:
                raise ValueError(f"it has more than {most_bytes} bytes")
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            rows = list(islice(reader, most_rows + 1))
            if len(rows) > most_rows:
                raise ValueError(f"it has more than {most_rows} rows")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {one_line(error)}") from None
    return names, rows
