"""Recordings: find, open, repair, choose channels, resample, all in bounded blocks."""

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ulmo.config import UserError
from ulmo.preprocessing.riff import WavLayout, read_layout

SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .caf .au".split()  # noqa: SIM905
)
BLOCK_FRAMES = 1 << 16
MAX_CHANNELS = 1024
RATES = range(100, 4_000_001)
MAX_AMPLITUDE = 1e6
"""Samples beyond this (120 dB over full scale) are taken for damage, as NaN and Inf are."""
UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives more frames than this where the header does not say (FLAC from a pipe)."""

SYSTEM_ERROR = 2
"""libsndfile's code for what the system, not the file, is to blame for."""

Samples: TypeAlias = NDArray[np.float32]
Status = Literal["ok", "repaired", "partial", "refused"]


class RefusedError(Exception):
    """A recording that cannot be used: a stable reason code, and a line for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Verdict(NamedTuple):
    """What became of a recording: a status, and unless it is `ok` a stable reason code."""

    status: Status
    reason: str | None = None


class Recording:
    """An open recording: its true sizes, and its samples in blocks.

    `open_file` opens it anew: a decoder that has failed is of no more use. `frames` is 0 where
    the header does not say. `verdict`, `detail`, `frames_read`, `frames_missing` and `peak` speak
    of the last run of `blocks`, and are final once that has run out.
    """

    def __init__(
        self, open_file: Callable[[], soundfile.SoundFile], layout: WavLayout | None
    ) -> None:
        self._open = open_file
        self.heard: Callable[[int], None] | None = None
        """Called with the frames of each block as it is read."""
        file = open_file()
        _check(file)
        self.sample_rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames: int = file.frames if file.frames < UNKNOWN_FRAMES else 0
        self._begin()
        self._header_missing = 0
        if layout is not None and layout.subtype is not None:
            self._header_missing = -(-layout.bytes_missing // max(layout.block_align, 1))
        self._repaired = not self.frames or bool(
            layout and (layout.oversized or _is_headless(layout))
        )

    def _begin(self) -> None:
        self.frames_read = 0
        self.non_finite = 0
        self.peak = 0.0
        self._broken = False

    @property
    def frames_missing(self) -> int:
        """Frames that the header or the decoder promised and that could not be read."""
        return self._header_missing + (self.frames - self.frames_read if self._broken else 0)

    @property
    def verdict(self) -> Verdict:
        """`partial` outweighs `repaired`."""
        if self._broken:
            return Verdict("partial", "decode_error")
        if self._header_missing:
            return Verdict("partial", "truncated")
        if self.non_finite:
            return Verdict("repaired", "non_finite")
        if self._repaired:
            return Verdict("repaired", "header_sizes")
        return Verdict("ok")

    @property
    def detail(self) -> str | None:
        """The verdict for people."""
        match self.verdict.reason:
            case "decode_error":
                return f"the decoder failed after {self.frames_read} of {self.frames} frames"
            case "truncated":
                return f"the file ends {self.frames_missing} frames before its header says"
            case "non_finite":
                return f"{self.non_finite} samples were no numbers, or huge: set to 0"
            case "header_sizes":
                return "the sizes in the header are wrong: read by the file's length"
        return None

    def blocks(self, start: int = 0, frames: int | None = None) -> Iterator[Samples]:
        """Samples as float32 blocks (n, channels), full scale 1, every one finite.

        A decoder that fails in the middle ends the iteration, and makes the verdict `partial`;
        one that fails at the first frame is a RefusedError.
        """
        self._begin()
        with _refusing():
            file = self._open()
            if start:
                file.seek(start)
        expected = frames is None and self.frames > 0
        left = (self.frames or UNKNOWN_FRAMES) if frames is None else frames
        while left > 0:
            wanted = min(BLOCK_FRAMES, left)
            block = _read(file, wanted)
            left -= len(block)
            self.frames_read += len(block)
            if self.heard:
                self.heard(len(block))
            self._broken = expected and len(block) < wanted
            if len(block):
                yield self._clean(block)
            if frames is None and not self.frames_read:
                raise RefusedError("decode_error", "the decoder failed at the first frame")
            if len(block) < wanted:
                return

    def _clean(self, block: Samples) -> Samples:
        peak = float(np.abs(block).max())
        if not peak <= MAX_AMPLITUDE:
            block, bad = repair(block)
            self.non_finite += bad
            peak = float(np.abs(block).max())
        self.peak = max(self.peak, peak)
        return block


def _read(file: soundfile.SoundFile, frames: int) -> Samples:
    """As many of the next frames as the decoder gives, even where it fails before the last.

    soundfile does not say how far it came when it raises: NaN marks what was not reached. No
    decoder that can fail gives NaN itself.
    """
    block = np.full((frames, file.channels), np.nan, np.float32)
    try:
        read: Samples = file.read(out=block)
    except soundfile.LibsndfileError:
        reached = np.flatnonzero(~np.isnan(block[:, 0]))
        return block[: reached[-1] + 1 if len(reached) else 0]
    return read


def repair(samples: Samples) -> tuple[Samples, int]:
    """Samples with 0 for every NaN, Inf or huge one (MAX_AMPLITUDE), and how many were."""
    bad = ~(np.abs(samples) <= MAX_AMPLITUDE)
    count = int(bad.sum())
    return (np.where(bad, np.float32(0), samples) if count else samples), count


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """Open a sound file of any kind that libsndfile reads; raise RefusedError with a reason."""
    with ExitStack() as stack:
        with _refusing():
            if path.stat().st_size == 0:
                raise RefusedError("empty_file", "the file has no bytes")
            layout = read_layout(path)
            recording = Recording(lambda: stack.enter_context(_sound_file(path, layout)), layout)
        yield recording


@contextmanager
def open_stream(file: BinaryIO) -> Iterator[Recording]:
    """Open what an open binary file holds from where it stands; it need not be seekable.

    It is copied to a temporary file first: a header that is wrong can only be mended by the
    physical length, and a decoder that failed is opened anew.
    """
    with tempfile.TemporaryDirectory(prefix="ulmo-") as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        with open_recording(path) as recording:
            yield recording


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what goes wrong in opening a file into a RefusedError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = "unreadable" if error.code == SYSTEM_ERROR else "not_audio"
        raise RefusedError(reason, str(error.error_string)) from None
    except OSError as error:
        raise RefusedError("unreadable", error.strerror or str(error)) from None


@contextmanager
def _sound_file(path: Path, layout: WavLayout | None) -> Iterator[soundfile.SoundFile]:
    if layout is None or not _is_headless(layout):
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
        return
    raw_format = {
        "format": "RAW",
        "subtype": layout.subtype,
        "endian": "LITTLE",
        "samplerate": layout.sample_rate,
        "channels": layout.channels,
    }
    with path.open("rb") as raw, soundfile.SoundFile(_Tail(raw, layout), **raw_format) as file:
        yield file


def _is_headless(layout: WavLayout) -> bool:
    """True where the samples must be read without regard to their header's size."""
    return layout.unfinished and layout.subtype is not None


def _check(file: soundfile.SoundFile) -> None:
    if file.samplerate not in RATES:
        raise RefusedError("bad_rate", f"a sample rate of {file.samplerate} Hz is not supported")
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise RefusedError("bad_channels", f"{file.channels} channels are not supported")
    if file.frames <= 0:
        raise RefusedError("no_samples", "the file has a header but no samples")


class _Tail(io.RawIOBase):
    """What follows a header that is wrong, as a file of samples without a header."""

    def __init__(self, file: io.BufferedReader, layout: WavLayout) -> None:
        self._raw = file
        self._offset = layout.data_offset
        file.seek(self._offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = self._offset if whence == os.SEEK_SET else 0
        return self._raw.seek(base + offset, whence) - self._offset

    def tell(self) -> int:
        return self._raw.tell() - self._offset

    def readinto(self, buffer: Any) -> int:
        return self._raw.readinto(buffer)


def check_channels(channels: str) -> None:
    """UserError for what is neither `mix` nor `each` nor a number from 0."""
    if not (channels in ("mix", "each") or (channels.isascii() and channels.isdecimal())):
        raise UserError(f"channels must be mix, each or a number from 0, not {channels}")


def channel_list(channels: str, available: int) -> list[int | None]:
    """Which streams a recording gives: None is the mean of all channels.

    `channels` is `mix`, `each` or a number from 0; a number that is not there is refused.
    Anything else is a UserError.
    """
    check_channels(channels)
    if channels == "mix":
        return [None]
    if channels == "each":
        return list(range(available))
    if int(channels) >= available:
        raise RefusedError("no_channel", f"channel {channels} of {available} (0 is the first)")
    return [int(channels)]


def pick_channel(blocks: Iterable[Samples], channel: int | None) -> Iterator[Samples]:
    """One channel, or the mean of all (None), of blocks (n, channels): blocks (n,)."""
    for block in blocks:
        if channel is None:
            yield block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
        else:
            yield np.ascontiguousarray(block[:, channel])


class Meter:
    """Root mean square of the samples that pass."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._samples = 0

    def of(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """The same blocks (n,), measured."""
        for block in blocks:
            self._squares += float(np.vdot(block, block))
            self._samples += len(block)
            yield block

    @property
    def level(self) -> float:
        """Of all blocks so far; 0 before the first."""
        return float(np.sqrt(self._squares / max(self._samples, 1)))


def resample(blocks: Iterable[Samples], rate: int, new_rate: int) -> Iterator[Samples]:
    """Resample blocks (n,) from one rate in hertz to another, as a stream.

    soxr at its quality HQ (20 bit). The result does not depend on where the blocks are cut.
    """
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def read_channel(recording: Recording, channel: int | None, sample_rate: int) -> Iterator[Samples]:
    """One channel of a recording from its beginning, or the mean of all (None), resampled."""
    if channel is not None:
        channel_list(str(channel), recording.channels)
    return resample(pick_channel(recording.blocks(), channel), recording.sample_rate, sample_rate)


def read_mono(path: Path, *, sample_rate: int, channel: int | None = None) -> Iterator[Samples]:
    """The same of a file that is opened for it."""
    with open_recording(path) as recording:
        yield from read_channel(recording, channel, sample_rate)


def read_array(samples: NDArray[Any], rate: int | None, new_rate: int) -> Iterator[Samples]:
    """A caller's samples (n,), repaired as those of a file are, and resampled."""
    return read_blocks([samples], rate, new_rate)


def read_blocks(
    blocks: Iterable[NDArray[Any]], rate: int | None, new_rate: int
) -> Iterator[Samples]:
    """A caller's blocks (n,) of samples, repaired as those of a file are, and resampled.

    Floats have full scale 1; of integers the type tells it (int16: 32 768).
    """
    if rate is None or rate not in RATES:
        raise UserError(f"samples without a rate in hertz ({rate}): pass sample_rate=")
    return resample(map(_as_samples, blocks), rate, new_rate)


def _as_samples(block: NDArray[Any]) -> Samples:
    values = np.asarray(block)
    if values.ndim != 1:
        raise UserError(f"samples must have the shape (n,), not {values.shape}")
    if np.issubdtype(values.dtype, np.signedinteger):
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"samples must be floats or signed integers, not {values.dtype}")
    with np.errstate(over="ignore"):
        return repair(values.astype(np.float32, copy=False))[0]


def find_recordings(folder: Path, *, skip: Path | None = None) -> list[Path]:
    """Sound files below a folder by their suffix, relative to it, in the order of their bytes.

    Links to folders are not followed, so that no loop can trap the search; links to files are,
    and one that leads nowhere is a recording that cannot be read. Pipes and devices are none.
    `skip` names a folder that is left out, such as the output's own.
    """
    found = []
    skipped = skip.resolve() if skip else None
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = [name for name in folders if (here / name).resolve() != skipped]
        for name in files:
            path = here / name
            if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                found.append(path.relative_to(folder))
    return sorted(found, key=lambda path: os.fsencode(path.as_posix()))
