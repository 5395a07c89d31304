"""Stretches: the parts of a recording between which time was left out, read in one pass.

spans of the clock -> stretches on a grid of columns -> samples of each, resampled by itself

A column of tokens lasts longer than some of the gaps that recorders leave. Spans between which no
column fits are therefore one stretch, and the samples of a stretch are never more than a column
away from their true time, however many spans a recording has.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import NamedTuple

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.reading.audio import Recording, channel_list, pick_channel, resample
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.times.timing import WHOLE, Span
from ulmo.tokens import nearest_column

MAX_GAP_SECONDS = 7 * 24 * 3600  # each column is written; longer gaps lie between deployments
# The gaps of one recording may last an hour for each started block of this many frames. An
# AudioMoth writes at least 16,384 frames whenever its trigger fires, so a recording in which that
# happens once an hour is kept at any sample rate. A HARP's duty cycles have far more sound.
_FRAMES_OF_AN_HOUR = 16_384
_HOUR = 3600  # seconds
_FRAMES_PER_COLUMN = 16  # as the default time stride, so that tiles are cut where tokens are


class Stretch(NamedTuple):
    """Samples of one channel between which no time was left out."""

    start: Fraction  # true time of the first, in seconds from the recording's first sample
    blocks: Iterable[Array]  # (n,); to be read before the next stretch is begun


# Returns a channel's stretches, with samples at the settings' rate, from the start at each call.
SampleSource = Callable[[], Iterable[Stretch]]


def whole(blocks: Iterable[Array]) -> list[Stretch]:
    """Blocks (n,) of samples as one stretch, for sound without gaps."""
    return [Stretch(Fraction(0), blocks)]


def tile_grid(settings: PrepSettings) -> Fraction:
    """Seconds of a column for `plan_stretches`, where tiles are cut and no model is known yet."""
    return Fraction(_FRAMES_PER_COLUMN * settings.hop_length, settings.true_rate)


class PlannedStretch(NamedTuple):
    """The spans of a stretch."""

    start: Fraction  # true time of its first frame, in seconds from the recording's first sample
    spans: tuple[Span, ...]

    def frames_in(self, total: int) -> int:
        """Frames of it that a file of `total` frames holds."""
        ends = (min(_end(span), total) for span in self.spans)
        return sum(max(end - span.frame, 0) for end, span in zip(ends, self.spans, strict=True))


def plan_stretches(spans: Iterable[Span], rate: int, hop: Fraction) -> list[PlannedStretch]:
    """Spans joined to stretches.

    rate: of the frames, in hertz.
    hop: seconds from one column to the next.

    A span begins a stretch if half a column or more was left out before it, and if the column
    nearest to its start is free: the stretch before does not reach into it.
    """
    planned: list[PlannedStretch] = []
    column = frames = 0  # of the last stretch: its first column, its frames
    for span in spans:
        if planned:
            length = Fraction(frames, rate)
            left_out = span.offset - (planned[-1].start + length)
            is_free = nearest_column(span.offset, hop) >= column + ceil(length / hop)
            if left_out < hop / 2 or not is_free:
                start, joined = planned[-1]
                planned[-1] = PlannedStretch(start, (*joined, span))
                frames += span.frames or 0
                continue
        planned.append(PlannedStretch(span.offset, (span,)))
        column, frames = nearest_column(span.offset, hop), span.frames or 0
    return planned


def check_gaps(
    seconds: Fraction, frames: int, remedy: str = "use ulmo-tokenize with --gaps one or omit"
) -> None:
    """RefusedError if the gaps of one recording, each column of which is written, last too long.

    seconds: of all its gaps together.
    frames: of the file.

    A few bytes can say that time was left out, and each hour of it costs as much as an hour of
    sound. So gaps may last an hour for each 16,384 frames that were begun, and a week at most.
    """
    hours = min(1 + frames // _FRAMES_OF_AN_HOUR, MAX_GAP_SECONDS // _HOUR)
    if seconds > hours * _HOUR:
        lasting = f"its gaps last {float(seconds) / _HOUR:.1f} h in all"
        most = f"its {frames} frames allow {hours} h"
        raise RefusedError("long_gaps", f"{lasting}, and {most}: {remedy}")


def clip_spans(
    spans: Iterable[Span], rate: int, start: float, seconds: float | None
) -> tuple[Span, ...]:
    """What lies in `seconds` of true time (None: all) from `start` on, to the nearest frame.

    rate: of the frames, in hertz.
    """
    first = round(start * rate)
    end = None if seconds is None else first + max(round(seconds * rate), 1)
    clipped = []
    for span in spans:
        begin = round(span.offset * rate)
        skipped = max(first - begin, 0)
        room = sys.maxsize if end is None else end - begin - skipped
        held = sys.maxsize if span.frames is None else span.frames - skipped
        frames = min(room, held)
        if frames > 0:
            offset = Fraction(begin + skipped, rate) if skipped else span.offset
            all_of_it = None if frames == sys.maxsize else frames
            clipped.append(Span(span.frame + skipped, all_of_it, offset))
    return tuple(clipped)


def read_stretches(
    recording: Recording,
    channel: int | None,
    sample_rate: int,
    spans: tuple[Span, ...] = WHOLE,
    *,
    hop: Fraction,
    first: int = 0,
    frames: int | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Stretch]:
    """One channel of a recording, or the mean of all (None), resampled: its stretches.

    hop: seconds from one column to the next; see `plan_stretches`.
    first, frames: read only these frames of the file.
    hearing: measures what is read.

    Frames outside the spans are read, because the recording's verdict is about the whole file, and
    left out.
    """
    if channel is not None:
        channel_list(str(channel), recording.channels)
    rate = recording.sample_rate
    pick, convert = (hearing.pick, hearing.resample) if hearing else (pick_channel, resample)
    if recording.in_turn and channel is not None:
        blocks = pick(recording.in_turn(channel, first, frames), 0)
    else:
        blocks = pick(recording.blocks(first, frames), channel)
    pieces = _pieces(blocks, plan_stretches(spans, rate, hop), first)
    for start, group in groupby(pieces, key=itemgetter(0)):
        yield Stretch(start, convert((piece for _, piece in group), rate, sample_rate))


def _pieces(
    blocks: Iterable[Array], planned: Iterable[PlannedStretch], first: int
) -> Iterator[tuple[Fraction, Array]]:
    """Blocks (n,) from frame `first` on, cut at the borders of spans; each with its stretch."""
    spans = [(stretch.start, span) for stretch in planned for span in stretch.spans]
    index = 0
    for block in blocks:
        end = first + len(block)
        while index < len(spans):
            start, span = spans[index]
            if span.frame >= end:
                break
            piece = block[max(span.frame - first, 0) : max(_end(span) - first, 0)]
            if len(piece):
                yield start, piece
            if _end(span) > end:
                break
            index += 1
        first = end


def _end(span: Span) -> int:
    """The frame after the last one."""
    return sys.maxsize if span.frames is None else span.frame + span.frames
