"""The logs of a training run: losses.csv, epochs.csv and TensorBoard events."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from ulmo.config import JobError
from ulmo.storage.csv_log import CsvLog, batch_columns, epoch_columns


class RunLog:
    """The three logs of a run that has done `steps` steps and closed `epochs` epochs.

    An epoch is closed after its last step: a checkpoint between the two belongs to an open epoch.
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
        """Log the losses of a batch."""
        self._batches.write(row)
        self._scalars("batch", row)

    def epoch(self, row: Mapping[str, float | int], picture: bytes) -> None:
        """Log the figures of an epoch, and its picture (PNG) for TensorBoard."""
        self._epochs.write(row)
        self._scalars("epoch", row)
        with writing(self._folder), self._events.as_default(step=int(row["step"])):
            tf.summary.image("reconstructions", tf.image.decode_png(picture, 3)[None])
        self.flush()

    def flush(self) -> None:
        """Write what is buffered to the files."""
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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """TensorFlow's errors as ours: OSError for a full disk, a JobError of one line for others."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    except tf.errors.OpError as error:
        raise JobError(f"{path} cannot be written: {error.message.splitlines()[0]}") from None
