"""losses.csv and epochs.csv: appended to by a run, cut back when it is resumed, and read."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ulmo.config import OWN, loss_names
from ulmo.storage.atomic import publish
from ulmo.storage.plain_file import append_to, naming, open_unlinked

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

    These are the rows whose step, or other column `counted`, is above `last`. Damaged lines are
    dropped too, and `say` is called with a line about them: the weights do not depend on a log.
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
        names, *lines = _lines(path) or [",".join(columns)]
        if names != ",".join(columns):
            rows, damaged = [], 1 + len(lines)
        else:
            rows = _good_rows(lines, columns, counted)
            damaged = len(lines) - len(rows)
        if damaged:
            say(f"{path} is damaged; lines of it that are left out: {damaged}")
        place = columns.index(counted)
        kept = [line for line in rows if int(line.split(",")[place]) <= last]
        with publish(path) as file:
            file.write("".join(f"{line}\n" for line in [",".join(columns), *kept]).encode())
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
    """Columns of a CSV log; an empty cell is NaN. Raises ValueError if it is damaged."""
    names, *lines = _lines(path) or [""]
    rows = [line.split(",") for line in lines]
    columns = zip(*rows, strict=True) if rows else ()
    found = dict(zip(names.split(","), columns, strict=bool(rows)))
    return {name: [float(cell or "nan") for cell in cells] for name, cells in found.items()}


def _cell(value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def _lines(path: Path) -> list[str]:
    """Whole lines; a last one cut short by a kill is dropped. What is no ASCII becomes `\ufffd`."""
    if not os.path.lexists(path):
        return []
    with open_unlinked(path) as file:
        return file.read().decode("ascii", errors="replace").split("\n")[:-1]


def _good_rows(lines: Iterable[str], columns: tuple[str, ...], counted: str) -> list[str]:
    """Rows of numbers, in the order of their counts."""
    place, last = columns.index(counted), -1
    rows = []
    for line in lines:
        cells = line.split(",")
        with suppress(ValueError):
            is_row = len(cells) == len([float(cell or "nan") for cell in cells]) == len(columns)
            if is_row and (count := int(cells[place])) > last:
                rows.append(line)
                last = count
    return rows
