"""Tokens of consecutive recordings, joined into one file with `<gap>` between them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.config import UserError
from ulmo.formats import header
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.publish import STEM, publish_tokens
from ulmo.formats.writer import Ids, Options
from ulmo.pipelines.inputs import portable
from ulmo.pipelines.timeline import Recorded, gap_columns, lay_out, total_columns
from ulmo.pipelines.tokenize_job import Tokenized
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


def write_timeline(
    parts: Sequence[Tokenized], names: Sequence[Path], out: Path, file_format: str, options: Options
) -> Timeline:
    """Join the npy files of recordings, of one channel each, in the order of their time.

    Raises UserError where a time is not known, where recordings overlap, and for a gap of more
    than a week.
    """
    headers = {
        name: read_header(part.outputs[0].with_suffix(".json"))
        for name, part in zip(names, parts, strict=True)
    }
    files = {name: part.outputs[0] for name, part in zip(names, parts, strict=True)}
    grid = headers[names[0]]
    hop = Fraction(grid.hop, grid.sample_rate)
    segments = lay_out(
        [
            Recorded(name, part.start, part.samples, part.columns)
            for name, part in zip(names, parts, strict=True)
        ],
        sample_rate=grid.sample_rate,
        hop=hop,
    )
    gaps = gap_columns(segments)
    for segment, gap in zip(segments, gaps, strict=True):
        if gap * hop > MAX_GAP_SECONDS:
            raise UserError(
                f"{segment.recording} begins {float(gap * hop) / 86400:.1f} days after the "
                "recording before it ends: tokenize the two deployments apart"
            )
    total = total_columns(segments)
    last = headers[segments[-1].recording]
    begun = TokensHeader(
        **dict(grid.grid),
        recording=portable(Path(out.name.partition(STEM)[0])),
        start_utc=segments[0].start_utc,
        segments=tuple(
            header.Segment(
                recording=portable(segment.recording),
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


def _gap(columns: int, grid: TokensHeader) -> Iterator[Ids]:
    """Columns of `<gap>`, some at a time."""
    token = grid.vocabulary.special("<gap>")
    while columns:
        count = min(columns, GAP_PIECE)
        yield np.full((count, grid.bands), token, np.int32)
        columns -= count
