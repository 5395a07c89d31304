"""The files of a run in training: checkpoints, losses.csv, epochs.csv and TensorBoard events."""

import errno
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf

from ulmo.config import JobError, UserError, whole_letters
from ulmo.jobs.best_effort import BestEffort
from ulmo.pipelines.hosts import means_lost
from ulmo.storage.atomic import make_folders
from ulmo.storage.checkpoint_files import (
    PREFIX,
    damaged_files,
    files_of,
    numbers,
    remove_others,
    what_is_wrong,
    write_digests,
)
from ulmo.storage.csv_log import CsvLog, LogColumns
from ulmo.storage.faults import remove_any
from ulmo.storage.open_folder import open_folder
from ulmo.storage.removal import remove_if_possible

_EVENTS = "what TensorBoard shows"
_NEW = ".new"  # folder of the checkpoint that is being written


class RunLog:
    """The three logs of a run that has done `steps` steps and closed `epochs` epochs.

    An epoch is closed after its last step: a checkpoint between the two belongs to an open epoch.
    Every row of losses.csv and epochs.csv is written, or OSError ends the run; it can do without
    TensorBoard's events.
    """

    def __init__(
        self,
        run_dir: Path,
        columns: LogColumns,
        best_effort: BestEffort,
        *,
        steps: int,
        epochs: int,
    ) -> None:
        say = best_effort.say
        self._batches = CsvLog(run_dir / "losses.csv", columns.batches, last=steps, say=say)
        self._epochs = CsvLog(
            run_dir / "epochs.csv", columns.epochs, last=epochs - 1, counted="epoch", say=say
        )
        self._events = _Events(run_dir / "tensorboard", best_effort)

    def batch(self, row: Mapping[str, float | int]) -> None:
        """Log the losses of a batch."""
        self._batches.write(row)
        self._events.scalars("batch", row)

    def epoch(self, row: Mapping[str, float | int], picture: bytes | None) -> None:
        """Log the figures of an epoch, and its picture (PNG), if there is one, for TensorBoard."""
        self._epochs.write(row)
        self._events.scalars("epoch", row)
        if picture is not None:
            self._events.picture(row, picture)
        self.flush()

    def flush(self) -> None:
        """Write what is buffered to the files."""
        self._batches.flush()
        self._epochs.flush()
        self._events.flush()

    def close(self) -> None:
        """Flush and close."""
        self._batches.close()
        self._epochs.close()
        self._events.close()


class _Events:
    """TensorBoard's events. After a failure, a session writes no more of them."""

    def __init__(self, folder: Path, best_effort: BestEffort) -> None:
        self._folder = folder
        self._best_effort = best_effort
        self._writer: Any = None
        with best_effort(_EVENTS), _writing(folder):
            folder.mkdir(exist_ok=True)
            name = f".{secrets.token_hex(8)}.v2"  # nobody can foresee it, and plant a link
            self._writer = tf.summary.create_file_writer(os.fsencode(folder), filename_suffix=name)

    def scalars(self, group: str, row: Mapping[str, Any]) -> None:
        def write(_: Any) -> None:
            for name, value in row.items():
                if name not in ("step", "epoch") and value is not None and math.isfinite(value):
                    tf.summary.scalar(f"{group}/{name}", value)

        self._write(write, row)

    def picture(self, row: Mapping[str, Any], picture: bytes) -> None:
        image = tf.image.decode_png(picture, 3)[None]
        self._write(lambda _: tf.summary.image("reconstructions", image), row)

    def flush(self) -> None:
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        self._write(lambda writer: writer.close())

    def _write(self, action: Callable[[Any], object], row: Mapping[str, Any] | None = None) -> None:
        """Call `action` with the writer, to which summaries go meanwhile, at the row's step."""
        if self._writer is None:
            return
        with self._best_effort(_EVENTS) as attempt, _writing(self._folder), ExitStack() as stack:
            if row is not None:
                stack.enter_context(self._writer.as_default(step=int(row["step"])))
            action(self._writer)
        if attempt.failed:
            self._writer = None


class Checkpoints:
    """The latest `keep` checkpoints of some tracked objects, in one folder.

    TensorFlow's CheckpointManager writes the index of a checkpoint in place, syncs nothing, and
    knows its checkpoints from one file. Here a checkpoint is written aside and moved into place: a
    kill leaves all earlier ones intact, a power cut does not undo a save, and if the latest
    checkpoint is damaged, the one before it is read.

    `below` is a folder above, the run's: on the way from there no link is followed.
    """

    def __init__(
        self, folder: Path, *, keep: int, below: Path | None = None, **tracked: Any
    ) -> None:
        self._folder = folder
        self._below = below or folder.parent
        self._keep = keep
        self._tracked = tf.train.Checkpoint(**tracked)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the existing checkpoints, the latest last."""
        return numbers(self._folder)

    def save(self) -> None:
        """Write a checkpoint, and remove the oldest."""
        new = self._folder / _NEW
        make_folders(self._folder, below=self._below)
        remove_any(new, below=self._below)
        new.mkdir()  # fails if somebody else has made it meanwhile
        number = max(self.numbers, default=0) + 1
        with _writing(new), _in_utf8(new) as name:
            self._tracked.write(f"{name}/{PREFIX}-{number}")
        write_digests(new, number)
        parts = files_of(new, number)
        for part in parts:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        made = open_folder(new, below=self._below)
        with made as old, open_folder(self._folder, below=self._below) as folder:
            for part in parts:
                old.move(part.name, part.name, folder)
                folder.sync()
        self.tidy()

    def restore(self) -> list[Path]:
        """Read the latest whole checkpoint; returns the damaged or missing files of later ones.

        Raises UserError if none is whole, if one cannot be read (it may be whole), or if a newer
        ulmo wrote one.
        """
        damaged: list[Path] = []
        for number in reversed(self.numbers):
            path = self._folder / f"{PREFIX}-{number}"
            try:
                wrong = damaged_files(self._folder, number)
            except OSError as error:
                raise UserError(
                    f"{error.filename or path} cannot be read ({error.strerror}): change its "
                    f"permissions, or move {path.name}.* away to use an earlier checkpoint"
                ) from None
            if not wrong:
                self._read(path)
                return damaged
            damaged += wrong
        remedy = "copy it from a backup, or begin a new run"
        raise UserError(
            f"{damaged[0]} is {what_is_wrong(damaged[0])}, and no checkpoint is whole: {remedy}"
        )

    def _read(self, path: Path) -> None:
        """Read a whole checkpoint. Raises UserError if it has not what this ulmo writes."""
        try:
            with _in_utf8(path.parent) as name:
                self._tracked.read(f"{name}/{path.name}").assert_existing_objects_matched()
        except (AssertionError, ValueError):
            raise UserError(f"{path} was written by another ulmo: begin a new run") from None

    def tidy(self) -> None:
        """Remove old checkpoints, and what a killed `save` left behind."""
        remove_others(self._folder, self.numbers[-self._keep :], below=self._below)
        remove_if_possible(self._folder / _NEW, below=self._below)


@contextmanager
def _in_utf8(folder: Path) -> Iterator[str]:
    """A path of a folder in UTF-8, if need be through a link: TensorFlow saves to no other path."""
    name = str(folder)
    if whole_letters(name) == name:
        yield name
        return
    with TemporaryDirectory(prefix="ulmo-") as place:
        (link := Path(place, "run")).symlink_to(folder.resolve(), target_is_directory=True)
        yield str(link)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """TensorFlow's errors as ours: OSError for a full disk, a JobError of one line for others."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    except tf.errors.OpError as error:
        if means_lost(error):
            raise
        raise JobError(f"{path} cannot be written: {error.message.splitlines()[0]}") from None
