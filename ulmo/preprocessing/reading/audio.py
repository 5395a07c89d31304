"""Recordings: open, repair, choose channels and resample, in blocks of bounded size."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from ulmo.arrays import Array
from ulmo.config import UserError
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.reading.opening import UNKNOWN_FRAMES, Opener, go_to, refusing
from ulmo.preprocessing.reading.parts import Part
from ulmo.preprocessing.reading.plan import PARTIAL, ReadPlan, contents_of, plan_reading
from ulmo.preprocessing.reading.quality import Quality
from ulmo.preprocessing.reading.refusal import UNKNOWN_LENGTH
from ulmo.preprocessing.reading.refusal import RefusedError as RefusedError
from ulmo.preprocessing.reading.refusal import Verdict as Verdict

BLOCK_FRAMES = 1 << 16
BLOCK_SAMPLES = 1 << 20  # at most, over all channels of a block
MAX_AMPLITUDE = 1e6  # 120 dB over full scale: larger samples are damage, as NaN and Inf are
RESAMPLING: Any = {"dtype": "float32", "quality": "HQ"}  # 20 bit
MOST_BEYOND = 0.01  # share of a recording's samples: more are no damage, but in another unit
FLOATS = ("FLOAT", "DOUBLE")  # codings whose full scale is not known


class Recording:
    """An open recording: its true sizes, and its samples in blocks.

    `frames` is 0 if the header does not say. `verdict`, `detail`, `frames_read`,
    `frames_missing`, `flags` and `peak` describe the latest run of `blocks`, and are final when
    it is exhausted. Each run of `blocks` but the first opens the file again, because a decoder
    cannot be used after a failure.
    """

    def __init__(
        self,
        opener: Opener,
        plan: ReadPlan,
        opened: Decoder | None = None,
        full_scale: float = 1.0,
    ) -> None:
        self._full_scale = full_scale
        self.on_frames: Callable[[int], None] | None = None  # called with the frames of each block
        # As `blocks`, of one channel (n, 1), from a run over several: see channels.in_turn.
        self.in_turn: Callable[[int, int, int | None], Iterator[Array]] | None = None
        self._opener = opener
        self._opened = opened  # the decoder of the only part, at its first frame
        self.sample_rate, self.channels = plan.parts[0].sample_rate, plan.parts[0].channels
        self.signature = plan.signature  # of the file
        self.size, self.mtime_ns = plan.signature.size, plan.signature.mtime_ns
        self._adopt(plan)
        self._reset()

    def _adopt(self, plan: ReadPlan) -> None:
        self._plan = plan
        self.frames = plan.frames
        self.frames_declared = plan.declared  # by the header, true or not; None if it does not say

    def _reset(self) -> None:
        self.frames_read = 0
        self.non_finite = 0
        self.peak = 0.0
        self._beyond = 0  # finite samples over MAX_AMPLITUDE
        self._quality = Quality(self.channels)
        self._lost = 0  # frames that the decoder did not give
        self._failed = False
        self._hides_more = False

    @property
    def frames_missing(self) -> int:
        """Frames that the file should have, and that were not read.

        Frames read and missing add up to what the header declares or, if its sizes are wrong
        (`header_sizes`), to what the file physically holds.
        """
        return self._plan.missing + self._lost

    @property
    def frames_promised(self) -> int:
        """Frames read and missing together, as far as known before reading."""
        return self._plan.missing + self.frames

    @property
    def flags(self) -> tuple[str, ...]:
        """What is unusual about the samples: names from quality.FLAGS."""
        return self._quality.flags(self.non_finite)

    @property
    def verdict(self) -> Verdict:
        """`partial` comes before `repaired`, and the header before the samples."""
        if self._failed or (self._lost and self._plan.cause not in PARTIAL):
            return Verdict("partial", "decode_error" if self._failed else "truncated")
        if cause := self._plan.cause:
            return Verdict("partial" if cause in PARTIAL else "repaired", cause)
        if self.non_finite:
            return Verdict("repaired", "non_finite")
        return Verdict("ok")

    @property
    def detail(self) -> str | None:
        """The verdict in one line for people; None if `ok`."""
        match self.verdict.reason:
            case "decode_error" if not self.frames:
                return f"the decoder failed after {self.frames_read} frames: {UNKNOWN_LENGTH}"
            case "decode_error":
                return f"the decoder failed: {self.frames_read} of {self.frames} frames were read"
            case "non_finite":
                return f"{self.non_finite} samples were NaN, infinite or too large: set to 0"
            case "truncated" if self._plan.cause not in PARTIAL:
                return f"the sound ends {self._lost} frames before its header says"
        return self._plan.detail

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet about what was read; final when `verdict` is."""
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
            "peak_db": 20 * math.log10(self.peak) if self.peak > 0 else None,
        }

    def blocks(self, start: int = 0, frames: int | None = None) -> Iterator[Array]:
        """Samples as float32 blocks (n, channels), full scale 1, all finite.

        Begins at frame `start` and reads `frames` (None: to the end). If the decoder fails, the
        iteration ends and the verdict is `partial`. Raises RefusedError if it fails at the first
        frame, if a read of the file fails, or, at the end, if the file has changed since it was
        opened or if its samples lie too far beyond full scale.
        """
        self._reset()
        left = UNKNOWN_FRAMES if frames is None else frames
        parts = deque(self._plan.parts)
        while parts:
            part = parts.popleft()
            if part.frames and start >= part.frames:
                start -= part.frames
                continue
            for block in self._part(part, start, left, whole=frames is None):
                left -= len(block)
                self.frames_read += len(block)
                if self.on_frames:
                    self.on_frames(len(block))
                yield self._clean(block)
            start = 0
            if self._hides_more:
                self._find_more()
                parts.extend(self._plan.parts[1:])
        if self._beyond > MOST_BEYOND * self.frames_read * self.channels:
            raise RefusedError(
                "beyond_scale",
                f"{self._beyond} samples are over {MAX_AMPLITUDE:g} times full scale: if they are "
                "in micropascals, say, give the largest as --full-scale",
            )
        if frames is None and not self.frames_read:
            raise RefusedError("decode_error", "the decoder failed at the first frame")

    def _part(self, part: Part, start: int, frames: int, *, whole: bool) -> Iterator[Array]:
        """At most `frames` frames of a part, as decoded; counts lost ones if `whole`."""
        length = max(min(BLOCK_FRAMES, BLOCK_SAMPLES // self.channels), 1)
        with refusing():
            decoder = self._opened or self._opener.open(part)
            self._opened = None
            if start:
                go_to(decoder, part, start, length)
        gain = part.gain / (self._full_scale if decoder.sound.subtype in FLOATS else 1)
        left = min(frames, (part.frames or UNKNOWN_FRAMES) - start)
        while left > 0:
            wanted = min(length, left)
            with refusing():
                block, failed = decoder.read(wanted)
            if gain != 1:
                block *= np.float32(gain)
            left -= len(block)
            if len(block):
                yield block
            if len(block) < wanted:
                if whole:
                    self._failed |= failed
                    self._lost += left if part.frames else 0
                break
        with refusing():
            self._opener.check_same(decoder.file)
            self._hides_more = whole and decoder.left > part.searched // 2 > 0

    def _find_more(self) -> None:
        """Plan anew: the decoder stopped long before the end of the file."""
        self._hides_more = False
        with refusing():
            contents = contents_of(self._opener.path, every_byte=True)
        self._adopt(plan_reading(contents, self._opener)[0])

    def _clean(self, block: Array) -> Array:
        # The sum of squares is the fastest way to see that no sample can be bad.
        if not np.vdot(block, block) <= MAX_AMPLITUDE**2 / 2:
            self._beyond += int((np.isfinite(block) & (np.abs(block) > MAX_AMPLITUDE)).sum())
            block, bad = repair(block)
            self.non_finite += bad
        self.peak = max(self.peak, self._quality.add(block))
        return block


def repair(samples: Array) -> tuple[Array, int]:
    """Set NaN, Inf and samples beyond MAX_AMPLITUDE to 0; return the samples and their number."""
    bad = ~(np.abs(samples) <= MAX_AMPLITUDE)
    count = int(bad.sum())
    return (np.where(bad, np.float32(0), samples) if count else samples), count


@contextmanager
def open_recording(path: Path, *, full_scale: float = 1.0) -> Iterator[Recording]:
    """Open a sound file of any supported kind; RefusedError if it cannot be used.

    full_scale: samples of a floating-point file are divided by it.

    A RefusedError, also one that is raised in the `with` block, is given the file's path, and there
    the frames that the file declares.
    """
    recording = None
    try:
        with refusing():
            contents = contents_of(path)
        with Opener(path, contents.signature) as opener:
            plan, opened = plan_reading(contents, opener)
            recording = Recording(opener, plan, opened, full_scale)
            yield recording
    except RefusedError as refusal:
        refusal.path = refusal.path or path
        if recording and refusal.declared is None:
            refusal.declared = recording.frames_declared
            refusal.missing = recording.frames_promised
        raise


def check_channels(channels: str) -> None:
    """Raise UserError unless `channels` is `mix`, `each` or a number from 0."""
    if not (channels in ("mix", "each") or (channels.isascii() and channels.isdecimal())):
        raise UserError(f"channels must be mix, each or a number from 0, not {channels}")


def channel_list(channels: str, available: int) -> list[int | None]:
    """The channels to read: None stands for the mean of all.

    `channels` is `mix`, `each` or a number from 0 (else UserError). RefusedError if there are
    not that many `available`.
    """
    check_channels(channels)
    if channels == "mix":
        return [None]
    if channels == "each":
        return list(range(available))
    if int(channels) >= available:
        detail = f"there is no channel {channels}: {available} channels, counted from 0"
        raise RefusedError("no_channel", detail)
    return [int(channels)]


def pick_channel(blocks: Iterable[Array], channel: int | None) -> Iterator[Array]:
    """Blocks (n,) of one channel, or of the mean of all (None), from blocks (n, channels)."""
    for block in blocks:
        if channel is not None:
            yield np.ascontiguousarray(block[:, channel])
        elif 1 < (channels := block.shape[1]) < 8:  # the bits of `mean`, in a tenth of the time
            total = block[:, 0] + block[:, 1]
            for other in range(2, channels):
                total += block[:, other]
            yield total / np.float32(channels)
        else:
            yield block.mean(axis=1, dtype=np.float32) if channels > 1 else block[:, 0]


def resample(blocks: Iterable[Array], rate: int, new_rate: int) -> Iterator[Array]:
    """Resample blocks (n,) from one rate in hertz to another, as a stream.

    soxr, quality HQ (20 bit). The result does not depend on where the blocks are cut. A block
    that would become long, as from 100 Hz to 4 MHz, is resampled in parts, and yields as many.
    """
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, **RESAMPLING)
    step = max(BLOCK_SAMPLES * rate // new_rate, 1)
    for block in blocks:
        for start in range(0, len(block), step):
            yield stream.resample_chunk(np.ascontiguousarray(block[start : start + step]))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def read_channel(recording: Recording, channel: int | None, sample_rate: int) -> Iterator[Array]:
    """One channel of a whole recording, or the mean of all (None), resampled: blocks (n,)."""
    if channel is not None:
        channel_list(str(channel), recording.channels)
    return resample(pick_channel(recording.blocks(), channel), recording.sample_rate, sample_rate)


def read_mono(
    path: Path, *, sample_rate: int, channel: int | None = None, full_scale: float = 1.0
) -> Iterator[Array]:
    """Open a file and read one channel (None: the mean of all), resampled: blocks (n,)."""
    with open_recording(path, full_scale=full_scale) as recording:
        yield from read_channel(recording, channel, sample_rate)
