"""Recordings with labels, from a CSV file or from the names of folders."""

import csv
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.config import UserError, one_line, plain
from ulmo.jobs.inputs import find_recordings
from ulmo.preprocessing.audio import RefusedError, read_mono

MAX_LABELS_BYTES = 16 << 20
MAX_LABELS = 50_000
"""Rows of a file of labels: 25 times ESC-50's."""
SPEAKER = "speaker"
"""Column of the speakers, unless another one is named."""


class Labelled(NamedTuple):
    """A recording or a part of one, and what it is."""

    path: Path  # below the folder
    label: str
    speaker: str | None
    start_s: float = 0.0
    end_s: float | None = None
    """None: to the recording's end."""
    source: str | None = None
    """What it has in common with others, if told: a field recording, of which it is one clip."""


class Sound(NamedTuple):
    """The samples of a labelled recording, mono."""

    samples: Array  # (n,)
    label: str
    speaker: str | None
    source: str = ""
    """What is told, else the path of its file."""


class Refused(NamedTuple):
    """A recording that cannot be read, and why."""

    path: Path
    reason: str
    detail: str


class Sounds(NamedTuple):
    """What was read, and what could not be."""

    sounds: list[Sound]
    refused: list[Refused]

    @property
    def labels(self) -> list[str]:
        """Of each sound."""
        return [sound.label for sound in self.sounds]

    @property
    def speakers(self) -> list[str] | None:
        """Of each sound; None where no speaker is told."""
        if any(sound.speaker is None for sound in self.sounds):
            return None
        return [sound.speaker or "" for sound in self.sounds]

    @property
    def sources(self) -> list[str]:
        """Of each sound."""
        return [sound.source for sound in self.sounds]


def find_labelled(
    folder: Path,
    labels: Path | None = None,
    speaker_column: str | None = None,
    source_column: str | None = None,
) -> list[Labelled]:
    """Labelled recordings below a folder; the folder that each lies in is its label.

    `labels` is a CSV file with the columns `file` (below the folder) and `label`, and if there are
    `start` and `end` (seconds; empty for a whole recording) and the speakers' `speaker_column`,
    `speaker` if none is named. `extra:speaker` takes `speaker=NAME` out of a column `extra` of
    NAME=VALUE, with semicolons between. `source_column`, only if named, is that of the sources.
    Raises UserError for what cannot be read so.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if labels is not None:
        groups = [_Group("speaker", speaker_column or SPEAKER, speaker_column is not None)]
        groups += [_Group("source", source_column, True)] if source_column else []
        return _read_csv(folder, labels, groups)
    for what, named in (("speaker", speaker_column), ("source", source_column)):
        if named is not None:
            raise UserError(f"--{what}-column names a column of the file given with --labels")
    found = find_recordings(folder)
    if not found:
        raise UserError(f"no recordings below {folder} (.wav, .flac, .ogg and others)")
    return [Labelled(path, path.parent.as_posix(), None) for path in found]


def read_sounds(
    folder: Path,
    labelled: Sequence[Labelled],
    *,
    sample_rate: int,
    max_seconds: float,
    channel: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Sounds:
    """Samples at a rate, of each at most the first seconds; what cannot be read is told."""
    sounds, refused = [], []
    for number, item in enumerate(labelled):
        end = item.start_s + max_seconds
        end = end if item.end_s is None else min(end, item.end_s)
        first, last = round(item.start_s * sample_rate), round(end * sample_rate)
        try:
            blocks = read_mono(folder / item.path, sample_rate=sample_rate, channel=channel)
            samples = _part(blocks, first, last)
            if not len(samples):
                raise RefusedError("too_short", "there is less sound than a sample")
        except RefusedError as refusal:
            refused.append(Refused(item.path, refusal.reason, refusal.detail))
        else:
            source = item.path.as_posix() if item.source is None else item.source
            sounds.append(Sound(samples, item.label, item.speaker, source))
        if progress:
            progress(number + 1)
    return Sounds(sounds, refused)


def _part(blocks: Iterable[Array], first: int, last: int) -> Array:
    """Samples `first` to `last`; no block behind them is read."""
    kept, place = [np.empty(0, np.float32)], 0
    for block in blocks:
        kept.append(block[max(first - place, 0) : max(last - place, 0)])
        place += len(block)
        if place >= last:
            break
    return np.concatenate(kept)


class _Group(NamedTuple):
    """A column that says what items have in common."""

    what: str
    """`speaker` or `source`."""
    named: str
    """COLUMN, or COLUMN:KEY."""
    asked: bool
    """False: read where it is there."""

    @property
    def column(self) -> str:
        """Its name in the file."""
        return self.named.partition(":")[0]

    def of(self, row: dict[str, str]) -> str | None:
        """What a row says; None where it says nothing."""
        return _value(row.get(self.column, ""), self.named.partition(":")[2]) or None


def _read_csv(folder: Path, labels: Path, groups: list[_Group]) -> list[Labelled]:
    if labels.exists() and not labels.is_file():
        raise UserError(f"{labels} is no file")
    try:
        with labels.open(encoding="utf-8-sig", newline="") as file:
            if labels.stat().st_size > MAX_LABELS_BYTES:
                raise ValueError(f"it has more than {MAX_LABELS_BYTES} bytes")
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = list(islice(reader, MAX_LABELS + 1))
            if len(rows) > MAX_LABELS:
                raise ValueError(f"it has more than {MAX_LABELS} rows")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{labels}: cannot be read as CSV: {one_line(error)}") from None
    wanted = ["file", "label", *(group.column for group in groups if group.asked)]
    missing = [name for name in wanted if name not in columns]
    if missing:
        there = ", ".join(map(plain, columns[:8])) or "none"
        raise UserError(f"{labels} has no column {missing[0]!r}: it has {there}")
    if not rows:
        raise UserError(f"{labels} names no recording")
    found = []
    for line, row in enumerate(rows, 2):
        if None in row.values() or not row["file"]:
            raise UserError(f"{labels}: line {line} has too few columns, or no file")
        if not _is_below(row["file"]):
            raise UserError(f"{labels}: line {line}: {plain(row['file'])} is not below AUDIO_DIR")
        if not (folder / row["file"]).exists():
            raise UserError(
                f"{labels}: line {line}: there is no {folder / plain(row['file'])}: "
                "its files are looked for below AUDIO_DIR"
            )
        times = [_seconds(row.get(name), labels, line) for name in ("start", "end")]
        told = {group.what: group.of(row) for group in groups}
        for what, named, asked in groups:
            if asked and not told[what]:
                raise UserError(f"{labels}: line {line} has no {what} in {named!r}")
        place = Path(row["file"]), row["label"], told["speaker"], times[0] or 0.0, times[1]
        found.append(Labelled(*place, told.get("source")))
    return found


def _is_below(name: str) -> bool:
    """True of a path that leads to no other folder."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts and "\0" not in name


def _seconds(text: str | None, labels: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{labels}: line {line}: {plain(text)} is no time in seconds")
    return seconds


def _value(text: str, key: str) -> str:
    """The text itself, or what stands behind KEY= in it."""
    if not key:
        return text
    pairs = (pair.partition("=") for pair in text.split(";"))
    return next(chain((value for name, _, value in pairs if name.strip() == key), [""]))
