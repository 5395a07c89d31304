"""What a training run writes as it goes: losses.csv, epochs.csv and TensorBoard events."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from ulmo.pipelines.train.tf_errors import writing
from ulmo.storage.csv_log import CsvLog, batch_columns, epoch_columns


class RunLog:
    """The three logs of one run, of which so many steps are done, and so many epochs closed.

    An epoch is closed after its last step: a checkpoint between the two is of an open one.
    """

    def __init__(
        self, run_dir: Path, objectives: Iterable[str], *, steps: int, epochs: int
    ) -> None:
        names = tuple(objectives)
        self._batches = CsvLog(run_dir / "losses.csv", batch_columns(names), last=steps)
        self._epochs = CsvLog(
            run_dir / "epochs.csv", epoch_columns(names), last=epochs - 1, counted="epoch"
        )
        self._folder = run_dir / "tensorboard"
        with writing(self._folder):
            self._events = tf.summary.create_file_writer(str(self._folder))

    def batch(self, row: Mapping[str, float | int]) -> None:
        """A batch's losses."""
        self._batches.write(row)
        self._scalars("batch", row)

    def epoch(self, row: Mapping[str, float | int], picture: bytes) -> None:
        """An epoch's figures, and its picture (PNG) for TensorBoard."""
        self._epochs.write(row)
        self._scalars("epoch", row)
        with writing(self._folder), self._events.as_default(step=int(row["step"])):
            tf.summary.image("reconstructions", tf.image.decode_png(picture, 3)[None])
        self.flush()

    def flush(self) -> None:
        """Bring everything to the disk's files."""
        self._batches.flush()
        self._epochs.flush()
        with writing(self._folder):
            self._events.flush()

    def close(self) -> None:
        """Flush and close."""
        self._batches.close()
        self._epochs.close()
        with writing(self._folder):
            self._events.close()

    def _scalars(self, group: str, row: Mapping[str, Any]) -> None:
        with writing(self._folder), self._events.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("step", "epoch") and value is not None:
                    tf.summary.scalar(f"{group}/{name}", value)
