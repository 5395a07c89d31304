"""losses.csv and epochs.csv: appended to by a run, cut back when it is resumed, and read."""

import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.config import OWN, loss_names
from ulmo.storage.atomic import publish
from ulmo.storage.plain_file import append_to, bounded_lines, lexists, naming, open_unlinked

_VALIDATION = (
    *("val_total", "val_latent_variance", "val_pair_similarity"),
    *("val_reconstruction", "val_reconstruction_db", "val_sound_reconstruction_db"),
    *("val_commitment", "val_usage", "val_entropy", "val_perplexity"),
    *("val_sound_usage", "val_sound_entropy", "val_sound_perplexity"),
)
_BUFFER_BYTES = 1 << 13  # of rows that wait to be written
MOST_VALUES = 1 << 23  # numbers of a log in memory: 64 MiB, and 20 columns of 400,000 batches
MAX_LINE = 1 << 16  # bytes; the names of all objectives' columns take 3,000, their numbers less


def batch_columns(objectives: Iterable[str]) -> tuple[str, ...]:
    """Columns of losses.csv."""
    return ("step", "epoch", *loss_names(objectives))


def epoch_columns(objectives: Iterable[str]) -> tuple[str, ...]:
    """Columns of epochs.csv; `val_NAME_error` is the standard error of `val_NAME_score`."""
    names = tuple(objectives)
    training = (f"train_{name}" for name in loss_names(names))
    own = (f"val_{name}_{part}" for name in names for part in (*OWN, "error"))
    return ("epoch", "step", *training, *_VALIDATION, *own)


class LogColumns(NamedTuple):
    """The columns of the two logs of a run."""

    batches: tuple[str, ...]  # of losses.csv
    epochs: tuple[str, ...]  # of epochs.csv

    @classmethod
    def of(cls, objectives: Iterable[str]) -> "LogColumns":
        """Those of a tokenizer that is trained with some objectives."""
        names = tuple(objectives)
        return cls(batch_columns(names), epoch_columns(names))


class CsvLog:
    """Rows appended to a CSV file; a resumed run first drops the rows after its checkpoint.

    These are the rows whose step, or other column `counted`, is above `last`. Damaged lines are
    dropped too, and `say` is called with a line about them: the weights do not depend on a log.
    A line that is too long to be one of a log is the last that is read.
    """

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...],
        *,
        last: int,
        counted: str = "step",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        rows = _Rows(path, columns, counted)
        with publish(path) as file:
            file.write((",".join(columns) + "\n").encode())
            file.writelines(line.encode() for count, line in rows.each() if count <= last)
        if rows.damaged:
            what = f"{path} is damaged; lines of it that are left out: {rows.damaged}"
            say(f"{what}, and all that follows" if rows.is_cut else what)
        self._path = path
        self._columns = columns
        self._buffer = bytearray()
        # Without Python's buffer: it is flushed once more when the file is deleted, and on a full
        # disk that prints a second error.
        self._file = append_to(path, buffering=0)

    def write(self, row: Mapping[str, float | int]) -> None:
        """Append a row; missing values, None and numbers that are not finite are empty cells.

        Raises OSError, which names the file, if the disk is full.
        """
        line = ",".join(_cell(row.get(name)) for name in self._columns) + "\n"
        self._buffer += line.encode()
        if len(self._buffer) > _BUFFER_BYTES:
            self._write()

    def flush(self) -> None:
        """Write what is buffered to the file, and the file to the disk."""
        self._write()
        with naming(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        with self._file:
            self.flush()

    def _write(self) -> None:
        with naming(self._path):
            while self._buffer:
                del self._buffer[: self._file.write(self._buffer)]


def read_log(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a CSV log, each (rows,); an empty cell is NaN.

    Of a log that has more than MOST_VALUES numbers, evenly spread rows are kept: half of that many
    numbers or more, for pictures. Raises ValueError if the log is damaged.
    """
    columns: dict[str, array[float]] = {}
    step = 1  # between rows that are kept
    for number, row in enumerate(log_rows(path)):
        if number % step:
            continue
        for name, value in row.items():
            columns.setdefault(name, array("d")).append(value)
        if (number // step + 1) * len(row) > MOST_VALUES:
            step *= 2
            columns = {name: values[::2] for name, values in columns.items()}
    return {name: np.frombuffer(values) for name, values in columns.items()}


def log_rows(path: Path) -> Iterator[dict[str, float]]:
    """Rows of a CSV log, while one is in memory; as `read_log`.

    A last row that a kill cut short is left out.
    """
    lines = log_lines(path)
    names = next(lines, "").rstrip("\n").split(",")
    for line in lines:
        if line.endswith("\n"):
            cells = line[:-1].split(",")
            yield {n: float(cell or "nan") for n, cell in zip(names, cells, strict=True)}


def log_lines(path: Path) -> Iterator[str]:
    """Lines of a log with their ends, which the last may lack; none if there is no log.

    What is no ASCII becomes `\ufffd`. Raises ValueError at a line that is too long for a log.
    """
    if lexists(path):
        with open_unlinked(path) as file:
            for line in bounded_lines(file, MAX_LINE):
                yield line.decode("ascii", errors="replace")


def _cell(value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.7g}"


class _Rows:
    """The rows of a log that are whole: numbers, in the order of their counts.

    Once they were read, `damaged` is the number of the other lines, and `is_cut` says whether the
    last of them is too long to be a line, so that what follows it was not read.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], counted: str) -> None:
        self._path = path
        self._columns = columns
        self._place = columns.index(counted)
        self.damaged = 0
        self.is_cut = False

    def each(self) -> Iterator[tuple[int, str]]:
        """The count and the line of each row."""
        names, last = ",".join(self._columns) + "\n", -1
        try:
            lines = log_lines(self._path)
            is_ours = (first := next(lines, names)) == names
            self.damaged += not is_ours and first.endswith("\n")
            for line in lines:
                count = self._count(line) if is_ours else -1
                if count > last:
                    last = count
                    yield count, line
                else:
                    self.damaged += line.endswith("\n")  # a kill cut the last one short
        except ValueError:
            self.damaged, self.is_cut = self.damaged + 1, True

    def _count(self, line: str) -> int:
        """The count of a row; -1 for a line that is none."""
        cells = line[:-1].split(",") if line.endswith("\n") else []
        with suppress(ValueError):
            if len(cells) == len([float(cell or "nan") for cell in cells]) == len(self._columns):
                return int(cells[self._place])
        return -1
