"""One recording becomes files of tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from itertools import chain, count, takewhile
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast

from ulmo.config import ClockSettings, UserError
from ulmo.config.errors import plain, printable
from ulmo.encoding import EncodedStretch
from ulmo.formats.base import ALL_RUNS, Labelling
from ulmo.formats.header import Gaps, Segment, Stored, TokensHeader
from ulmo.formats.publish import (
    channel_path,
    output_paths,
    publish_tokens,
    remove_tokens,
    stored_at,
    stream_paths,
    tokens_hash,
)
from ulmo.jobs.inputs import InputFile, input_file, size_of
from ulmo.jobs.outcome import Tokenized
from ulmo.jobs.progress import ReadingProgress, lost_with
from ulmo.listening.worker_tokenizer import opened
from ulmo.pipelines.tokenize.batch import Turn
from ulmo.pipelines.tokenize.pieces import Piece, read_held, write_joined
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.pipelines.tokenize.timeline import Recorded
from ulmo.preprocessing.frontends import count_frames
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.reading.audio import Recording, RefusedError, channel_list, open_recording
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.refusal import MAY_PASS, WORKER_LOST
from ulmo.preprocessing.stretches import (
    PlannedStretch,
    Stretch,
    check_gaps,
    plan_stretches,
    read_stretches,
)
from ulmo.preprocessing.times.clock import Clock, Span, Start
from ulmo.storage.atomic import PassingOver, is_of_one_file, make_folders, refuse_gone
from ulmo.storage.names import path_of, portable
from ulmo.storage.plain_file import lexists
from ulmo.tokenizer import Tokenizer, TokenizerRef

MAY_STAY = MAY_PASS | {"unwritable"}  # refusals that say nothing against earlier tokens
_MOST_HELD = 1 << 24  # bytes of ids in memory that wait to be joined; the others are on the disk


class TokenizeOptions(NamedTuple):
    """What is the same for every recording of a job."""

    file_format: str = "npy"
    labelling: Labelling = ALL_RUNS
    channels: str = "mix"
    batch_size: int = 1
    clock: ClockSettings = ClockSettings()
    gaps: Gaps = "keep"  # how time that was left out is written: see formats.header.Stream


class Result(NamedTuple):
    """What became of a recording, and where its tokens lie."""

    source: Path
    outputs: list[Path]  # empty if the recording was refused, or has no sound by rights
    outcome: Tokenized
    reused: bool = False  # whether an earlier job had tokenized it
    kept: bool = False  # whether it was refused, but tokens of an earlier job stay
    earlier: tuple[Tokenized, ...] = ()  # rows of that job, which stay in place of the refusal


def by_name(planned: Planned, result: Result) -> Result:
    """A result whose row has the name that the recording has in this job."""
    if planned.place is None:
        return result
    row = result.outcome.model_copy(update={"path": portable(planned.name)})
    return result._replace(outcome=row)


def tokenize_recording(
    tokenizer: Tokenizer | TokenizerRef,
    options: TokenizeOptions,
    planned: Planned,
    turn: Turn | None = None,
) -> Result:
    """Write the tokens of a recording, a file for each channel; none if it is refused.

    Its earlier tokens are removed then, unless the refusal may pass. A worker is given a
    reference. A recording that changes while it is read is read once more. `turn` is that of a
    recording of a batch.
    """

    def once() -> Result:
        with turn or Turn() as own:
            return _tokenize_once(opened(tokenizer), options, planned, progress, own)

    progress = ReadingProgress(size_of(planned.source))
    return progress.read(once, lambda result: result.outcome.reason == "changed")


def _tokenize_once(
    tokenizer: Tokenizer,
    options: TokenizeOptions,
    planned: Planned,
    progress: ReadingProgress,
    turn: Turn,
) -> Result:
    source = planned.source
    clock = Clock.of(options.clock)
    file = input_file(source)
    timing = None
    outputs: list[Path] = []
    made: list[Stored] = []
    new: list[Path] = []  # outputs that are not as an earlier job wrote them
    try:
        if lost := lost_with(source):
            raise RefusedError(WORKER_LOST, lost)
        timing = clock.timing(source)
        if timing.log != file.log:
            raise RefusedError("changed", "its log was changed while it was read: try later")
        with open_recording(source, full_scale=tokenizer.prep.full_scale) as recording:
            is_planned = (recording.size, recording.mtime_ns) == (file.size, file.mtime_ns)
            if not is_planned or timing.signature not in (None, recording.signature):
                raise RefusedError("changed", "the file was changed while it was read: try later")
            chosen = channel_list(options.channels, recording.channels)
            hearing = tokenizer.hearing()
            progress.follow(recording, len(chosen) * (1 + tokenizer.needs_two_passes))
            if planned.blocked:
                raise RefusedError("unwritable", planned.blocked)
            with _refusing_unwritable(planned), in_turn(recording, chosen):
                if not planned.settings:  # a folder that the user named for this file alone
                    make_folders(planned.folder)
                make_folders(planned.target.parent, below=planned.folder)
                for channel, path in zip(chosen, stream_paths(planned.target, chosen), strict=True):
                    before = _stored(path, options.file_format)
                    header = _header(tokenizer, planned.known_as, channel, recording, timing.start)
                    is_last = len(outputs) + 1 == len(chosen)
                    ended = turn.end if is_last else _go_on
                    reading = _Reading(source, recording, timing.spans, header, hearing, ended)
                    written = _write(tokenizer, options, reading, path, planned.folder)
                    outputs.append(path)
                    made.append(written.stored)
                    new += [path] if before != written.stored else []
    except RefusedError as refusal:
        earlier, may_pass = _earlier(planned, options), refusal.reason in MAY_PASS
        old = () if refusal.reason in MAY_STAY else earlier
        _remove([*(new if may_pass else outputs), *old], planned, options)
        facts = clock.row(source, timing, refusal) | {"bands": tokenizer.manifest.model.bands}
        kept = may_pass and not {*earlier} <= {*new}
        return Result(source, [], _outcome(planned, file, facts), kept=kept)
    if options.channels == "each" and not planned.settings:  # a ledger knows what was replaced
        gone = [path for path in _earlier(planned, options) if path not in outputs]
        _remove([path for path in gone if path != planned.target], planned, options)
    header = written.stored.header
    facts = timing.facts(hearing.facts(recording.facts())) | {
        "columns": header.columns,
        "bands": header.bands,
        "samples": written.samples,
        "stretches": written.stretches,
        "unknown": sum(stored.header.unknown for stored in made),
        "outputs": [portable(path.relative_to(planned.folder)) for path in outputs],
        "tokens_sha256": tokens_hash(made, written.stored.hashes),
    }
    return Result(source, outputs, _outcome(planned, file, facts))


@contextmanager
def _refusing_unwritable(planned: Planned) -> Iterator[None]:
    """Refuse a recording whose output cannot be written; errors of the disk end the job.

    So does the loss of the folder of all outputs.
    """
    try:
        yield
    except OSError as error:
        if not is_of_one_file(error):
            raise
        if planned.settings:
            refuse_gone(planned.folder)
        name = plain(portable(Path(Path(error.filename2 or error.filename or "its output").name)))
        why = printable(error.strerror or str(error))
        raise RefusedError("unwritable", f"{name} cannot be written: {why}") from None


def _outcome(planned: Planned, file: InputFile, facts: dict[str, Any]) -> Tokenized:
    """A row with the key of the file that was read, which may not be the one of the plan."""
    return Tokenized(
        path=portable(planned.known_as),
        bytes=file.size,
        ends_crc32c=file.ends,
        key=planned.key_of(file),
        **facts,
    )


class _Reading(NamedTuple):
    """One channel of an open recording, the header of its tokens, and what is heard of it."""

    source: Path
    recording: Recording
    spans: tuple[Span, ...]
    header: TokensHeader
    hearing: Hearing
    ended: Callable[[], None]  # to be called once all of it is read

    @property
    def _hop(self) -> Fraction:
        return Fraction(self.header.hop, self.header.sample_rate)

    @property
    def planned(self) -> list[PlannedStretch]:
        """Its stretches, as far as they are known before it is read."""
        return plan_stretches(self.spans, self.recording.sample_rate, self._hop)

    @property
    def is_whole(self) -> bool:
        """Whether its columns follow from its start alone, without gaps or frames of no sound."""
        start, spans = self.planned[0] if self.planned else (0, ())
        return len(self.planned) < 2 and start == 0 and all(span.frame == 0 for span in spans[:1])

    def read(self) -> Iterator[Stretch]:
        """Its samples, from the first on at each call."""
        header = self.header
        return read_stretches(
            *(self.recording, header.channel, header.sample_rate, self.spans),
            hop=self._hop,
            hearing=self.hearing,
        )


class _Written(NamedTuple):
    stored: Stored  # of these files alone
    samples: int
    stretches: int


def _write(
    tokenizer: Tokenizer, options: TokenizeOptions, reading: _Reading, path: Path, below: Path
) -> _Written:
    """Write the tokens of one channel: as they come, or joined if time was left out."""
    stretches = tokenizer.stretches(
        reading.read, batch_size=options.batch_size, hearing=reading.hearing
    )
    if not reading.is_whole:
        return _write_joined(stretches, options, reading, path, below)
    header, samples, unknown = reading.header, 0, 0
    with publish_tokens(path, options.file_format, options.labelling, below=below) as writer:
        writer.begin(header)
        for stretch in stretches:
            for part in stretch:
                writer.write(part.ids)
                unknown += int((part.ids == tokenizer.vocabulary.unk).sum())
            samples = stretch.samples
        reading.ended()
        if not writer.columns:
            raise _too_short()
        frames = count_frames(samples, header.frame_hop)
        header = header.ended(
            columns=writer.columns,
            frames=frames,
            unknown=unknown,
            recording_frames=reading.recording.frames_read,
        )
        writer.end(header)
    return _Written(writer.stored, samples, stretches=1)


def _write_joined(
    stretches: Iterable[EncodedStretch],
    options: TokenizeOptions,
    reading: _Reading,
    path: Path,
    below: Path,
) -> _Written:
    """Write the tokens of stretches once all are there: formats need the place of each."""
    header, recording, gaps = reading.header, reading.recording, Fraction(0)
    with SpooledTemporaryFile(_MOST_HELD) as file:
        held = cast("BinaryIO", file)
        made = []
        for stretch in stretches:
            start = held.tell()
            for part in stretch:
                held.write(part.ids.tobytes())
            made.append((stretch, partial(read_held, held, start, stretch.columns, header.bands)))
            gaps += Fraction(stretch.gap * header.hop, header.sample_rate)
        reading.ended()
        if not made:
            raise _too_short()
        if options.gaps == "keep":
            check_gaps(gaps, recording.frames_read)
        planned = {each.start: each for each in reading.planned}
        pieces = [
            Piece(
                Recorded(reading.source, stretch.start, stretch.samples, stretch.columns),
                frames=count_frames(stretch.samples, header.frame_hop),
                segment=Segment(
                    recording=header.recording,
                    column=0,
                    columns=stretch.columns,
                    offset=0,
                    recording_rate=recording.sample_rate,
                    frame=planned[stretch.start].spans[0].frame,
                    frames=planned[stretch.start].frames_in(recording.frames_read),
                    file_frames=recording.frames_read,
                ),
                read=read,
            )
            for stretch, read in made
        ]
        with publish_tokens(path, options.file_format, options.labelling, below=below) as writer:
            write_joined(writer, header, pieces, gaps=options.gaps)
    return _Written(writer.stored, sum(stretch.samples for stretch, _ in made), len(made))


def _go_on() -> None:
    """After a channel that is not the last one, the recording is read on."""


def _too_short() -> RefusedError:
    return RefusedError("too_short", "there is less sound than a sample")


def _stored(output: Path, file_format: str) -> Stored | None:
    """What a header says of an output in this format alone; None if there is no header."""
    paths = output_paths(output, file_format)
    if (stored := stored_at(paths.header)) is None:
        return None
    own = {ending: each for ending, each in stored.hashes.items() if ending in paths.endings}
    return stored._replace(hashes=own)


def _earlier(planned: Planned, options: TokenizeOptions) -> list[Path]:
    """Outputs of the same recording that an earlier job left, by their headers."""
    file_format = options.file_format
    channels = (channel_path(planned.target, number) for number in count())
    found = []
    for path in chain([planned.target], takewhile(partial(is_there, file_format), channels)):
        with suppress(UserError, ValueError), PassingOver():  # ValueError: of several recordings
            stored = stored_at(output_paths(path, file_format).header)
            if stored and _is_of(planned, stored.header):
                found.append(path)
    return found


def _is_of(planned: Planned, header: TokensHeader) -> bool:
    """Whether tokens are of a recording: by its name; beside it, whatever folder that is below."""
    is_beside = planned.target.parent == planned.source.parent
    is_called_so = is_beside and path_of(header.recording).name == planned.source.name
    return is_called_so or header.recording == portable(planned.known_as)


def _remove(outputs: Sequence[Path], planned: Planned, options: TokenizeOptions) -> None:
    """Remove outputs of a recording, from the last on, as far as that is possible."""
    for output in reversed(outputs):
        with PassingOver():
            remove_tokens(output_paths(output, options.file_format), below=planned.folder)


def is_there(file_format: str, output: Path) -> bool:
    """Whether an output, or a part of it, is there. Channels are removed from the last on."""
    paths = output_paths(output, file_format)
    return any(lexists(path) for path in (paths.header, *paths.files))


def _header(
    tokenizer: Tokenizer, name: Path, channel: int | None, recording: Recording, start: Start | None
) -> TokensHeader:
    prep, model = tokenizer.prep, tokenizer.manifest.model
    return TokensHeader(
        fingerprint=tokenizer.manifest.fingerprint,
        sample_rate=prep.true_rate,
        time_expansion=prep.time_expansion,
        hop=prep.hop_length * model.time_stride,
        frame_hop=prep.hop_length,
        edges_hz=tuple(tokenizer.edges_hz.tolist()),
        codebook_size=model.codebook_size,
        unk_quantile=tokenizer.unk_quantile,
        recording=portable(name),
        channel=channel,
        recording_rate=recording.sample_rate,
        start_utc=start.utc if start else None,
    )
