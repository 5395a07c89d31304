"""Tokens of consecutive recordings, joined into one file with `<gap>` between them."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import NewerError, UserError
from ulmo.formats import header
from ulmo.formats.base import Options
from ulmo.formats.folder import TokensLedger
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.publish import STEM, output_paths, publish_tokens, temporary_names
from ulmo.jobs.inputs import portable
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.pipelines.tokenize.timeline import Recorded, lay_out
from ulmo.preprocessing.audio import RefusedError, channel_list, open_recording
from ulmo.preprocessing.clock import EPOCH, Clock
from ulmo.storage.atomic import (
    TEMPORARY,
    is_left,
    remove,
    remove_temporaries,
    short_name,
)
from ulmo.storage.lock import lock_path
from ulmo.tokenizer import Tokenizer
from ulmo.tokens import read_npy_blocks

_GAP_PIECE = 4096  # columns of a gap that are written at a time
_MAX_GAP_SECONDS = 7 * 24 * 3600  # longer gaps lie between deployments; each column is written out
_MAY_PASS = frozenset({"unreadable", "changed"})  # refused, but perhaps not tomorrow


class Timeline(NamedTuple):
    """A timeline that was written."""

    output: Path
    recordings: int
    gaps: int
    gap_seconds: float
    columns: int
    bands: int


class TimelineOutput:
    """A timeline and the ledger beside it, made by an earlier job or about to be made.

    `timeline` and `results` are those of an earlier job with the same recordings, if it ended.
    Raises UserError if the file has the tokens of another tokenizer.
    """

    def __init__(
        self, out: Path, options: TokenizeOptions, ledger: TokensLedger, plan: Sequence[Planned]
    ) -> None:
        self._out = out
        self._options = options
        self._ledger = ledger
        self._plan = plan
        self._outputs = output_paths(out, options.file_format)
        self.timeline: Timeline | None = None
        self.results: list[Result] = []
        found = self._header()
        keys = [planned.key for planned in plan]
        if found is None or not ledger.has_exactly(keys):
            return
        rows = [row for key in keys for row in ledger.done(key)]
        if any(row.reason in _MAY_PASS and row.bytes for row in rows):
            return
        joined = Counter(row.path for row in rows if row.status != "refused")
        if Counter(segment.recording for segment in found.segments) != joined:
            return  # another job has written over it
        self.timeline = _summary(out, found)
        for planned, row in zip(plan, rows, strict=True):
            outputs = [] if row.status == "refused" else [out]
            self.results.append(Result(planned.source, outputs, row, reused=True))

    @property
    def is_finished(self) -> bool:
        """Whether the timeline is there, and no files of a killed job."""
        paths = ((path, TEMPORARY.fullmatch(path.name)) for path in self._out.parent.glob(".*"))
        left = (path for path, match in paths if match and self._is_ours(match["name"]))
        hidden = (self._plan[0].folder, lock_path(self._out))
        return (
            self.timeline is not None
            and self._ledger.is_finished(planned.key for planned in self._plan)
            and not any(map(is_left, left))
            and not any(path.exists() for path in hidden)
        )

    def write(self, results: Sequence[Result]) -> None:
        """Join the parts, and write the ledger. If all were refused, an older timeline goes."""
        good = [result for result in results if result.outputs]
        self._ledger.remove()
        if not good:
            for path in (self._outputs.header, *self._outputs.files):
                remove(path)
            return
        options = self._options
        self.timeline = _join(good, self._out, options.file_format, options.options)
        with self._ledger.writing([]):
            for result in results:
                names = (self._out.name,) if result.outputs else ()
                row = result.outcome.model_copy(update={"outputs": names})
                self._ledger.add(row.key, [row])
            self._ledger.finish(planned.key for planned in self._plan)

    def tidy(self) -> None:
        """Remove the parts, and what a killed job left."""
        self._ledger.tidy()
        shutil.rmtree(self._plan[0].folder, ignore_errors=True)
        remove_temporaries(self._out.parent, self._is_ours)

    def _is_ours(self, name: str) -> bool:
        ledger = {short_name(path.name) for path in self._ledger.files}
        return name in temporary_names(self._outputs) | ledger

    def _header(self) -> TokensHeader | None:
        """The header of a timeline whose files are all there."""
        try:
            found = read_header(self._outputs.header)
        except NewerError:
            raise
        except (UserError, OSError):
            return None
        made = self._ledger.manifest
        if (found.fingerprint, found.unk_quantile) != (made.tokenizer, made.unk_quantile):
            raise UserError(
                f"{self._out} was made with another tokenizer (there {found.fingerprint[:8]}, "
                f"here {made.tokenizer[:8]}): choose another name, or delete it"
            )
        return found if all(path.is_file() for path in self._outputs.files) else None


def survey(tokenizer: Tokenizer, options: TokenizeOptions, sources: Sequence[Path]) -> None:
    """Raise UserError if the headers say that recordings cannot be joined: before hours of work.

    Refused recordings are left out. If the header of one has no length, only starts are checked.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    clock = Clock.of(options.clock)
    found = []
    for source in sources:
        with suppress(RefusedError), open_recording(source) as recording:
            channel_list(options.channels, recording.channels)
            samples = recording.frames * prep.sample_rate // recording.sample_rate
            columns = -(-samples // (prep.hop_length * model.time_stride))
            start = clock.start(source)
            found.append(Recorded(source, start and start.utc, samples, columns))
    has_lengths = all(recorded.samples for recorded in found)
    if not has_lengths:
        found = [recorded._replace(samples=0, columns=0) for recorded in found]
    hop = Fraction(prep.hop_length * model.time_stride, prep.sample_rate)
    max_gap = _MAX_GAP_SECONDS if has_lengths else None
    lay_out(found, sample_rate=prep.sample_rate, hop=hop, max_gap=max_gap)


def _join(parts: Sequence[Result], out: Path, file_format: str, options: Options) -> Timeline:
    """Join the npy files of recordings, of one channel each, in the order of their time.

    Raises UserError if a time is not known, if recordings overlap, or if a gap is over a week.
    """
    files = {part.source: part.outputs[0] for part in parts}
    headers = {source: read_header(path.with_suffix(".json")) for source, path in files.items()}
    grid = headers[parts[0].source]
    segments = lay_out(
        [
            Recorded(part.source, _start(part), part.outcome.samples, part.outcome.columns)
            for part in parts
        ],
        sample_rate=grid.sample_rate,
        hop=Fraction(grid.hop, grid.sample_rate),
        max_gap=_MAX_GAP_SECONDS,
    )
    last = segments[-1]
    begun = TokensHeader(
        **dict(grid.grid),
        recording=portable(Path(out.name.partition(STEM)[0])),
        start_utc=segments[0].start_utc,
        segments=tuple(
            header.RecordingSpan(
                recording=headers[segment.recording].recording,
                column=segment.column,
                columns=segment.columns,
                start_utc=segment.start_utc,
            )
            for segment in segments
        ),
    )
    frames = last.column * (grid.hop // grid.frame_hop) + headers[last.recording].frames
    unknown = 0
    with publish_tokens(out, file_format, options) as writer:
        writer.begin(begun)
        for segment in segments:
            for ids in _gap(segment.gap, grid):
                writer.write(ids)
            left = segment.columns
            for ids in read_npy_blocks(files[segment.recording]):
                writer.write(ids[:left])
                unknown += int((ids[:left] == grid.vocabulary.unk).sum())
                left -= min(left, len(ids))
        ended = begun.ended(columns=last.column + last.columns, frames=frames, unknown=unknown)
        writer.end(ended)
    return _summary(out, ended)


def _start(part: Result) -> datetime | None:
    microseconds = part.outcome.start_utc
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def _summary(out: Path, found: TokensHeader) -> Timeline:
    segments = found.segments
    silent = found.columns - sum(segment.columns for segment in segments)
    return Timeline(
        output=out,
        recordings=len(segments),
        gaps=sum(b.column > a.column + a.columns for a, b in pairwise(segments)),
        gap_seconds=float(silent * Fraction(found.hop, found.sample_rate)),
        columns=found.columns,
        bands=found.bands,
    )


def _gap(columns: int, grid: TokensHeader) -> Iterator[Ids]:
    """Columns of `<gap>`, some at a time."""
    token = grid.vocabulary.special("<gap>")
    while columns:
        count = min(columns, _GAP_PIECE)
        yield np.full((count, grid.bands), token, np.int32)
        columns -= count
