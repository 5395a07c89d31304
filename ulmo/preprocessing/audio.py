"""Recordings: open, repair, choose channels, resample, all in bounded blocks."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ulmo.config import UserError
from ulmo.preprocessing.opening import (
    UNKNOWN_FRAMES,
    Opened,
    check_opened,
    check_same,
    examine,
    open_sound,
    refusing,
)
from ulmo.preprocessing.plan import RATES, Plan
from ulmo.preprocessing.quality import Quality
from ulmo.preprocessing.refusal import RefusedError as RefusedError
from ulmo.preprocessing.refusal import Verdict as Verdict

BLOCK_FRAMES = 1 << 16
BLOCK_SAMPLES = 1 << 20
"""Of many channels a block has fewer frames, so that all of them are so many samples at most."""
MAX_AMPLITUDE = 1e6
"""Samples beyond this (120 dB over full scale) are taken for damage, as NaN and Inf are."""

Samples: TypeAlias = NDArray[np.float32]


class Recording:
    """An open recording: its true sizes, and its samples in blocks.

    The file is opened anew for each run of `blocks` but the first: a decoder that has failed is of
    no more use. `frames` is 0 where the header does not say. `verdict`, `detail`, `frames_read`,
    `frames_missing`, `flags` and `peak` speak of the last run of `blocks`, and are final once
    that has run out.
    """

    def __init__(self, open_anew: Callable[[], Opened], plan: Plan) -> None:
        self._open = open_anew
        self._plan = plan
        self.on_frames: Callable[[int], None] | None = None  # called with the frames of each block
        self._opened: Opened | None = None
        shape = plan.shape
        if shape is None:
            self._opened = open_anew()
            shape = check_opened(self._opened.sound, plan)
        self.sample_rate, self.channels, self.frames = shape
        self.kind = plan.kind
        """wav, flac, ogg, ...: see kinds.MAGIC."""
        self.size, self.mtime_ns = plan.signature.size, plan.signature.mtime_ns
        """Of the file: bytes, and when it was last written to."""
        self.frames_declared = plan.declared
        """Frames by the header, true or not; None where it does not say."""
        if plan.frames is not None:
            self.frames = min(self.frames, plan.frames)
        self._gain = plan.bare.gain if plan.bare is not None else 1
        self._cause = plan.cause
        self._not_there = plan.missing
        if plan.shape is None:
            self._compare()
        self._begin()

    def _compare(self) -> None:
        """What libsndfile sees of a file, beside what its header declares."""
        declared = self.frames_declared = self.frames_declared or self.frames or None
        self._not_there = max((declared or 0) - self.frames, 0)
        if not self.frames or (declared is not None and declared < self.frames):
            self._cause = self._cause or "header_sizes"
        elif self._not_there:
            self._cause = self._cause or "truncated"

    def _begin(self) -> None:
        self.frames_read = 0
        self.non_finite = 0
        self.peak = 0.0
        self._quality = Quality(self.channels)
        self._broken = False

    @property
    def frames_missing(self) -> int:
        """Frames that the header, the file's length or the decoder promised, and that are not read.

        What was read and what is missing are together what the file declares, or where its
        sizes are wrong (`header_sizes`) what it physically holds.
        """
        return self._not_there + (self.frames - self.frames_read if self._broken else 0)

    @property
    def frames_promised(self) -> int:
        """What was read and what is missing, as far as it can be told before reading."""
        return self._not_there + self.frames

    @property
    def flags(self) -> tuple[str, ...]:
        """What is odd about the samples: names of quality.FLAGS."""
        return self._quality.flags(self.non_finite)

    @property
    def verdict(self) -> Verdict:
        """`partial` outweighs `repaired`, and the header what the samples are like."""
        if self._broken:
            return Verdict("partial", "decode_error")
        if self._cause is not None:
            return Verdict("partial" if self._cause in PARTIAL else "repaired", self._cause)
        if self.non_finite:
            return Verdict("repaired", "non_finite")
        return Verdict("ok")

    @property
    def detail(self) -> str | None:
        """The verdict for people."""
        match self.verdict.reason:
            case "decode_error":
                return f"the decoder failed after {self.frames_read} of {self.frames} frames"
            case "non_finite":
                return f"{self.non_finite} samples were no numbers, or huge: set to 0"
            case "truncated" if self._plan.detail is None:
                return f"the file ends {self.frames_missing} frames before its header says"
            case "header_sizes" if self._plan.detail is None:
                return "the header does not say how long the sound is: all of it was read"
        return self._plan.detail

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet that describe the reading; final after `blocks`."""
        status, reason = self.verdict
        return {
            "status": status,
            "reason": reason,
            "detail": self.detail,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "frames": self.frames_read,
            "frames_declared": self.frames_declared,
            "frames_missing": self.frames_missing,
            "duration_s": self.frames_read / self.sample_rate,
            "flags": list(self.flags),
        }

    def blocks(self, start: int = 0, frames: int | None = None) -> Iterator[Samples]:
        """Samples as float32 blocks (n, channels), full scale 1, every one finite.

        A decoder that fails in the middle ends the iteration, and makes the verdict `partial`;
        one that fails at the first frame is a RefusedError, as is a file that has changed since
        it was opened.
        """
        self._begin()
        with refusing():
            file, sound = self._opened or self._open()
            self._opened = None
            if start:
                sound.seek(start)
        expected = frames is None and self.frames > 0
        left = (self.frames or UNKNOWN_FRAMES) if frames is None else frames
        length = max(min(BLOCK_FRAMES, BLOCK_SAMPLES // self.channels), 1)
        while left > 0:
            wanted = min(length, left)
            block = _read(sound, wanted)
            if self._gain != 1:
                block *= np.float32(self._gain)
            left -= len(block)
            self.frames_read += len(block)
            if self.on_frames:
                self.on_frames(len(block))
            self._broken = expected and len(block) < wanted
            if len(block):
                yield self._clean(block)
            if len(block) < wanted:
                break
        check_same(file, self._plan)
        if frames is None and not self.frames_read:
            raise RefusedError("decode_error", "the decoder failed at the first frame")

    def _clean(self, block: Samples) -> Samples:
        with np.errstate(invalid="ignore"):
            peak = float(max(block.max(), -block.min()))
        if not peak <= MAX_AMPLITUDE:
            block, bad = repair(block)
            self.non_finite += bad
        self.peak = max(self.peak, self._quality.add(block))
        return block


PARTIAL = frozenset({"truncated", "more_data"})
"""What is wrong with a header that sound was lost by."""


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
    """Open a sound file of any kind that is read; raise RefusedError with a reason.

    A refusal of the one who reads tells what the file declares, too.
    """
    with ExitStack() as stack:
        with refusing():
            plan = examine(path)
        try:
            with refusing():
                recording = Recording(lambda: stack.enter_context(open_sound(path, plan)), plan)
        except RefusedError as refusal:
            if refusal.declared is None:
                refusal.declared, refusal.missing = plan.declared, plan.declared or 0
            raise
        try:
            yield recording
        except RefusedError as refusal:
            refusal.declared = recording.frames_declared
            refusal.missing = recording.frames_promised
            raise


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
