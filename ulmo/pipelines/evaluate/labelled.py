"""Labelled recordings: their labels from a CSV file or the names of folders, and their samples."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.config import UserError, plain
from ulmo.jobs.inputs import find_recordings, no_folder
from ulmo.preprocessing.reading.audio import RefusedError, read_mono
from ulmo.storage.csv_rows import MOST_SECONDS, read_csv_rows

_MAX_LABELS_BYTES = 16 << 20
_MAX_LABELS = 50_000  # rows of a file of labels: 25 times ESC-50's


class _Labelled(NamedTuple):
    """A recording or a part of one, with its label."""

    path: Path  # below the folder
    label: str
    speaker: str | None
    start_s: float = 0.0
    end_s: float | None = None  # None: the end of the recording
    source: str | None = None  # what items share, such as the field recording they were cut from


class _Sound(NamedTuple):
    """The samples of a labelled recording, mono."""

    samples: Array  # (n,)
    label: str
    speaker: str | None
    source: str = ""  # by default, the path of its file
    recording: str = ""  # the path of its file


class _Unreadable(NamedTuple):
    """A recording that cannot be read, and why."""

    path: Path
    reason: str
    detail: str


class Sounds(NamedTuple):
    """The recordings that were read, and those that could not be."""

    sounds: list[_Sound]
    refused: list[_Unreadable]

    @classmethod
    def read(
        cls,
        folder: Path,
        labelled: Sequence[_Labelled],
        *,
        sample_rate: int,
        max_seconds: float,
        channel: int | None = None,
        full_scale: float = 1.0,
        progress: Callable[[int], object] = lambda done: None,
    ) -> "Sounds":
        """Read samples at a rate, at most the first seconds of each recording.

        `channel` None is the mean of all. Samples of floating-point files are divided by
        `full_scale`. `progress` receives the number of recordings done.
        """
        sounds, refused = [], []
        for number, item in enumerate(labelled):
            end = item.start_s + max_seconds
            end = end if item.end_s is None else min(end, item.end_s)
            first, last = round(item.start_s * sample_rate), round(end * sample_rate)
            try:
                blocks = read_mono(
                    folder / item.path,
                    sample_rate=sample_rate,
                    channel=channel,
                    full_scale=full_scale,
                )
                samples = _part(blocks, first, last)
                if not len(samples):
                    why = "there are no samples between its start and end"
                    raise RefusedError("too_short", why)
            except RefusedError as refusal:
                refused.append(_Unreadable(item.path, refusal.reason, refusal.detail))
            else:
                path = item.path.as_posix()
                source = path if item.source is None else item.source
                sounds.append(_Sound(samples, item.label, item.speaker, source, path))
            progress(number + 1)
        return cls(sounds, refused)

    @property
    def labels(self) -> list[str]:
        """The label of each sound."""
        return [sound.label for sound in self.sounds]

    @property
    def speakers(self) -> list[str] | None:
        """The speaker of each sound; None if any of them has none."""
        speakers = [sound.speaker for sound in self.sounds if sound.speaker is not None]
        return speakers if len(speakers) == len(self.sounds) else None

    @property
    def sources(self) -> list[str]:
        """The source of each sound."""
        return [sound.source for sound in self.sounds]

    @property
    def groups(self) -> list[list[str]]:
        """The recording, the source, and the speaker, if there are any, of each sound."""
        recordings = [sound.recording for sound in self.sounds]
        return [recordings, self.sources, *([self.speakers] if self.speakers else [])]


def find_labelled(
    folder: Path,
    labels: Path | None = None,
    speaker_column: str | None = None,
    source_column: str | None = None,
    *,
    left_out: Counter[str] | None = None,
) -> list[_Labelled]:
    """Labelled recordings below a folder; by default, the label is the folder that each lies in.

    `labels` is a CSV file with the columns `file` (below the folder) and `label`, and optionally
    `start` and `end` (seconds; empty for a whole recording), `speaker_column` (default: `speaker`)
    and `source_column` (default: none). The column `extra:speaker` takes NAME from `speaker=NAME`
    in the column `extra`, whose KEY=VALUE pairs are separated by semicolons. Sound that is
    not read is counted in `left_out`, as in find_recordings. Raises UserError for files and folders
    that cannot be read in this way.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    if labels is not None:
        return _read_csv(folder, labels, {"speaker": speaker_column, "source": source_column})
    for kind, column in (("speaker", speaker_column), ("source", source_column)):
        if column is not None:
            raise UserError(f"--{kind}-column names a column of the file given with --labels")
    found = find_recordings(folder, left_out=left_out)
    return [_Labelled(path, path.parent.as_posix(), None) for path in found]


def _part(blocks: Iterable[Array], first: int, last: int) -> Array:
    """Samples `first` to `last`; no later block is read."""
    kept, place = [np.empty(0, np.float32)], 0
    for block in blocks:
        kept.append(block[max(first - place, 0) : max(last - place, 0)])
        place += len(block)
        if place >= last:
            break
    return np.concatenate(kept)


def _value(row: dict[str, str], name: str | None) -> str | None:
    """The value of COLUMN in a row, or of KEY=VALUE in it for COLUMN:KEY; None if it is empty."""
    column, _, key = (name or "").partition(":")
    text = row.get(column, "")
    if key:
        pairs = (pair.partition("=") for pair in text.split(";"))
        text = next((value for name, _, value in pairs if name.strip() == key), "")
    return text or None


def _read_csv(folder: Path, labels: Path, given: dict[str, str | None]) -> list[_Labelled]:
    """The rows of a file; `given` are the user's names for the speaker and the source."""
    wanted = ["file", "label", *(name.partition(":")[0] for name in given.values() if name)]
    found = []
    for line, row in read_csv_rows(
        labels,
        wanted,
        optional=("start", "end", "speaker"),
        most_bytes=_MAX_LABELS_BYTES,
        most_rows=_MAX_LABELS,
    ):
        if not row["file"]:
            raise UserError(f"{labels}: line {line} names no file")
        path = Path(row["file"])
        if path.is_absolute() or ".." in path.parts or "\0" in row["file"]:
            raise UserError(f"{labels}: line {line}: {plain(row['file'])} is not below AUDIO_DIR")
        if not _exists(folder / path):
            raise UserError(
                f"{labels}: line {line}: there is no {folder / plain(row['file'])}: "
                "its files are looked for below AUDIO_DIR"
            )
        start, end = (_seconds(row.get(name), labels, line) for name in ("start", "end"))
        for kind, name in given.items():
            if name and not _value(row, name):
                raise UserError(f"{labels}: line {line} has no {kind} in {name!r}")
        speaker, source = _value(row, given["speaker"] or "speaker"), _value(row, given["source"])
        found.append(_Labelled(path, row["label"], speaker, start or 0.0, end, source))
    if not found:
        raise UserError(f"{labels} names no recording")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its name is too long, say
        return False


def _seconds(text: str | None, labels: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise UserError(f"{labels}: line {line}: {plain(text)} is no time in seconds")
    return seconds
