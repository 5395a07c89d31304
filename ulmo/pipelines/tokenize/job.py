"""One recording becomes files of tokens."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.arrays import Array
from ulmo.config import ClockSettings, UserError
from ulmo.config.errors import plain
from ulmo.formats.base import PLAIN, Options
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.publish import output_paths, publish_tokens, stream_paths, whole_name
from ulmo.jobs.inputs import InputFile, input_file, portable
from ulmo.jobs.outcome import Tokenized
from ulmo.jobs.progress import ReadingProgress
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.preprocessing.audio import (
    Recording,
    RefusedError,
    channel_list,
    open_recording,
    read_channel,
)
from ulmo.preprocessing.clock import Clock, Start
from ulmo.preprocessing.frontends import count_frames
from ulmo.storage.atomic import is_of_one_file, make_folders, remove
from ulmo.storage.walk import paths_in
from ulmo.tokenizer import Tokenizer, TokenizerRef


class TokenizeOptions(NamedTuple):
    """What is the same for every recording of a job."""

    file_format: str = "npy"
    options: Options = PLAIN
    channels: str = "mix"
    batch_size: int = 1
    clock: ClockSettings = ClockSettings()


class Result(NamedTuple):
    """What became of a recording, and where its tokens lie."""

    source: Path
    outputs: list[Path]  # empty if the recording was refused
    outcome: Tokenized
    reused: bool = False  # whether an earlier job had tokenized it


@lru_cache(maxsize=1)
def _opened(ref: TokenizerRef) -> Tokenizer:
    return ref.open()


def tokenize_recording(
    tokenizer: Tokenizer | TokenizerRef, options: TokenizeOptions, planned: Planned
) -> Result:
    """Write the tokens of a recording, a file for each channel; none if it is refused.

    A worker is given a reference, and keeps its tokenizer between recordings. A recording that
    changes while it is read is read once more.
    """
    if isinstance(tokenizer, TokenizerRef):
        tokenizer = _opened(tokenizer)
    progress = ReadingProgress(input_file(planned.source.parent, Path(planned.source.name)).size)
    try:
        result = _tokenize_once(tokenizer, options, planned, progress)
        if result.outcome.reason == "changed":
            progress.undo()
            return _tokenize_once(tokenizer, options, planned, progress)
        return result
    finally:
        progress.end()


def _tokenize_once(
    tokenizer: Tokenizer, options: TokenizeOptions, planned: Planned, progress: ReadingProgress
) -> Result:
    source = planned.source
    start = Clock.of(options.clock).start(source)
    file = input_file(source.parent, Path(source.name))
    outputs: list[Path] = []
    unknown = 0
    try:
        with open_recording(source) as recording:
            if (file.size, file.mtime_ns) != (recording.size, recording.mtime_ns):
                raise RefusedError("changed", "the file was changed while it was read: try later")
            chosen = channel_list(options.channels, recording.channels)
            progress.follow(recording, len(chosen) * (1 + tokenizer.needs_two_passes))
            with _refusing_unwritable():
                make_folders(planned.target.parent)
                for channel, path in zip(chosen, stream_paths(planned.target, chosen), strict=True):
                    header = _header(tokenizer, planned.name, channel, start)
                    written = _write(tokenizer, options, recording, header, path)
                    unknown += written.header.unknown
                    outputs.append(path)
    except RefusedError as refusal:
        _remove((*outputs, *_earlier(planned, options.file_format)), options.file_format)
        facts = refusal.facts() | {"bands": tokenizer.manifest.model.bands}
        return Result(source, [], _outcome(planned, file, start, facts))
    facts = recording.facts() | {
        "columns": written.header.columns,
        "bands": written.header.bands,
        "samples": written.samples,
        "unknown": unknown,
        "outputs": [portable(path.relative_to(planned.folder)) for path in outputs],
    }
    return Result(source, outputs, _outcome(planned, file, start, facts))


@contextmanager
def _refusing_unwritable() -> Iterator[None]:
    """Refuse a recording whose output cannot be written; errors of the disk end the job."""
    try:
        yield
    except OSError as error:
        if not is_of_one_file(error):
            raise
        name = plain(portable(Path(Path(error.filename2 or error.filename or "its output").name)))
        why = error.strerror or str(error)
        raise RefusedError("unwritable", f"{name} cannot be written: {why}") from None


def _remove(outputs: Iterable[Path], file_format: str) -> None:
    """Remove outputs, as far as that is allowed."""
    for output in outputs:
        paths = output_paths(output, file_format)
        for path in (paths.header, *paths.files):
            try:
                remove(path)
            except OSError as error:
                if not is_of_one_file(error):
                    raise


def _outcome(
    planned: Planned, file: InputFile, start: Start | None, facts: dict[str, Any]
) -> Tokenized:
    return Tokenized(
        path=portable(planned.name),
        bytes=file.size,
        ends_crc32c=file.ends,
        key=planned.key,
        **(start.facts() if start else {}),
        **facts,
    )


class _Written(NamedTuple):
    header: TokensHeader
    samples: int


def _write(
    tokenizer: Tokenizer,
    options: TokenizeOptions,
    recording: Recording,
    header: TokensHeader,
    path: Path,
) -> _Written:
    """Write the tokens of one channel as they come."""
    samples = unknown = 0

    def source() -> Iterator[Array]:
        nonlocal samples
        samples = 0
        for block in read_channel(recording, header.channel, header.sample_rate):
            samples += len(block)
            yield block

    with publish_tokens(path, options.file_format, options.options) as writer:
        writer.begin(header)
        for part in tokenizer.columns(source, batch_size=options.batch_size):
            writer.write(part.ids)
            unknown += int((part.ids == tokenizer.vocabulary.unk).sum())
        if not writer.columns:
            raise RefusedError("too_short", "there is less sound than a sample")
        frames = count_frames(samples, header.frame_hop)
        header = header.ended(columns=writer.columns, frames=frames, unknown=unknown)
        writer.end(header)
    return _Written(header, samples)


def _earlier(planned: Planned, file_format: str) -> list[Path]:
    """Outputs of the same recording that an earlier job left, by their headers."""
    target = planned.target
    found = []
    for path in paths_in(target.parent):
        if target.name in (path.name, whole_name(path.name)):
            with suppress(UserError, OSError):
                header = read_header(output_paths(path, file_format).header)
                if header.recording == portable(planned.name):
                    found.append(path)
    return found


def _header(
    tokenizer: Tokenizer, name: Path, channel: int | None, start: Start | None
) -> TokensHeader:
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    return TokensHeader(
        fingerprint=tokenizer.manifest.fingerprint,
        sample_rate=prep.sample_rate,
        hop=prep.hop_length * model.time_stride,
        frame_hop=prep.hop_length,
        edges_hz=tuple(tokenizer.edges_hz.tolist()),
        codebook_size=model.codebook_size,
        unk_quantile=tokenizer.unk_quantile,
        recording=portable(name),
        channel=channel,
        start_utc=start.utc if start else None,
    )
