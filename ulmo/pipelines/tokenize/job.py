"""One recording becomes files of tokens."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ulmo.arrays import Array
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.session import Device
from ulmo.config import ClockSettings, JobError, UserError
from ulmo.formats.base import PLAIN, Options
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.outputs import is_channel_of, stream_paths
from ulmo.formats.publish import output_paths, publish_tokens
from ulmo.jobs.inputs import InputFile, input_file, portable
from ulmo.jobs.progress import Way
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.preprocessing.audio import (
    Recording,
    RefusedError,
    Verdict,
    channel_list,
    open_recording,
    read_channel,
)
from ulmo.preprocessing.clock import Clock, Start
from ulmo.preprocessing.frontends import count_frames
from ulmo.storage.atomic import remove
from ulmo.tokenizer import Tokenizer


class How(NamedTuple):
    """What is the same for every recording of a job."""

    file_format: str = "npy"
    options: Options = PLAIN
    channels: str = "mix"
    batch_size: int = 1
    clock: ClockSettings = ClockSettings()


class Maker(NamedTuple):
    """A tokenizer that another process can open."""

    folder: Path
    fingerprint: str
    threads: int
    device: Device
    unk_quantile: float | None


class Tokenized(NamedTuple):
    """What became of one recording."""

    source: Path
    outputs: list[Path]
    verdict: Verdict
    detail: str | None
    seconds: float
    columns: int
    bands: int
    sample_rate: int | None = None
    """The recording's own."""
    channels: int | None = None
    frames: int = 0
    """Samples of each channel that were read, at its own rate."""
    frames_declared: int | None = None
    """By the header, true or not; None where it does not say."""
    frames_missing: int = 0
    flags: tuple[str, ...] = ()
    """What is odd about the samples."""
    samples: int = 0
    """The same at the tokenizer's rate."""
    unknown: int = 0
    """Ids that are `<unk>`, in all outputs."""
    start: Start | None = None
    reused: bool = False
    """True where it was tokenized already."""
    size: int | None = None
    """Bytes of the file that was read; None where it was refused."""
    ends: int | None = None
    """CRC-32C of its first and last bytes: see InputFile."""


def tokenize_with(maker: Maker, how: How, planned: Planned) -> Tokenized:
    """The same in a worker, which keeps its tokenizer from recording to recording."""
    return tokenize_recording(_open(maker), how, planned)


@lru_cache(maxsize=1)
def _open(maker: Maker) -> Tokenizer:
    bundle = read_bundle(maker.folder)
    if bundle.manifest.fingerprint != maker.fingerprint:
        raise JobError(f"{maker.folder} was replaced meanwhile: run the same command again")
    return Tokenizer(
        bundle, threads=maker.threads, device=maker.device, unk_quantile=maker.unk_quantile
    )


def tokenize_recording(tokenizer: Tokenizer, how: How, planned: Planned) -> Tokenized:
    """Write the tokens of a recording, a file for each channel; one that is refused has none.

    One that changes while it is read is read once more.
    """
    way = Way(size_of(planned.source))
    try:
        result = _tokenize_once(tokenizer, how, planned, way)
        if result.verdict.reason == "changed":
            way.undo()
            return _tokenize_once(tokenizer, how, planned, way)
        return result
    finally:
        way.end()


def _tokenize_once(tokenizer: Tokenizer, how: How, planned: Planned, way: Way) -> Tokenized:
    start = Clock.of(how.clock).start(planned.source)
    outputs: list[Path] = []
    unknown = 0
    try:
        with open_recording(planned.source) as recording:
            read = _input_file(planned.source, recording)
            chosen = channel_list(how.channels, recording.channels)
            way.follow(recording, len(chosen) * (1 + tokenizer.needs_two_passes))
            for channel, path in zip(chosen, stream_paths(planned.target, chosen), strict=True):
                header = _header(tokenizer, planned.name, channel, start)
                ended = _write(tokenizer, how, recording, header, path)
                unknown += ended.header.unknown
                outputs.append(path)
    except RefusedError as refusal:
        _remove(outputs, how.file_format)
        _remove(_earlier(planned, how.file_format), how.file_format)
        bands = tokenizer.manifest.model.bands
        verdict = Verdict("refused", refusal.reason)
        return Tokenized(
            *(planned.source, [], verdict, refusal.detail, 0.0, 0, bands),
            frames_declared=refusal.declared,
            frames_missing=refusal.missing,
            start=start,
        )
    return Tokenized(
        source=planned.source,
        outputs=outputs,
        verdict=recording.verdict,
        detail=recording.detail,
        seconds=recording.frames_read / recording.sample_rate,
        columns=ended.header.columns,
        bands=ended.header.bands,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        frames=recording.frames_read,
        frames_declared=recording.frames_declared,
        frames_missing=recording.frames_missing,
        flags=recording.flags,
        samples=ended.samples,
        unknown=unknown,
        start=start,
        size=read.size,
        ends=read.ends,
    )


def _input_file(source: Path, recording: Recording) -> InputFile:
    """The file that is being read; RefusedError, `changed`, where its name leads to another."""
    file = input_file(source.parent, Path(source.name))
    if (file.size, file.mtime_ns) != (recording.size, recording.mtime_ns):
        raise RefusedError("changed", "the file was changed while it was read: try again later")
    return file


class _Ended(NamedTuple):
    header: TokensHeader
    samples: int


def _write(
    tokenizer: Tokenizer, how: How, recording: Recording, header: TokensHeader, path: Path
) -> _Ended:
    """Write the tokens of one channel as they come."""
    samples = unknown = 0

    def source() -> Iterator[Array]:
        nonlocal samples
        samples = 0
        for block in read_channel(recording, header.channel, header.sample_rate):
            samples += len(block)
            yield block

    with publish_tokens(path, how.file_format, how.options) as writer:
        writer.begin(header)
        for part in tokenizer.columns(source, batch_size=how.batch_size):
            writer.write(part.ids)
            unknown += int((part.ids == tokenizer.vocabulary.unk).sum())
        if not writer.columns:
            raise RefusedError("too_short", "there is less sound than a sample")
        frames = count_frames(samples, header.frame_hop)
        header = header.ended(columns=writer.columns, frames=frames, unknown=unknown)
        writer.end(header)
    return _Ended(header, samples)


def _remove(outputs: list[Path], file_format: str) -> None:
    """Of a recording that is refused nothing stays; headers go first."""
    for output in outputs:
        paths = output_paths(output, file_format)
        for path in (paths.header, *paths.files):
            remove(path)


def _earlier(planned: Planned, file_format: str) -> list[Path]:
    """Outputs that an earlier job made of a recording, by their headers."""
    target = planned.target
    if not target.parent.is_dir():
        return []
    found = [
        path
        for path in target.parent.iterdir()
        if path == target or is_channel_of(path.name, target.name)
    ]
    return [path for path in found if _is_of(path, planned, file_format)]


def _is_of(output: Path, planned: Planned, file_format: str) -> bool:
    try:
        header = read_header(output_paths(output, file_format).header)
    except (UserError, OSError):
        return False
    return header.recording == portable(planned.name)


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


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
