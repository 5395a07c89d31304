"""What the headers of AIFF, CAF, AU and W64 promise, and whether an Ogg stream has its end.

libsndfile takes what there is of a file that was cut short, and says nothing.
"""

import struct
from collections.abc import Callable
from typing import BinaryIO

MAX_CHUNKS = 1000
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
"""Bytes a sample by AU's number of the encoding."""
OGG_PAGE = 65_307
"""Bytes of the longest Ogg page."""
LAST_PAGE = 4
"""Bit of an Ogg page's header type: the stream ends here."""
IMA4_FRAMES = 64
"""Frames of a packet of Apple's IMA ADPCM, which are what its AIFF-C files count."""
UNKNOWN = 0xFFFFFFFF
MOST = 1 << 48
"""What no disk holds."""


def declared_frames(file: BinaryIO, kind: str) -> int | None:
    """Frames by the header of a kind in HEADERS, 1 or more; None where it does not say."""
    return HEADERS[kind](file) if kind in HEADERS else None


def _aiff(file: BinaryIO) -> int | None:
    """numSampleFrames of the chunk COMM."""
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(14)
        if len(head) < 14:
            break
        if head[:4] == b"COMM":
            packed = file.read(16)[12:] == b"ima4"
            return int.from_bytes(head[10:14], "big") * (IMA4_FRAMES if packed else 1) or None
        length = int.from_bytes(head[4:8], "big")
        position += 8 + length + length % 2
    return None


def _caf(file: BinaryIO) -> int | None:
    """Packets that the chunk `data` has room for, times the frames of a packet in `desc`."""
    position, frame = 8, (0, 0)
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12:
            break
        name, length = struct.unpack(">4sq", head)
        if name == b"desc":
            frame = struct.unpack(">II", file.read(32)[16:24].ljust(8, b"\0"))
        elif name == b"data":
            frames = (length - 4) // frame[0] * frame[1] if length > 4 and frame[0] else 0
            return frames if 0 < frames < MOST else None
        if not 0 <= length < MOST:
            break
        position += 12 + length
    return None


def _au(file: BinaryIO) -> int | None:
    """Length of the data, by the bytes of a frame."""
    file.seek(0)
    head = file.read(24)
    if len(head) < 24:
        return None
    order = ">" if head[:4] == b".snd" else "<"
    length, encoding, _, channels = struct.unpack(f"{order}4I", head[8:])
    frame = AU_BYTES.get(encoding, 0) * channels
    return length // frame or None if frame and length < UNKNOWN else None


def _w64(file: BinaryIO) -> int | None:
    """Length of the chunk `data`, by the block_align of `fmt`; None of samples in blocks."""
    position, frame = 40, 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(24)
        if len(head) < 24:
            break
        length = int.from_bytes(head[16:], "little")
        if head[:4] == b"fmt ":
            fmt = file.read(16).ljust(16, b"\0")
            tag, frame = struct.unpack("<H10xH2x", fmt)
            frame = frame if tag not in (2, 0x11, 0x31) else 0
        elif head[:4] == b"data":
            return (length - 24) // frame or None if frame and 24 < length < MOST else None
        if length >= MOST:
            break
        position += max(length + 7 & ~7, 24)
    return None


HEADERS: dict[str, Callable[[BinaryIO], int | None]] = {
    "aiff": _aiff,
    "caf": _caf,
    "au": _au,
    "w64": _w64,
}


def ogg_has_end(file: BinaryIO, size: int) -> bool:
    """True where the last page of an Ogg file is whole, and the last of its stream (RFC 3533)."""
    start = max(size - OGG_PAGE, 0)
    file.seek(start)
    tail = file.read(OGG_PAGE)
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27:
        return False
    segments = tail[place + 27 : place + 27 + tail[place + 26]]
    whole = len(segments) == tail[place + 26]
    ends = place + 27 + len(segments) + sum(segments) <= len(tail)
    return whole and ends and bool(tail[place + 5] & LAST_PAGE)
