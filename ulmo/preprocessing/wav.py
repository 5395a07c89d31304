"""How to read a WAV file: by its header, as far as the file's length confirms it.

soundfile alone does not suffice: libsndfile believes the header, so it reads too little after a
crash of the recorder, and does not report what is missing after a cut. See riff.py.
"""

from typing import Any, BinaryIO

import numpy as np
import soundfile

from ulmo.preprocessing.containers import WAV_CODINGS
from ulmo.preprocessing.plan import RawSamples, ReadPlan, Shape, check_shape
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WIDTHS, WavLayout, layout_of
from ulmo.storage.plain_file import Signature

NUL_TAIL = 512  # a run of NUL bytes this long (a disk sector) at the end was never written
NUL_BLOCK = GAIN_BYTES = 1 << 20  # bytes looked at in one read


def plan_wav(file: BinaryIO, signature: Signature) -> ReadPlan:
    """How to read a WAV file; RefusedError if nothing in it can be read."""
    layout = layout_of(file, signature.size)
    if layout is None:
        raise RefusedError("bad_header", "the WAV file has no fmt chunk followed by a data chunk")
    held = _held_bytes(layout)
    wrong = layout.unfinished or layout.oversized or bool(layout.searched and layout.bytes_missing)
    declared = None if layout.unknown else layout.frames_in(layout.declared_bytes)
    expected = layout.frames_in(held + (0 if wrong else layout.bytes_missing + layout.more_bytes))
    counts: dict[str, Any] = {"declared": declared, "missing": expected}
    if layout.format_tag not in WAV_CODINGS:
        detail = f"samples coded as format {layout.format_tag:#06x} are not supported"
        raise RefusedError("unsupported_coding", detail)
    check_shape(layout.sample_rate, layout.channels, **counts)
    plan = ReadPlan(signature, "wav", declared=declared)
    if layout.subtype is None:
        return _plan_blocks(layout, plan, counts, wrong=wrong)
    frames = layout.frames_in(held)
    if wrong and not layout.wrapped_bytes:
        frames = layout.frames_in(_without_nuls(file, layout.data_offset, held))
    if not frames:
        detail = "only NUL bytes follow the header" if held else "no samples follow the header"
        raise RefusedError("no_samples", detail, **counts)
    size = frames * layout.frame_bytes
    raw = RawSamples(layout.data_offset, size, layout, _gain(file, layout, size))
    shape = Shape(layout.sample_rate, layout.channels, frames)
    plan = plan._replace(missing=expected - frames, shape=shape)
    if wrong:
        detail = "the sizes in the header are wrong: the file's length was used instead"
        if plan.missing:
            detail += f", without {plan.missing} frames of NUL bytes at the end"
        return plan._replace(raw=raw, cause="header_sizes", detail=detail)
    if layout.bytes_missing:
        detail = f"the file ends {plan.missing} frames before its header says"
        plan = plan._replace(cause="truncated", detail=detail)
    elif plan.missing:
        detail = f"{plan.missing} frames are in further data chunks, which are not read"
        plan = plan._replace(cause="more_data", detail=detail)
    if layout.is_wide:
        return plan._replace(raw=raw)
    if _agrees(file, layout, frames):
        return plan
    if plan.cause:
        return plan._replace(raw=raw)
    detail = "the header contradicts itself: only its sample format was used"
    return plan._replace(raw=raw, cause="header_fields", detail=detail)


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


def _held_bytes(layout: WavLayout) -> int:
    """Bytes of sound that the file holds in the first data chunk."""
    if layout.unfinished:
        return layout.wrapped_bytes or layout.physical_bytes
    return min(layout.declared_bytes, layout.physical_bytes)


def _agrees(file: BinaryIO, layout: WavLayout, frames: int) -> bool:
    """Whether libsndfile finds the same samples as the layout."""
    file.seek(0)  # libsndfile begins at the descriptor's position
    try:
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            seen = (sound.frames, sound.channels, sound.samplerate, sound.subtype)
    except soundfile.LibsndfileError:
        return False
    return bool(seen == (frames, layout.channels, layout.sample_rate, layout.subtype))


def _gain(file: BinaryIO, layout: WavLayout, size: int) -> int:
    """The gain of 24-bit samples in four bytes: 256 if the lowest byte is used, else 1.

    libsndfile guesses, and guesses wrong for short recordings.
    """
    if not layout.is_wide:
        return 1
    file.seek(layout.data_offset)
    start = file.read(min(size, GAIN_BYTES))
    lowest = start[::4] if layout.byte_order == "little" else start[3::4]
    return 256 if any(lowest) else 1


def _without_nuls(file: BinaryIO, offset: int, size: int) -> int:
    """Bytes up to the last that is not NUL, if NUL_TAIL or more NULs follow it; else all."""
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
