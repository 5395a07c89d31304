"""How to read a recording: by its header, as far as the file's length confirms it.

soundfile alone does not suffice for WAV: libsndfile believes the header, so it reads too little
after a crash of the recorder, and does not report what is missing after a cut. See riff.py.
"""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from ulmo.preprocessing.containers import WAV_CODINGS, declared_frames, kind_of, ogg_has_end
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WIDTHS, WavLayout, layout_of
from ulmo.storage.plain_file import Signature, open_file, signature_of

MAX_CHANNELS = 1024
RATES = range(100, 4_000_001)  # hertz
NUL_TAIL = 512  # a run of NUL bytes this long (a disk sector) at the end was never written
READ_BYTES = 1 << 20  # looked at in one read


class ReadPlan(NamedTuple):
    """How to read a file, and what its header declares."""

    signature: Signature
    declared: int | None = None  # frames by the header; None if it does not say
    missing: int = 0  # frames that the file declares or holds, and that are not read
    sample_rate: int = 0  # hertz; 0 until libsndfile finds it
    channels: int = 0
    frames: int = 0  # that are read; 0 if unknown
    raw: WavLayout | None = None  # of a file read without its header; None: libsndfile reads it
    gain: int = 1  # 256 if the highest 8 of 32 bits hold only the sign
    cause: str | None = None  # reason code of what is wrong with the header
    detail: str | None = None


def plan_reading(path: Path) -> ReadPlan:
    """Read a file's header.

    Raises RefusedError if nothing in the file can be read, OSError if it cannot be opened.
    """
    with open_file(path) as file:
        signature = signature_of(file)
        if signature.size == 0:
            raise RefusedError("empty_file", "the file has no bytes")
        kind = kind_of(file)
        if kind is None:
            raise RefusedError("not_audio", "the file is in no supported sound format")
        if kind == "wav":
            return _plan_wav(file, signature)
        plan = ReadPlan(signature, declared_frames(file, kind))
        if kind == "ogg" and not ogg_has_end(file, signature.size):
            detail = "the file ends before its stream does: an unknown length is missing"
            return plan._replace(cause="truncated", detail=detail)
        return plan


def check_shape(
    sample_rate: int, channels: int, *, declared: int | None = None, missing: int = 0
) -> None:
    """Raise RefusedError for an unsupported sample rate or number of channels."""
    if sample_rate not in RATES:
        detail = f"a sample rate of {sample_rate} Hz is not supported"
        raise RefusedError("bad_rate", detail, declared=declared, missing=missing)
    if not channels:  # then the number of frames is unknown, too
        raise RefusedError("bad_channels", "the header declares no channels")
    if channels > MAX_CHANNELS:
        detail = f"{channels} channels are not supported"
        raise RefusedError("bad_channels", detail, declared=declared, missing=missing)


def _plan_wav(file: BinaryIO, signature: Signature) -> ReadPlan:
    layout = layout_of(file, signature.size)
    if layout is None:
        raise RefusedError("bad_header", "the WAV file has no fmt chunk followed by a data chunk")
    held = min(layout.declared_bytes, layout.physical_bytes)  # of sound, in the first data chunk
    if layout.unfinished:
        held = layout.wrapped_bytes or layout.physical_bytes
    wrong = layout.unfinished or layout.oversized or bool(layout.searched and layout.bytes_missing)
    declared = None if layout.unknown else layout.frames_in(layout.declared_bytes)
    expected = layout.frames_in(held + (0 if wrong else layout.bytes_missing + layout.more_bytes))
    counts: dict[str, Any] = {"declared": declared, "missing": expected}
    if layout.format_tag not in WAV_CODINGS:
        detail = f"samples coded as format {layout.format_tag:#06x} are not supported"
        raise RefusedError("unsupported_coding", detail)
    check_shape(layout.sample_rate, layout.channels, **counts)
    plan = ReadPlan(signature, declared)
    if layout.subtype is None:
        return _plan_blocks(layout, plan, counts, wrong=wrong)
    frames = layout.frames_in(held)
    if wrong and not layout.wrapped_bytes:
        frames = layout.frames_in(_without_nuls(file, layout.data_offset, held))
    if not frames:
        detail = "only NUL bytes follow the header" if held else "no samples follow the header"
        raise RefusedError("no_samples", detail, **counts)
    missing = expected - frames
    plan = ReadPlan(signature, declared, missing, layout.sample_rate, layout.channels, frames)
    gain = _gain(file, layout, frames * layout.frame_bytes)
    raw: dict[str, Any] = {"raw": layout, "gain": gain}
    if wrong:
        detail = "the sizes in the header are wrong: the file's length was used instead"
        if missing:
            detail += f", without {missing} frames of NUL bytes at the end"
        return plan._replace(**raw, cause="header_sizes", detail=detail)
    if layout.bytes_missing:
        detail = f"the file ends {missing} frames before its header says"
        plan = plan._replace(cause="truncated", detail=detail)
    elif missing:
        detail = f"{missing} frames are in further data chunks, which are not read"
        plan = plan._replace(cause="more_data", detail=detail)
    if not layout.is_wide:
        if _agrees(file, plan, layout):
            return plan
        if not plan.cause:
            detail = "the header contradicts itself: only its sample format was used"
            plan = plan._replace(cause="header_fields", detail=detail)
    return plan._replace(**raw)


def _plan_blocks(
    layout: WavLayout, plan: ReadPlan, counts: dict[str, Any], *, wrong: bool
) -> ReadPlan:
    """How to read samples that are coded in blocks, which only libsndfile can decode."""
    if layout.format_tag in WIDTHS:
        detail = f"samples of {layout.bits} bits in format {layout.format_tag} are not supported"
        raise RefusedError("unsupported_coding", detail, **counts)
    if wrong:
        detail = "the sizes in the header are wrong, and coded samples cannot be read without them"
        raise RefusedError("lost_sizes", detail, declared=plan.declared)
    if not layout.block_samples:
        raise RefusedError("bad_header", "the header does not say how long a coded block is")
    frames = layout.frames_in(min(layout.declared_bytes, layout.physical_bytes))
    if not frames:
        missing = plan.declared or 0
        detail = "the file holds no whole block of samples"
        raise RefusedError("no_samples", detail, declared=missing, missing=missing)
    return plan._replace(frames=frames)


def _agrees(file: BinaryIO, plan: ReadPlan, layout: WavLayout) -> bool:
    """Whether libsndfile finds the same samples as the plan."""
    file.seek(0)  # libsndfile begins at the descriptor's position
    try:
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            seen = (sound.samplerate, sound.channels, sound.frames, sound.subtype)
    except soundfile.LibsndfileError:
        return False
    return bool(seen == (plan.sample_rate, plan.channels, plan.frames, layout.subtype))


def _gain(file: BinaryIO, layout: WavLayout, size: int) -> int:
    """The gain of 24-bit samples in four bytes: 256 if the lowest byte is used, else 1.

    libsndfile guesses, and guesses wrong for short recordings.
    """
    if not layout.is_wide:
        return 1
    file.seek(layout.data_offset)
    start = file.read(min(size, READ_BYTES))
    return 256 if any(start[0 if layout.byte_order == "little" else 3 :: 4]) else 1


def _without_nuls(file: BinaryIO, offset: int, size: int) -> int:
    """Bytes up to the last that is not NUL, if NUL_TAIL or more NULs follow it; else all."""
    end = size
    while end > 0:
        start = max(end - READ_BYTES, 0)
        file.seek(offset + start)
        found = np.flatnonzero(np.frombuffer(file.read(end - start), np.uint8))
        if len(found):
            end = start + int(found[-1]) + 1
            break
        end = start
    return end if size - end >= NUL_TAIL else size
