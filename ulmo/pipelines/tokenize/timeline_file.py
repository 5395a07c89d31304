"""Tokens of consecutive recordings, joined into one file with `<gap>` between them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.formats.checked import read_stretch, stretch_hashes
from ulmo.formats.folder import TokensLedger, contradiction
from ulmo.formats.header import Segment, Stored, TokensHeader
from ulmo.formats.places import STEM
from ulmo.formats.publish import (
    header_lock,
    output_paths,
    publish_tokens,
    refuse_spoiling,
    remove_leftovers,
    remove_tokens,
    stored_at,
    temporary_names,
    tokens_hash,
    whole_at,
)
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions
from ulmo.pipelines.tokenize.parts import made_of
from ulmo.pipelines.tokenize.pieces import Piece, write_joined
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.pipelines.tokenize.timeline import Recorded, lay_out
from ulmo.preprocessing.reading.audio import RefusedError, channel_list, open_recording
from ulmo.preprocessing.reading.refusal import MAY_PASS, in_words
from ulmo.preprocessing.stretches import MAX_GAP_SECONDS, plan_stretches
from ulmo.preprocessing.times.clock import EPOCH, Clock
from ulmo.preprocessing.times.timing import obstacle_of
from ulmo.storage.atomic import is_left, owner_of
from ulmo.storage.lock import lock_path
from ulmo.storage.names import portable
from ulmo.storage.removal import remove_if_possible
from ulmo.tokenizer import Tokenizer


class Timeline(NamedTuple):
    """A timeline that was written."""

    output: Path
    recordings: int
    gaps: int
    gap_seconds: float
    columns: int
    bands: int
    # Short ones of which it has no column, as the next begins within the same one.
    without_columns: Sequence[str] = ()


class TimelineOutput:
    """A timeline and the ledger beside it, made by an earlier job or about to be made.

    `timeline` and `results` are those of an earlier job with the same recordings, if it ended,
    or those that `write` has written.
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
        stored = self._stored()
        keys = [planned.key for planned in plan]
        if stored is None or not ledger.has_exactly(keys):
            return
        rows = [row for key in keys for row in ledger.done(key)]
        if any(row.reason in MAY_PASS and row.bytes for row in rows):
            return
        if contradiction(stored, rows, self._outputs.endings):
            return  # another job has written over it
        self.timeline = _summary(out, stored.header, sum(row.stretches > 0 for row in rows))
        for planned, row in zip(plan, rows, strict=True):
            outputs = [out] if row.stretches else []
            self.results.append(Result(planned.source, outputs, row, reused=True))

    @property
    def is_finished(self) -> bool:
        """Whether the timeline is there, and no files of a killed job."""
        names = temporary_names(self._outputs)
        left = (path for path in self._out.parent.glob(".*") if owner_of(path.name) in names)
        locks = (lock_path(self._out), header_lock(self._outputs.header))
        others = (self._plan[0].folder, *locks)
        return (
            self.timeline is not None
            and self._ledger.is_finished(planned.key for planned in self._plan)
            and not any(map(is_left, left))
            and not any(path.exists() for path in others)
        )

    def write(self, results: Sequence[Result]) -> None:
        """Join the parts, and write the ledger. If all were refused, an older timeline goes."""
        good = [result for result in results if result.outputs]
        self._ledger.remove()
        self.results = list(results)
        if not good:
            remove_tokens(self._outputs)
            return
        stored = _join(good, self._out, self._options)
        self.timeline = _summary(self._out, stored.header, len(good))
        digest = tokens_hash([stored], self._outputs.endings)
        there = {"outputs": (portable(Path(self._out.name)),), "tokens_sha256": digest}
        kept = _columns(stored.header)
        for number, result in enumerate(self.results):
            if result.outputs:
                row = _on_timeline(result.outcome, kept[result.outcome.path], there)
                self.results[number] = result._replace(outputs=[self._out], outcome=row)
        with self._ledger.writing([], len(results)):
            for result in self.results:
                self._ledger.add(result.outcome.key, [result.outcome])
            self._ledger.finish(result.outcome for result in self.results)

    def tidy(self, *, keep_parts: bool) -> None:
        """Remove the parts, unless they are to be kept, and what a killed job left."""
        self._ledger.tidy()
        if not keep_parts:
            remove_if_possible(self._plan[0].folder)
        remove_leftovers([self._out], self._options.file_format)

    def _stored(self) -> Stored | None:
        """The header of a timeline whose files are as they were written."""

        def is_same(stored: Sequence[TokensHeader]) -> bool:
            return len(stored) == 1 and stored[0].gaps == self._options.gaps

        refuse_spoiling(self._outputs, is_same)
        if (stored := stored_at(self._outputs.header)) is None:
            return None
        found, is_one = stored.headers[0], len(stored.headers) == 1
        made = self._ledger.manifest
        if (found.fingerprint, found.unk_quantile) != (made.tokenizer, made.unk_quantile):
            raise UserError(
                f"{self._out} was made with another tokenizer (there {found.fingerprint[:8]}, "
                f"here {made.tokenizer[:8]}): choose another name, or delete it"
            )
        return whole_at(self._outputs) if is_one else None


def survey(tokenizer: Tokenizer, options: TokenizeOptions, sources: Sequence[Path]) -> None:
    """Raise UserError if the headers say that recordings cannot be joined: before hours of work.

    Refused recordings are left out. If the header of one has no length, only starts are checked.
    """
    prep, model = tokenizer.prep, tokenizer.manifest.model
    rate, hop = prep.true_rate, Fraction(prep.hop_length * model.time_stride, prep.true_rate)
    clock = Clock.of(options.clock)
    found = []
    for source in sources:
        with suppress(RefusedError), open_recording(source) as recording:
            channel_list(options.channels, recording.channels)
            timing = clock.timing(source)
            _refuse(source, timing.obstacle)
            start = _since_1970(timing.start and timing.start.microseconds, source)
            for stretch in plan_stretches(timing.spans, recording.sample_rate, hop):
                frames = stretch.frames_in(recording.frames)
                if recording.frames and not frames:
                    continue  # it lies behind the end of the file
                samples = frames * rate // recording.sample_rate
                columns = -(-samples // (prep.hop_length * model.time_stride))
                found.append(Recorded(source, start + stretch.start, samples, columns))
    has_lengths = all(recorded.samples for recorded in found)
    if not has_lengths:
        found = [recorded._replace(samples=0, columns=0) for recorded in found]
    first = min((recorded.start for recorded in found), default=Fraction(0))
    lay_out(
        [recorded._replace(start=recorded.start - first) for recorded in found],
        sample_rate=rate,
        hop=hop,
        max_gap=MAX_GAP_SECONDS if has_lengths else None,
        gaps=options.gaps,
    )


def _refuse(source: Path, obstacle: str | None) -> None:
    """Raise UserError if a recording has no place on a timeline."""
    if obstacle:
        raise UserError(
            f"{source}: {obstacle}, so its sound has no place on a timeline: leave it out"
        )


def _join(parts: Sequence[Result], out: Path, options: TokenizeOptions) -> Stored:
    """Join the npy files of recordings, of one channel each, in the order of their time.

    Raises UserError if a time is not known, or is not linear, if recordings overlap, or if a gap is
    over a week.
    """
    for part in parts:  # a log may have changed since the survey
        _refuse(part.source, obstacle_of(part.outcome.flags))
    starts = {part.source: _since_1970(part.outcome.start_utc, part.source) for part in parts}
    begin = min(starts.values())
    name = output_paths(out, options.file_format).header.stem
    made = [stored for part in parts for _, stored in made_of(part)]
    header = TokensHeader(
        **dict(made[0].header.grid),
        recording=portable(Path(name.removesuffix(STEM))),
        start_utc=EPOCH + timedelta(microseconds=round(begin * 1_000_000)),
    )
    pieces = [
        piece
        for part, stored in zip(parts, made, strict=True)
        for piece in _pieces(part, stored, starts[part.source] - begin)
    ]
    with publish_tokens(out, options.file_format, options.labelling) as writer:
        write_joined(writer, header, pieces, gaps=options.gaps, max_gap=MAX_GAP_SECONDS)
    return writer.stored


def _pieces(part: Result, stored: Stored, start: Fraction) -> Iterator[Piece]:
    """The stretches of a recording, whose tokens lie in one file, without gaps."""
    row, (path,), (header,) = part.outcome, part.outputs, stored.headers
    rate = header.recording_rate or header.sample_rate
    whole = Segment(
        recording=header.recording,
        column=0,
        columns=header.columns,
        offset=0,
        recording_rate=rate,
        frames=row.frames,
        file_frames=row.frames,
    )
    segments = header.segments or (whole,)
    hashes = stretch_hashes(path, stored, [segment.columns for segment in segments])
    for segment, digest in zip(segments, hashes, strict=True):
        last = segment.column + segment.columns == header.columns
        stride = header.hop // header.frame_hop
        samples = -(-segment.frames * header.sample_rate // segment.recording_rate)
        yield Piece(
            Recorded(
                part.source,
                start + Fraction(segment.offset, header.sample_rate),
                samples if header.segments else row.samples,
                segment.columns,
            ),
            frames=header.frames - segment.column * stride if last else segment.columns * stride,
            segment=segment,
            read=partial(
                read_stretch, path, header, digest, first=segment.column, count=segment.columns
            ),
        )


def _since_1970(microseconds: int | None, source: Path) -> Fraction:
    """A time in seconds since 1970. Raises UserError if it is not known."""
    if microseconds is None:
        raise UserError(
            f"{source}: neither header nor name says when it began: "
            "describe the names, as in --timestamp-pattern %Y%m%d_%H%M%S"
        )
    return Fraction(microseconds, 1_000_000)


def _columns(found: TokensHeader) -> Counter[str]:
    """How many columns of each recording are on a timeline."""
    counts: Counter[str] = Counter()
    for segment in found.segments:
        counts[segment.recording] += segment.columns
    return counts


def _on_timeline(row: Tokenized, columns: int, there: dict[str, Any]) -> Tokenized:
    """The row of a recording whose tokens lie on a timeline."""
    note = None if columns else "no column of it is on the timeline: the next begins within it"
    detail = in_words(row.detail, note) or None
    return row.model_copy(update={**there, "columns": columns, "detail": detail})


def _summary(out: Path, found: TokensHeader, recordings: int) -> Timeline:
    gaps = [_gap(found, *pair) for pair in pairwise(found.segments)]
    return Timeline(
        output=out,
        recordings=recordings,
        gaps=sum(gap > 0 for gap in gaps),
        gap_seconds=float(sum(gaps) * Fraction(found.hop, found.sample_rate)),
        columns=found.columns,
        bands=found.bands,
        without_columns=[path for path, columns in _columns(found).items() if not columns],
    )


def _gap(found: TokensHeader, before: Segment, after: Segment) -> int:
    """Columns that the time between two segments lasts, whether they were written or not."""
    if found.gaps == "keep":
        return after.column - before.column - before.columns
    return max(round(Fraction(after.offset - before.offset, found.hop)) - before.columns, 0)
