"""One recording, read once: what the commands of events need to know of each of its channels.

recording -> stretches -> ids (columns, bands), levels (columns, cells), times -> Heard
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Indices
from ulmo.config import ClockSettings
from ulmo.encoding import EncodedStretch
from ulmo.formats.header import TokensHeader
from ulmo.jobs.inputs import Found, input_file
from ulmo.jobs.progress import ReadingProgress, lost_with
from ulmo.listening.cells import SILENCE_DB, CellLevels, Cells
from ulmo.listening.latents import with_latents
from ulmo.listening.worker_tokenizer import opened
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.reading.audio import (
    Recording,
    RefusedError,
    channel_list,
    open_recording,
)
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.refusal import WORKER_LOST
from ulmo.preprocessing.spectrogram import levels
from ulmo.preprocessing.stretches import Stretch, plan_stretches, read_stretches
from ulmo.preprocessing.times.clock import Clock, Span
from ulmo.storage.names import portable
from ulmo.tokenizer import Tokenizer, TokenizerRef
from ulmo.tokens import nearest_column

_CLOCK = ClockSettings()
_AGAIN = "it is not as it was when it was tokenized: tokenize it again"


Latents = NDArray[np.float16]  # half the memory: 23 MB an hour with the tokenizer that ships


class Given(NamedTuple):
    """Stored tokens of one channel of a recording, which need not be made again."""

    header: TokensHeader
    ids: Ids  # (columns, bands)
    file: tuple[int, int] | None = None  # size and checksum of the recording then, if known


class Wanted(NamedTuple):
    """What is to be heard of every recording."""

    channels: str = "mix"  # mix, each, or a number from 0
    bins: int = 8  # of a cell
    ids: bool = True  # whether to encode; without, ids are empty
    latents: bool = False  # whether to keep latents, too; there are none of stored tokens
    clock: ClockSettings = _CLOCK


class Part(NamedTuple):
    """A stretch of a channel, in which no time was left out."""

    start_s: float  # true time of its first sample, from the recording's first sample
    offset_s: float  # the same in the file, in which gaps have no length
    seconds: float  # of sound
    columns: int
    ids: Ids  # (columns, bands); (0, bands) if they were not wanted
    cells: Cells  # of all columns
    latents: Latents | None = None  # (columns, bands * EMB), if they were wanted


class When(NamedTuple):
    """When an event is."""

    start_s: float  # true time from the recording's first sample
    end_s: float
    offset_s: float  # of its start in the file
    start_utc: datetime | None


class Heard(NamedTuple):
    """One channel of a recording."""

    recording: str  # its name, as text
    path: Path
    channel: int | None  # None: the mean of all
    parts: Sequence[Part]
    column_s: float  # from one column to the next
    edges_hz: NDArray[np.float64]  # (cells + 1,)
    highest_hz: float  # half the rate of the recording, or of the tokenizer if that is less
    start_utc: datetime | None  # of the recording's first sample
    unk_quantile: float | None  # level of `<unk>`; None: no id is
    file_s: float  # length of the file

    @property
    def columns(self) -> int:
        """Columns of all parts."""
        return sum(part.columns for part in self.parts)

    @property
    def begins(self) -> list[int]:
        """The first column of each part, in the row of all their columns."""
        sizes = [part.columns for part in self.parts]
        return [0, *accumulate(sizes[:-1])]

    @property
    def places(self) -> Indices:
        """Numbers (columns,) of the columns in true time, as in stored tokens with `<gap>`."""
        found, end = [np.empty(0, np.int64)], 0
        for part in self.parts:
            first = max(nearest_column(Fraction(part.start_s), Fraction(self.column_s)), end)
            end = first + part.columns
            found.append(np.arange(first, end))
        return np.concatenate(found)

    @property
    def cells(self) -> Cells:
        """Levels of all parts in a row. Cells above what the recording can hold are silent."""
        joined = Cells.joined((part.cells for part in self.parts), len(self.edges_hz) - 1)
        joined.means[:, self.edges_hz[:-1] >= self.highest_hz] = SILENCE_DB
        return joined

    @property
    def ids(self) -> Ids:
        """Ids of all parts in a row."""
        return np.concatenate([part.ids for part in self.parts])

    @property
    def latents(self) -> Latents | None:
        """Latents of all parts in a row; None if there are none."""
        found = [part.latents for part in self.parts if part.latents is not None]
        return np.concatenate(found) if len(found) == len(self.parts) else None

    def when(self, first: float, end: float) -> When:
        """The times of columns `first` to `end` - 1 of that row, all of one part."""
        begins = self.begins
        number = max(bisect_right(begins, first) - 1, 0)
        part, late = self.parts[number], (first - begins[number]) * self.column_s
        start_s = part.start_s + late
        end_s = part.start_s + min((end - begins[number]) * self.column_s, part.seconds)
        start_utc = self.start_utc and self.start_utc + timedelta(
            microseconds=round(start_s * 1_000_000)
        )
        return When(start_s, max(end_s, start_s), part.offset_s + late, start_utc)


class Listened(NamedTuple):
    """What became of a recording."""

    found: Found
    facts: dict[str, Any]  # status, reason, detail and others, as in recordings.parquet
    heard: Sequence[Heard] = ()  # of each channel; none if it was refused


def refusals(facts: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and reason of each recording that was refused."""
    return [
        (each["path"], f"{each['reason']} ({each['detail']})")
        for each in facts
        if each["status"] == "refused"
    ]


class Job(NamedTuple):
    """A recording, and perhaps tokens of it."""

    found: Found
    given: Given | None = None
    refused: tuple[str, str] | None = None  # reason and detail, if it is not to be heard


def listen(tokenizer: Tokenizer | TokenizerRef, wanted: Wanted, job: Job) -> Listened:
    """Read a recording. One that cannot be read has a refusal, and no channels.

    A worker is given a reference. A recording that changes while it is read is read once more.
    """
    tokenizer = opened(tokenizer)
    progress = ReadingProgress(input_file(job.found.source).size)
    return progress.read(
        partial(_listen_once, tokenizer, wanted, job, progress),
        lambda found: found.facts.get("reason") == "changed" and job.given is None,
    )


def _listen_once(
    tokenizer: Tokenizer, wanted: Wanted, job: Job, progress: ReadingProgress
) -> Listened:
    source, clock, timing = job.found.source, Clock.of(wanted.clock), None
    file = input_file(source)
    name = {"path": portable(job.found.name)}
    try:
        if job.refused:
            raise RefusedError(*job.refused)
        if lost := lost_with(source):
            raise RefusedError(WORKER_LOST, lost)
        if job.given and job.given.file not in (None, (file.size, file.ends)):
            raise RefusedError("changed", _AGAIN)
        timing = clock.timing(source)
        with open_recording(source, full_scale=tokenizer.prep.full_scale) as recording:
            if (file.size, file.mtime_ns) != (recording.size, recording.mtime_ns):
                raise RefusedError("changed", "the file was changed while it was read: try later")
            chosen = channel_list(wanted.channels, recording.channels)
            if job.given:
                chosen = [job.given.header.channel]
            hearing = _cells(tokenizer, wanted)
            progress.follow(recording, len(chosen) * (1 + tokenizer.needs_two_passes * wanted.ids))
            heard = []
            with in_turn(recording, chosen):
                for channel in chosen:
                    reader = _Reader(tokenizer, recording, timing.spans, channel, hearing)
                    parts = list(reader.parts(wanted, job.given))
                    if not parts:
                        raise RefusedError("too_short", "there is less sound than a sample")
                    heard.append(
                        Heard(
                            recording=name["path"],
                            path=source,
                            channel=channel,
                            parts=parts,
                            column_s=float(reader.hop),
                            edges_hz=hearing.edges_hz,
                            highest_hz=min(recording.sample_rate, tokenizer.prep.true_rate) / 2,
                            start_utc=timing.start.utc if timing.start else None,
                            unk_quantile=_level_of(tokenizer, job.given),
                            file_s=recording.frames_read / recording.sample_rate,
                        )
                    )
            facts = timing.facts(hearing.facts(recording.facts()))
    except RefusedError as refusal:
        return Listened(job.found, name | clock.row(source, timing, refusal))
    return Listened(job.found, name | facts, heard)


def _level_of(tokenizer: Tokenizer, given: Given | None) -> float | None:
    return given.header.unk_quantile if given else tokenizer.unk_quantile


def _cells(tokenizer: Tokenizer, wanted: Wanted) -> CellLevels:
    return CellLevels(
        build_frontend(tokenizer.prep),
        tokenizer.prep,
        bins=wanted.bins,
        frames=tokenizer.manifest.model.time_stride,
    )


_Read = tuple[Fraction, int, Ids, Latents | None]


class _Reader(NamedTuple):
    """One channel of an open recording."""

    tokenizer: Tokenizer
    recording: Recording
    spans: tuple[Span, ...]
    channel: int | None
    hearing: CellLevels

    @property
    def hop(self) -> Fraction:
        """Seconds from one column to the next."""
        prep, stride = self.tokenizer.prep, self.tokenizer.manifest.model.time_stride
        return Fraction(prep.hop_length * stride, prep.true_rate)

    def stretches(self) -> Iterator[Stretch]:
        """Its samples, from the first on at each call."""
        return read_stretches(
            *(self.recording, self.channel, self.tokenizer.prep.true_rate, self.spans),
            hop=self.hop,
            hearing=self.hearing,
        )

    def parts(self, wanted: Wanted, given: Given | None) -> Iterator[Part]:
        """Its stretches, one in memory after the other."""
        planned = plan_stretches(self.spans, self.recording.sample_rate, self.hop)
        offsets = {each.start: each.spans[0].frame / self.recording.sample_rate for each in planned}
        rate = self.tokenizer.prep.true_rate
        encoded = wanted.ids and given is None
        read = self._encoded(wanted) if encoded else self._measured()
        stored = _stored(given) if given else None
        for start, samples, ids, latents in read:
            cells = self.hearing.take()
            if stored is not None:
                ids = next(stored, ids)
            if len(cells.means) and len(ids) not in (0, len(cells.means)):
                raise RefusedError("changed", _AGAIN)
            if len(cells.means):
                place = float(start), offsets[start], samples / rate
                yield Part(*place, len(cells.means), ids, cells, latents)
        if stored is not None and next(stored, None) is not None:
            raise RefusedError("changed", _AGAIN)
        if given and given.header.recording_frames not in (0, self.recording.frames_read):
            raise RefusedError("changed", _AGAIN)

    def _encoded(self, wanted: Wanted) -> Iterator[_Read]:
        """Start, samples, ids and perhaps latents of each stretch."""
        tokenizer = with_latents(self.tokenizer) if wanted.latents else self.tokenizer
        for stretch in tokenizer.stretches(self.stretches, hearing=self.hearing):
            ids, latents = [], []
            for part in stretch:
                ids.append(part.ids)
                if part.latents is not None:
                    latents.append(part.latents.reshape(len(part.ids), -1).astype(np.float16))
            joined = np.concatenate(latents) if latents else None
            yield stretch.start, stretch.samples, np.concatenate(ids), joined

    def _measured(self) -> Iterator[_Read]:
        """The same without ids: the encoder is not run."""
        prep = self.tokenizer.prep
        nothing = np.empty((0, self.tokenizer.manifest.model.bands), np.int32)
        frontend = build_frontend(prep)
        for stretch in self.stretches():
            counted = EncodedStretch(stretch.start, 0, 0)
            for _ in levels(counted.count(stretch.blocks), frontend, prep, hearing=self.hearing):
                pass
            yield stretch.start, counted.samples, nothing, None


def _stored(given: Given) -> Iterator[Ids]:
    """The ids of each stretch of stored tokens."""
    if not given.header.segments:
        yield given.ids
    for segment in given.header.segments:
        yield given.ids[segment.column : segment.column + segment.columns]
