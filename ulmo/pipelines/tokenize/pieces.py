"""Tokens of stretches, each tokenized by itself, joined: of one recording, or of a timeline."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.formats.base import Format
from ulmo.formats.header import Gaps, Segment, TokensHeader
from ulmo.pipelines.tokenize.timeline import Recorded, lay_out, order

_AT_ONCE = 4096  # columns that are read or written


class Piece(NamedTuple):
    """The tokens of one stretch."""

    recorded: Recorded
    frames: int  # of its spectrogram
    segment: Segment  # its place in the file of its recording; its place in the tokens is not used
    read: Callable[[], Iterator[Ids]]  # its ids (n, band), some at a time


def write_joined(
    writer: Format,
    header: TokensHeader,
    pieces: Sequence[Piece],
    *,
    gaps: Gaps,
    max_gap: float | None = None,
) -> None:
    """Write pieces, of which there is at least one, in the order of their time.

    header: of the tokens as a whole, without segments.

    UserError as of `lay_out`.
    """
    pieces = sorted(pieces, key=lambda piece: order(piece.recorded))
    rate = header.sample_rate
    placements = lay_out(
        [piece.recorded for piece in pieces],
        sample_rate=rate,
        hop=Fraction(header.hop, rate),
        max_gap=max_gap,
        gaps=gaps,
    )
    segments = []
    for piece, placed in zip(pieces, placements, strict=True):
        start = piece.recorded.start
        place = {
            "column": placed.column,
            "columns": placed.columns,
            "offset": round(start * rate),
            "start_utc": header.start_utc
            and header.start_utc + timedelta(microseconds=round(start * 1_000_000)),
        }
        segments.append(Segment(**{**dict(piece.segment), **place}))
    header = TokensHeader(**{**dict(header), "segments": tuple(segments), "gaps": gaps})
    unknown = 0
    writer.begin(header)
    for piece, segment in zip(pieces, segments, strict=True):
        for ids in _gap(segment.column - writer.columns, header):
            writer.write(ids)
        left = segment.columns
        for ids in piece.read():
            writer.write(ids[:left])
            unknown += int((ids[:left] == header.vocabulary.unk).sum())
            left -= min(left, len(ids))
    frames = segments[-1].column * (header.hop // header.frame_hop) + pieces[-1].frames
    writer.end(header.ended(columns=writer.columns, frames=frames, unknown=unknown))


def _gap(columns: int, header: TokensHeader) -> Iterator[Ids]:
    """Columns of `<gap>`, some at a time."""
    token = header.vocabulary.special("<gap>")
    while columns > 0:
        count = min(columns, _AT_ONCE)
        yield np.full((count, header.bands), token, np.int32)
        columns -= count


def read_held(file: BinaryIO, start: int, columns: int, bands: int) -> Iterator[Ids]:
    """Ids (n, band) that lie in a file as they are in memory, from a byte on."""
    file.seek(start)
    while columns > 0:
        count = min(columns, _AT_ONCE)
        content = file.read(count * bands * np.dtype(np.int32).itemsize)
        yield np.frombuffer(content, np.int32).reshape(count, bands)
        columns -= count
