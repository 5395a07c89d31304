"""Rows of a CSV file that a user wrote: bounded, and checked for the columns that are needed."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ulmo.config import UserError, one_line, plain

_MOST_COLUMNS = 256


def read_csv_rows(
    path: Path, columns: Sequence[str], *, most_bytes: int, most_rows: int
) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, by column; the first is on line 2.

    Raises UserError if the file cannot be read, passes a bound, lacks one of the `columns`, or has
    a row with too few fields.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.stat().st_size > most_bytes:
                raise ValueError(f"it has more than {most_bytes} bytes")
            reader = csv.reader(file)
            names = next(reader, [])
            if len(names) > _MOST_COLUMNS:
                raise ValueError(f"it has more than {_MOST_COLUMNS} columns")
            _check_names(path, names, columns)
            rows = []
            for line, fields in enumerate(islice(filter(None, reader), most_rows + 1), 2):
                if len(fields) < len(names):
                    raise UserError(f"{path}: line {line} has too few columns")
                rows.append(dict(zip(names, fields, strict=False)))
            if len(rows) > most_rows:
                raise ValueError(f"it has more than {most_rows} rows")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {one_line(error)}") from None
    return rows


def _check_names(path: Path, names: list[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            there = ", ".join(map(plain, names[:8])) or "none"
            raise UserError(f"{path} has no column {name!r}: it has {there}")
