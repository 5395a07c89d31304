"""Tokens of consecutive recordings, joined into one file with `<gap>` between them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats import header
from ulmo.formats.base import Options
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.publish import STEM, publish_tokens
from ulmo.jobs.inputs import portable
from ulmo.pipelines.tokenize.job import How, Tokenized
from ulmo.pipelines.tokenize.timeline import Recorded, Segment, gap_columns, lay_out, total_columns
from ulmo.preprocessing.audio import RefusedError, channel_list, open_recording
from ulmo.preprocessing.clock import Clock
from ulmo.tokenizer import Tokenizer
from ulmo.tokens import read_npy_blocks

GAP_PIECE = 4096
"""Columns of a gap that are written at a time."""
MAX_GAP_SECONDS = 7 * 24 * 3600
"""Of one gap: longer ones lie between deployments, and would be written out column by column."""


class Timeline(NamedTuple):
    """What became of consecutive recordings."""

    output: Path
    recordings: int
    gaps: int
    gap_seconds: float
    columns: int
    bands: int


def survey(tokenizer: Tokenizer, how: How, sources: Sequence[Path]) -> None:
    """UserError where recordings are no one timeline, by their headers, before hours of work.

    A recording that is refused is left out; where one does not say how long it is, only their
    beginnings are looked at.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    clock = Clock.of(how.clock)
    found = []
    for source in sources:
        with suppress(RefusedError), open_recording(source) as recording:
            channel_list(how.channels, recording.channels)
            samples = recording.frames * prep.sample_rate // recording.sample_rate
            columns = -(-samples // (prep.hop_length * model.time_stride))
            found.append(Recorded(source, clock.start(source), samples, columns))
    if not all(recorded.samples for recorded in found):
        found = [recorded._replace(samples=0, columns=0) for recorded in found]
    hop = Fraction(prep.hop_length * model.time_stride, prep.sample_rate)
    segments = lay_out(found, sample_rate=prep.sample_rate, hop=hop)
    if all(segment.columns for segment in segments):
        _refuse_long_gaps(segments, hop)


def write_timeline(
    parts: Sequence[Tokenized], out: Path, file_format: str, options: Options
) -> Timeline:
    """Join the npy files of recordings, of one channel each, in the order of their time.

    Raises UserError where a time is not known, where recordings overlap, and for a gap of more
    than a week.
    """
    files = {part.source: part.outputs[0] for part in parts}
    headers = {source: read_header(path.with_suffix(".json")) for source, path in files.items()}
    grid = headers[parts[0].source]
    hop = Fraction(grid.hop, grid.sample_rate)
    segments = lay_out(
        [Recorded(part.source, part.start, part.samples, part.columns) for part in parts],
        sample_rate=grid.sample_rate,
        hop=hop,
    )
    _refuse_long_gaps(segments, hop)
    gaps = gap_columns(segments)
    total = total_columns(segments)
    last = headers[segments[-1].recording]
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
    stride = grid.hop // grid.frame_hop
    whole = (total - segments[-1].columns) * stride
    unknown = 0
    with publish_tokens(out, file_format, options) as writer:
        writer.begin(begun)
        for segment, gap in zip(segments, gaps, strict=True):
            for ids in _gap(gap, grid):
                writer.write(ids)
            left = segment.columns
            for ids in read_npy_blocks(files[segment.recording]):
                writer.write(ids[:left])
                unknown += int((ids[:left] == grid.vocabulary.unk).sum())
                left -= min(left, len(ids))
        writer.end(begun.ended(columns=total, frames=whole + last.frames, unknown=unknown))
    return Timeline(
        output=out,
        recordings=len(segments),
        gaps=sum(gap > 0 for gap in gaps),
        gap_seconds=float(sum(gaps) * hop),
        columns=total,
        bands=grid.bands,
    )


def _refuse_long_gaps(segments: Sequence[Segment], hop: Fraction) -> None:
    for segment, gap in zip(segments, gap_columns(segments), strict=True):
        if gap * hop > MAX_GAP_SECONDS:
            raise UserError(
                f"{segment.recording} begins {float(gap * hop) / 86400:.1f} days after the "
                "recording before it ends: tokenize the two deployments apart"
            )


def _gap(columns: int, grid: TokensHeader) -> Iterator[Ids]:
    """Columns of `<gap>`, some at a time."""
    token = grid.vocabulary.special("<gap>")
    while columns:
        count = min(columns, GAP_PIECE)
        yield np.full((count, grid.bands), token, np.int32)
        columns -= count
