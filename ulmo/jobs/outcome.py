"""What became of a recording: one row of recordings.parquet, for every command.

A command that has more to say adds fields in a subclass. A new column is one line.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import model_validator

from ulmo.config import Settings
from ulmo.storage.columns import (
    Channels,
    Checksum,
    Codes,
    ColumnType,
    Count,
    Microseconds,
    OptionalCode,
    OptionalCount,
    OptionalDecibels,
    OptionalHertz,
    OptionalShare,
    OptionalSmallCount,
    OptionalText,
    PathText,
    PathTexts,
    Seconds,
    SmallCount,
    Text,
)

Status = Annotated[Literal["ok", "repaired", "partial", "refused"], ColumnType("string")]


class Outcome(Settings):
    """The columns that every command writes."""

    path: PathText  # as the user gave it, or below the folder that the user gave
    bytes: Count
    ends_crc32c: Checksum  # CRC-32C of the first and last 4096 bytes: jobs.inputs.InputFile
    status: Status
    reason: OptionalCode = None  # a stable code; null if the status is ok
    detail: OptionalText = None  # the same in words; and why a time in it was not used
    sample_rate: OptionalSmallCount = None  # hertz
    channels: Channels = None
    frames: Count = 0  # samples of each channel that were read
    frames_declared: OptionalCount = None  # by the header, true or not
    frames_missing: Count = 0  # declared, or held by the file, but not read
    duration_s: Seconds = 0.0  # of what was read
    flags: Codes = ()  # what is odd about the samples: preprocessing.quality.FLAGS
    bandwidth_hz: OptionalHertz = None  # the highest frequency that tiles or tokens show
    share_above: OptionalShare = None  # share of the power that lies above it; null for silence
    peak_db: OptionalDecibels = None  # largest sample re full scale; null for digital silence
    stretches: Count = 0  # parts between which time was left out; one in most recordings
    start_utc: Microseconds = None  # time of the first sample
    start_source: OptionalCode = None  # where it was found: pattern, guano, comment, bext, ...
    key: Text  # hash of everything that decides about this row: the recording and the settings

    @model_validator(mode="after")
    def _check_flags(self) -> Self:
        if self.flags and not self.sample_rate:
            raise ValueError("a recording without a sample rate has flags")
        return self._sharing()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._sharing()

    def _sharing(self) -> Self:
        """This row, with one note of the fields for all rows: it takes more memory than they do."""
        object.__setattr__(self, "__pydantic_fields_set__", _fields_of(type(self)))
        return self


@cache
def _fields_of(row: type[Outcome]) -> set[str]:
    return set(row.model_fields)


class Prepared(Outcome):
    """A recording in a folder of tiles."""

    tiles: SmallCount = 0


class Tokenized(Outcome):
    """A recording in a folder of tokens."""

    columns: Count = 0  # of tokens, of one channel
    bands: SmallCount = 0
    samples: Count = 0  # of each channel, at the tokenizer's rate
    unknown: Count = 0  # ids that are <unk>, in all outputs
    outputs: PathTexts = ()  # below the folder of the table
    tokens_sha256: OptionalText = None  # of the outputs: formats.publish.tokens_hash


class FlagCount(NamedTuple):
    """The recordings that have a flag."""

    recordings: int
    example: str  # path of the first of them
    sample_rate: int  # of that one, in hertz
    bandwidth_hz: float | None  # of that one
    peak_db: float | None  # the largest of all
    slowed: int = 0  # of the recordings, those that are flagged `time_expanded`, too


def count_flags(rows: Iterable[Mapping[str, Any]]) -> dict[str, FlagCount]:
    """Count the flags of rows of recordings.parquet, each by the names of its columns.

    Rows that were read are those of an Outcome: others may be anything.
    """
    counts: dict[str, FlagCount] = {}
    for row in rows:
        for flag in row["flags"] or ():
            first = (0, row["path"], row["sample_rate"], row["bandwidth_hz"], row["peak_db"])
            found = counts.setdefault(flag, FlagCount(*first))
            slowed = found.slowed + ("time_expanded" in row["flags"])
            peaks = [peak for peak in (found.peak_db, row["peak_db"]) if peak is not None]
            counts[flag] = found._replace(
                recordings=found.recordings + 1, peak_db=max(peaks, default=None), slowed=slowed
            )
    return counts
