"""losses.csv and epochs.csv: appended to by a run, cut back when it is resumed, and read."""

import csv
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ulmo.config import OWN, loss_names
from ulmo.storage.atomic import publish
from ulmo.storage.plain_file import append_to, naming, open_unlinked_text

_VALIDATION = (
    *("val_total", "val_latent_variance", "val_pair_similarity"),
    *("val_reconstruction", "val_reconstruction_db", "val_sound_reconstruction_db"),
    *("val_commitment", "val_usage", "val_entropy", "val_perplexity"),
    *("val_sound_usage", "val_sound_entropy", "val_sound_perplexity"),
)
_BUFFER_BYTES = 1 << 13  # of rows that wait to be written


def batch_columns(objectives: Iterable[str]) -> tuple[str, ...]:
    """Columns of losses.csv."""
    return ("step", "epoch", *loss_names(objectives))


def epoch_columns(objectives: Iterable[str]) -> tuple[str, ...]:
    """Columns of epochs.csv; `val_NAME_error` is the standard error of `val_NAME_score`."""
    names = tuple(objectives)
    training = (f"train_{name}" for name in loss_names(names))
    own = (f"val_{name}_{part}" for name in names for part in (*OWN, "error"))
    return ("epoch", "step", *training, *_VALIDATION, *own)


class CsvLog:
    """Rows appended to a CSV file; a resumed run first drops the rows after its checkpoint.

    These are the rows whose step, or other column `counted`, is above `last`.
    """

    def __init__(
        self, path: Path, columns: tuple[str, ...], *, last: int, counted: str = "step"
    ) -> None:
        rows = [row for row in _rows(path) if int(row[counted]) <= last]
        with publish(path) as file:
            lines = [columns, *([row[name] for name in columns] for row in rows)]
            file.write("".join(",".join(line) + "\n" for line in lines).encode())
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


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV log; an empty cell is NaN."""
    rows = _rows(path)
    names = rows[0] if rows else {}
    return {name: [float(row[name] or "nan") for row in rows] for name in names}


def _cell(value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def _rows(path: Path) -> list[dict[str, str]]:
    """Whole rows; a last row cut short by a kill is dropped."""
    if not os.path.lexists(path):
        return []
    with open_unlinked_text(path, newline="") as file:
        text = file.read()
    complete = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(complete.splitlines()))
