"""Rows of a CSV file that a user wrote: one at a time, bounded, of the columns that are wanted."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ulmo.config import UserError, one_line, plain

MOST_SECONDS = 1e9  # of a time in such a file. 30 years: later than any recording ends
_MOST_COLUMNS = 256
_MOST_CHARACTERS = 1 << 20  # of a row


class _Lines(Iterator[str]):
    """Lines of a file. Raises ValueError for a row that is too long, and for too many lines.

    csv.reader makes a list of all fields of a row, which may have many lines.
    """

    def __init__(self, file: TextIO, most: int) -> None:
        self._file = file
        self._left = self._most = most
        self.row = 0  # characters of the row that is being read: set it to 0 after each

    def __next__(self) -> str:
        line = self._file.readline(_MOST_CHARACTERS + 1)
        self.row += len(line)
        self._left -= 1
        if not line:
            raise StopIteration
        if self.row > _MOST_CHARACTERS:
            raise ValueError(f"a row has more than {_MOST_CHARACTERS} characters")
        if self._left < 0:
            raise ValueError(f"it has more than {self._most} lines")
        return line


def read_csv_rows(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    most_bytes: int,
    most_rows: int,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header: the line of each, and its fields by column.

    Only fields of `columns`, and of those columns of `optional` that are there, are kept. Raises
    UserError if the file cannot be read, passes a bound, lacks one of the `columns`, or has a row
    with too few fields.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.stat().st_size > most_bytes:
                raise ValueError(f"it has more than {most_bytes} bytes")
            lines = _Lines(file, 2 * most_rows)
            # Of the whole process. A field is a row at most, and csv itself allows an eighth of it.
            csv.field_size_limit(max(csv.field_size_limit(), _MOST_CHARACTERS))
            reader = csv.reader(lines)
            names = next(reader, [])
            if len(names) > _MOST_COLUMNS:
                raise ValueError(f"it has more than {_MOST_COLUMNS} columns")
            _check_names(path, names, columns)
            wanted = {*columns, *optional}
            places = {name: place for place, name in enumerate(names) if name in wanted}
            lines.row = rows = 0
            for fields in reader:
                lines.row = 0
                if not fields:
                    continue
                rows += 1
                if rows > most_rows:
                    raise ValueError(f"it has more than {most_rows} rows")
                if len(fields) < len(names):
                    raise UserError(f"{path}: line {reader.line_num} has too few columns")
                yield reader.line_num, {name: fields[place] for name, place in places.items()}
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {one_line(error)}") from None


def _check_names(path: Path, names: list[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            there = ", ".join(map(plain, names[:8])) or "none"
            raise UserError(f"{path} has no column {name!r}: it has {there}")
