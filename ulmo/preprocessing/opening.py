"""How a file is opened: its header is checked first, and libsndfile is shown only what fits.

A WAV file whose samples have a fixed width is read as bare samples where libsndfile would not
read all that is there; every other kind of file as libsndfile reads it.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypedDict

import numpy as np
import soundfile

from ulmo.preprocessing.containers import declared_frames, ogg_has_end
from ulmo.preprocessing.files import Signature, open_file, signature_of
from ulmo.preprocessing.kinds import SUBTYPES, WAV_CODINGS, kind_of
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WavLayout, layout_of

MAX_CHANNELS = 1024
RATES = range(100, 4_000_001)
UNKNOWN_FRAMES = 1 << 53
"""libsndfile gives more frames than this where the header does not say (FLAC from a pipe)."""
NUL_TAIL = 512
"""Bytes of NULs, a sector of a disk, from which on they are a place that was never written to."""
NUL_BLOCK = LOOKED_AT = 1 << 20
SYSTEM_ERROR = 2
"""libsndfile's code for what the system, not the file, is to blame for."""


class Bare(NamedTuple):
    """Samples without a header, in a file."""

    offset: int
    size: int
    """Bytes, a multiple of a frame's."""
    layout: WavLayout
    gain: int = 1
    """256 where samples of 32 bits have nothing but a sign in their highest 8."""


class Shape(NamedTuple):
    """Of the samples that are read."""

    sample_rate: int
    channels: int
    frames: int


class Plan(NamedTuple):
    """How a file is to be read, and what its header promises."""

    signature: Signature
    kind: str
    bare: Bare | None
    """None: as libsndfile reads it."""
    declared: int | None = None
    """Frames by the header; None where it does not say."""
    missing: int = 0
    """Frames that the header promises, or that the file holds, and that are not read."""
    frames: int | None = None
    """Frames in whole blocks of coded samples; None of other samples."""
    shape: Shape | None = None
    """Of samples of a fixed width, which header and length tell; else libsndfile does."""
    cause: str | None = None
    """Reason code of what is wrong with the header; None where nothing is."""
    detail: str | None = None


class _Facts(TypedDict, total=False):
    declared: int | None
    missing: int


class Opened(NamedTuple):
    """A file, and a decoder at its first frame."""

    file: BinaryIO
    sound: soundfile.SoundFile


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what goes wrong in opening a file into a RefusedError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = "unreadable" if error.code == SYSTEM_ERROR else "bad_header"
        raise RefusedError(reason, str(error.error_string)) from None
    except OSError as error:
        raise RefusedError("unreadable", error.strerror or str(error)) from None


def examine(path: Path) -> Plan:
    """Read a file's header; RefusedError where there is nothing that could be read.

    OSError where the system says no: see `refusing`.
    """
    with open_file(path) as file:
        signature = signature_of(file)
        if signature.size == 0:
            raise RefusedError("empty_file", "the file has no bytes")
        kind = kind_of(file)
        if kind is None:
            raise RefusedError("not_audio", "the file is of no kind of sound that is read")
        if kind == "wav":
            return _plan_wav(file, signature)
        plan = Plan(signature, kind, None, declared_frames(file, kind))
        if kind == "ogg" and not ogg_has_end(file, signature.size):
            detail = "the file ends before its stream does, nobody knows how long"
            return plan._replace(cause="truncated", detail=detail)
        return plan


@contextmanager
def open_sound(path: Path, plan: Plan) -> Iterator[Opened]:
    """Open a file as planned; RefusedError, `changed`, where it is not the one that was planned.

    What goes wrong is raised as libsndfile or the system says it: see `refusing`.
    """
    with open_file(path) as file:
        check_same(file, plan)
        if plan.bare is None:
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                yield Opened(file, sound)
            return
        layout = plan.bare.layout
        options = {
            "format": "RAW",
            "subtype": layout.subtype,
            "endian": layout.byte_order.upper(),
            "samplerate": layout.sample_rate,
            "channels": layout.channels,
        }
        with soundfile.SoundFile(_Stretch(file, plan.bare), **options) as sound:
            yield Opened(file, sound)


def check_same(file: BinaryIO, plan: Plan) -> None:
    """RefusedError, `changed`, where the file was written to, or another is in its place."""
    if signature_of(file) != plan.signature:
        raise RefusedError("changed", "the file was changed while it was read: try again later")


def _plan_wav(file: BinaryIO, signature: Signature) -> Plan:
    layout = layout_of(file, signature.size)
    if layout is None:
        raise RefusedError("bad_header", "a WAV file without a format and data that follow it")
    held = _held_bytes(layout)
    wrong = layout.unfinished or layout.oversized or bool(layout.searched and layout.bytes_missing)
    declared = None if layout.unknown else layout.frames_in(layout.declared_bytes)
    promised = layout.frames_in(held + (0 if wrong else layout.bytes_missing + layout.more_bytes))
    facts: _Facts = {"declared": declared, "missing": promised}
    if layout.format_tag not in WAV_CODINGS:
        detail = f"the samples are coded as format {layout.format_tag:#06x}, which is not read"
        raise RefusedError("unsupported_coding", detail)
    check_shape(layout.sample_rate, layout.channels, **facts)
    plan = Plan(signature, "wav", None, declared)
    if layout.subtype is None:
        return _plan_blocks(layout, plan, wrong=wrong)
    frames = layout.frames_in(held)
    if wrong and not layout.wrapped_bytes:
        frames = layout.frames_in(_without_nuls(file, layout.data_offset, held))
    if not frames:
        detail = "nothing but NULs follows the header" if held else "a header but no samples"
        raise RefusedError("no_samples", detail, **facts)
    size = frames * layout.frame_bytes
    bare = Bare(layout.data_offset, size, layout, _gain(file, layout, size))
    shape = Shape(layout.sample_rate, layout.channels, frames)
    plan = plan._replace(missing=promised - frames, shape=shape)
    if wrong:
        detail = "the sizes in the header are wrong: read by the file's length"
        if plan.missing:
            detail += f", but for {plan.missing} frames of NULs at its end"
        return plan._replace(bare=bare, cause="header_sizes", detail=detail)
    if layout.bytes_missing:
        detail = f"the file ends {plan.missing} frames before its header says"
        plan = plan._replace(cause="truncated", detail=detail)
    elif plan.missing:
        detail = f"{plan.missing} frames lie in another chunk of data, and are not read"
        plan = plan._replace(cause="more_data", detail=detail)
    if layout.is_wide:
        return plan._replace(bare=bare)
    return plan if _agrees(file, layout, frames) else _mended(plan, bare)


def _plan_blocks(layout: WavLayout, plan: Plan, *, wrong: bool) -> Plan:
    """Of samples that are coded in blocks, which only libsndfile can tell the number of."""
    if layout.format_tag in (1, 3, 6, 7):
        detail = f"samples of {layout.bits} bits in format {layout.format_tag} are not read"
        raise RefusedError("unsupported_coding", detail)
    if wrong:
        detail = "the sizes in the header are wrong, and coded samples cannot be read without them"
        raise RefusedError("lost_sizes", detail, declared=plan.declared)
    if not layout.block_samples:
        raise RefusedError("bad_header", "coded samples, and no word on how many are in a block")
    frames = layout.frames_in(min(layout.declared_bytes, layout.physical_bytes))
    if not frames:
        missing = plan.declared or 0
        raise RefusedError("no_samples", "no block of samples", declared=missing, missing=missing)
    return plan._replace(frames=frames)


def _mended(plan: Plan, bare: Bare) -> Plan:
    """libsndfile would not read what is there: the samples are read without the header."""
    if plan.cause:
        return plan._replace(bare=bare)
    detail = "the header contradicts itself: read by the sizes of its samples"
    return plan._replace(bare=bare, cause="header_fields", detail=detail)


def _held_bytes(layout: WavLayout) -> int:
    """Bytes of sound in the first chunk of data that the file holds."""
    if layout.unfinished:
        return layout.wrapped_bytes or layout.physical_bytes
    return min(layout.declared_bytes, layout.physical_bytes)


def _agrees(file: BinaryIO, layout: WavLayout, frames: int) -> bool:
    """True where libsndfile sees what the layout says."""
    file.seek(0)  # libsndfile begins where the descriptor stands
    try:
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            seen = (sound.frames, sound.channels, sound.samplerate, sound.subtype)
    except soundfile.LibsndfileError:
        return False
    return bool(seen == (frames, layout.channels, layout.sample_rate, layout.subtype))


def _gain(file: BinaryIO, layout: WavLayout, size: int) -> int:
    """Of 24 bits in four bytes: 256 where the lowest byte is used, as in the upper three it is not.

    libsndfile guesses, and takes sound of few samples for another's.
    """
    if not layout.is_wide:
        return 1
    file.seek(layout.data_offset)
    start = file.read(min(size, LOOKED_AT))
    lowest = start[::4] if layout.byte_order == "little" else start[3::4]
    return 256 if any(lowest) else 1


def _without_nuls(file: BinaryIO, offset: int, size: int) -> int:
    """Bytes up to the last that is not NUL, if a sector of NULs or more follows; else all."""
    end = size
    while end > 0:
        start = max(end - NUL_BLOCK, 0)
        file.seek(offset + start)
        block = np.frombuffer(file.read(end - start), np.uint8)
        if block.any():
            end = start + int(np.flatnonzero(block)[-1]) + 1
            break
        end = start
    return end if size - end >= NUL_TAIL else size


def check_shape(
    sample_rate: int, channels: int, *, declared: int | None = None, missing: int = 0
) -> None:
    """RefusedError for a rate or a number of channels that no recording has."""
    facts: _Facts = {"declared": declared, "missing": missing}
    if sample_rate not in RATES:
        detail = f"a sample rate of {sample_rate} Hz is not supported"
        raise RefusedError("bad_rate", detail, **facts)
    if not 1 <= channels <= MAX_CHANNELS:
        known: _Facts = facts if channels else {}
        raise RefusedError("bad_channels", f"{channels} channels are not supported", **known)


def check_opened(sound: soundfile.SoundFile, plan: Plan) -> Shape:
    """What libsndfile has opened; RefusedError where it is not to be read. 0 frames: not known."""
    frames = sound.frames if sound.frames < UNKNOWN_FRAMES else 0
    missing = max(plan.declared or 0, frames)
    check_shape(sound.samplerate, sound.channels, declared=plan.declared, missing=missing)
    if sound.subtype not in SUBTYPES:
        detail = f"samples of the kind {sound.subtype} are not read"
        raise RefusedError("unsupported_coding", detail, declared=plan.declared, missing=missing)
    if sound.frames <= 0:
        detail = "the file has a header but no samples"
        raise RefusedError("no_samples", detail, declared=plan.declared, missing=missing)
    return Shape(sound.samplerate, sound.channels, frames)


class _Stretch(io.RawIOBase):
    """A stretch of a file of bare samples, as a file of its own."""

    def __init__(self, file: BinaryIO, bare: Bare) -> None:
        self._raw = file
        self._start = bare.offset
        self._end = bare.offset + bare.size
        file.seek(bare.offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_END: self._end}
        return self._raw.seek(base.get(whence, self._raw.tell()) + offset) - self._start

    def tell(self) -> int:
        return self._raw.tell() - self._start

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(self._end - self._raw.tell(), 0)]
        content = self._raw.read(len(view))
        view[: len(content)] = content
        return len(content)
