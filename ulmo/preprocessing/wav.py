"""How a WAV file is to be read: by its header, as far as the file's length bears it out."""

from typing import BinaryIO

import numpy as np
import soundfile

from ulmo.preprocessing.kinds import WAV_CODINGS
from ulmo.preprocessing.plan import Bare, Facts, Plan, Shape, check_shape
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WIDTHS, WavLayout, layout_of
from ulmo.storage.plain_file import Signature

NUL_TAIL = 512
"""Bytes of NULs, a sector of a disk, from which on they are a place that was never written to."""
NUL_BLOCK = LOOKED_AT = 1 << 20


def plan_wav(file: BinaryIO, signature: Signature) -> Plan:
    """How a WAV file is to be read; RefusedError where nothing of it can be."""
    layout = layout_of(file, signature.size)
    if layout is None:
        raise RefusedError("bad_header", "a WAV file without a format and data that follow it")
    held = _held_bytes(layout)
    wrong = layout.unfinished or layout.oversized or bool(layout.searched and layout.bytes_missing)
    declared = None if layout.unknown else layout.frames_in(layout.declared_bytes)
    promised = layout.frames_in(held + (0 if wrong else layout.bytes_missing + layout.more_bytes))
    facts: Facts = {"declared": declared, "missing": promised}
    if layout.format_tag not in WAV_CODINGS:
        detail = f"the samples are coded as format {layout.format_tag:#06x}, which is not read"
        raise RefusedError("unsupported_coding", detail)
    check_shape(layout.sample_rate, layout.channels, **facts)
    plan = Plan(signature, "wav", None, declared)
    if layout.subtype is None:
        return _plan_blocks(layout, plan, facts, wrong=wrong)
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


def _plan_blocks(layout: WavLayout, plan: Plan, facts: Facts, *, wrong: bool) -> Plan:
    """Of samples that are coded in blocks, which only libsndfile can tell the number of."""
    if layout.format_tag in WIDTHS:
        detail = f"samples of {layout.bits} bits in format {layout.format_tag} are not read"
        raise RefusedError("unsupported_coding", detail, **facts)
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
