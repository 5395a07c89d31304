"""What a training run writes as it goes: losses.csv, epochs.csv and TensorBoard events."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from ulmo.preprocessing.atomic import publish

LOSSES = ("total", "reconstruction", "commitment", "codebook", "perplexity", "usage")
BATCH_COLUMNS = ("step", "epoch", *LOSSES)
EPOCH_COLUMNS = (
    *("epoch", "step"),
    *(f"train_{name}" for name in LOSSES),
    *("val_reconstruction", "val_reconstruction_db", "val_sound_reconstruction_db"),
    *("val_commitment", "val_usage", "val_entropy", "val_perplexity"),
    *("val_sound_usage", "val_sound_entropy", "val_sound_perplexity"),
)


class CsvLog:
    """Rows appended to a CSV file; a resumed run first drops what came after its checkpoint."""

    def __init__(self, path: Path, columns: tuple[str, ...], *, last_step: int) -> None:
        rows = [row for row in _rows(path) if int(row["step"]) <= last_step]
        with publish(path) as file:
            lines = [columns, *([row[name] for name in columns] for row in rows)]
            file.write("".join(",".join(line) + "\n" for line in lines).encode())
        self._columns = columns
        self._file = path.open("a", newline="", encoding="utf-8")

    def write(self, row: Mapping[str, float | int]) -> None:
        """Append a row; a value that is missing or None is left empty."""
        cells = (row.get(name) for name in self._columns)
        self._file.write(",".join("" if cell is None else f"{cell:.7g}" for cell in cells) + "\n")

    def flush(self) -> None:
        """Bring what was written to the file."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RunLog:
    """The three logs of one run."""

    def __init__(self, run_dir: Path, *, last_step: int) -> None:
        self._batches = CsvLog(run_dir / "losses.csv", BATCH_COLUMNS, last_step=last_step)
        self._epochs = CsvLog(run_dir / "epochs.csv", EPOCH_COLUMNS, last_step=last_step)
        self._events = tf.summary.create_file_writer(str(run_dir / "tensorboard"))

    def batch(self, row: Mapping[str, float | int]) -> None:
        """A batch's losses."""
        self._batches.write(row)
        self._scalars("batch", row)

    def epoch(self, row: Mapping[str, float | int], picture: bytes) -> None:
        """An epoch's figures, and its picture (PNG) for TensorBoard."""
        self._epochs.write(row)
        self._scalars("epoch", row)
        with self._events.as_default(step=int(row["step"])):
            tf.summary.image("reconstructions", tf.image.decode_png(picture, 3)[None])
        self.flush()

    def flush(self) -> None:
        """Bring everything to the disk's files."""
        self._batches.flush()
        self._epochs.flush()
        self._events.flush()

    def close(self) -> None:
        """Flush and close."""
        self._batches.close()
        self._epochs.close()
        self._events.close()

    def _scalars(self, group: str, row: Mapping[str, Any]) -> None:
        with self._events.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("step", "epoch") and value is not None:
                    tf.summary.scalar(f"{group}/{name}", value)


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV log; an empty cell is NaN."""
    rows = _rows(path)
    names = rows[0] if rows else {}
    return {name: [float(row[name] or "nan") for row in rows] for name in names}


def _rows(path: Path) -> list[dict[str, str]]:
    """Whole rows; one that a kill cut short is not among them."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    complete = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(complete.splitlines()))
