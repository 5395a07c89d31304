"""How to read a WAV file: by its header, as far as the file's length confirms it.

soundfile alone does not suffice: libsndfile believes the header, so it reads too little after a
crash of the recorder, and does not report what is missing after a cut. See riff.py.
"""

from typing import Any, BinaryIO

import soundfile

from ulmo.preprocessing.reading.containers import WAV_CODINGS, ends, find_sound
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.reading.parts import Part, check_shape, wrong_sizes
from ulmo.preprocessing.reading.pieces import READ_BYTES, Piece, Stretch, replaced
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.reading.riff import WIDTHS, WRAP, WavLayout, layout_of
from ulmo.preprocessing.reading.tags import without_nuls


def split(file: BinaryIO, size: int) -> tuple[list[Part | RefusedError], int]:
    """A WAV file, and where it ends: after its last chunk, or before another file."""
    layout = layout_of(file, size)
    doubtful = layout is None or (
        (_is_wrong(layout) or not ends(file, layout.end, size)) and not layout.wrapped_bytes
    )
    start = layout.data_offset if layout else 1
    if doubtful and (found := find_sound(file, start, size)):
        size = found
        layout = layout_of(file, size)
    if layout is None:
        detail = "the WAV file has no fmt chunk followed by a data chunk"
        return [RefusedError("bad_header", detail, missing=None)], size
    end = size if layout.unfinished or layout.bytes_missing else layout.end
    try:
        return [_plan(file, layout, end)], end
    except RefusedError as refusal:
        return [refusal], end


def _is_wrong(layout: WavLayout) -> bool:
    """Whether the sizes in the header are wrong."""
    missing = bool(layout.searched and layout.bytes_missing)
    return layout.unfinished or layout.oversized or missing


def _plan(file: BinaryIO, layout: WavLayout, end: int) -> Part:
    held = min(layout.declared_bytes, layout.physical_bytes)  # of sound, in the first data chunk
    if layout.unfinished:
        held = layout.wrapped_bytes or layout.physical_bytes
    wrong = _is_wrong(layout)
    declared = None if layout.unknown else layout.frames_in(layout.declared_bytes)
    expected = layout.frames_in(held + (0 if wrong else layout.bytes_missing + layout.more_bytes))
    counts: dict[str, Any] = {"declared": declared, "missing": expected}
    if layout.format_tag not in WAV_CODINGS:
        detail = f"samples coded as format {layout.format_tag:#06x} are not supported"
        raise RefusedError("unsupported_coding", detail, missing=None)
    check_shape(layout.sample_rate, layout.channels, **counts)
    file.seek(0)
    pieces: tuple[Piece, ...] = (Stretch(0, end),)
    if file.read(4) == b"BW64":  # which libsndfile does not know
        pieces = replaced(end, {0: b"RF64"})
    plan = Part("wav", pieces, declared)
    true = held
    if wrong and not layout.wrapped_bytes:
        true = without_nuls(file, layout.data_offset, held)
    if layout.subtype is None:
        return _plan_blocks(layout, plan, counts, true if wrong else None)
    frames = layout.frames_in(true)
    if not frames:
        detail = "only NUL bytes follow the header" if held else "no samples follow the header"
        raise RefusedError("no_samples", detail, **counts)
    missing = expected - frames
    plan = plan._replace(missing=missing, frames=frames)
    plan = plan._replace(sample_rate=layout.sample_rate, channels=layout.channels)
    plan = plan._replace(packet_bytes=layout.frame_bytes)
    gain = _gain(file, layout, frames * layout.frame_bytes)
    samples = (Stretch(layout.data_offset, frames * layout.frame_bytes),)
    raw: dict[str, Any] = {"pieces": samples, "raw": layout, "gain": gain}
    if wrong:
        return plan._replace(**raw, cause="header_sizes", detail=wrong_sizes(missing))
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


def _plan_blocks(layout: WavLayout, plan: Part, counts: dict[str, Any], held: int | None) -> Part:
    """How to read samples that are coded in blocks, which only libsndfile can decode.

    If the sizes in the header are wrong, `held` is the true size of the data: libsndfile is given
    a header with it.
    """
    if layout.format_tag in WIDTHS:
        detail = f"samples of {layout.bits} bits in format {layout.format_tag} are not supported"
        raise RefusedError("unsupported_coding", detail, **counts)
    if not layout.block_samples:
        detail = "the header does not say how long a coded block is"
        raise RefusedError("bad_header", detail, missing=None)
    size = min(layout.declared_bytes, layout.physical_bytes) if held is None else held
    frames = layout.frames_in(size)
    if not frames:
        missing = plan.declared or 0
        detail = "the file holds no whole block of samples"
        raise RefusedError("no_samples", detail, declared=plan.declared, missing=missing)
    if held is None:
        plan = plan._replace(packet_bytes=layout.block_align, packet_frames=layout.block_samples)
        return plan._replace(frames=frames)
    if held >= WRAP:
        detail = "the sizes in the header are wrong, and too large for a corrected header"
        raise RefusedError("lost_sizes", detail, declared=plan.declared, missing=frames)
    order = layout.byte_order
    name = b"RIFX" if order == "big" else b"RIFF"
    end = layout.data_offset + held
    riff = name + min(end - 8, WRAP - 1).to_bytes(4, order)
    changes = {0: riff, layout.data_offset - 4: held.to_bytes(4, order)}
    pieces = replaced(end, changes)
    missing = counts["missing"] - frames
    plan = plan._replace(pieces=pieces, frames=frames, missing=missing)
    return plan._replace(cause="header_sizes", detail=wrong_sizes(missing))


def _agrees(file: BinaryIO, plan: Part, layout: WavLayout) -> bool:
    """Whether libsndfile finds the same samples as the plan."""
    try:
        with Decoder(file, plan.pieces) as decoder:
            sound = decoder.sound
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
