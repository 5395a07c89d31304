"""Tags and filling around sound: skipped by their own lengths."""

from typing import BinaryIO

import numpy as np

from ulmo.preprocessing.reading.pieces import FIRST_LOOK, READ_BYTES, end_of_data, next_data

NUL_TAIL = 512  # a run of NUL bytes this long (a disk sector) at the end was never written
ID3V1, ID3V1_LONG = 128, 227  # bytes of "TAG" and of "TAG+"
_TEXT = bytes({*range(32, 127), *b"\t\r\n\0"})
_CUT_CHUNK = 1 << 20
# Chunks that stand behind sound.
_CHUNKS = frozenset(
    (
        *(b"LIST", b"guan", b"GUAN", b"bext", b"iXML", b"axml", b"wamd", b"harp", b"cue ", b"fact"),
        *(b"id3 ", b"ID3 ", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"smpl", b"inst", b"plst"),
        *(b"_PMX", b"afsp", b"labl", b"note", b"adtl", b"acid", b"strc", b"LGWV", b"minf", b"elm1"),
        *(b"MARK", b"INST", b"COMT", b"APPL", b"ANNO", b"AUTH", b"NAME", b"(c) ", b"MIDI", b"AESD"),
        *(b"info", b"strg", b"mark", b"midi", b"uuid", b"free", b"ovvw", b"peak", b"edct", b"umid"),
    )
)
FILLING = tuple(b"\0IAT")  # first bytes of what skip_filling skips
MOST_TAGS = 64  # in a row, with runs of NUL bytes between them: few files have more than four
_ZEROS = bytes(READ_BYTES)
APE_HEADER = 1 << 29  # flag in an APE tag's first or last 32 bytes: these are the first


def skip_filling(file: BinaryIO, position: int, size: int) -> int:
    """Offset of the first byte from a position on that is neither in a tag (ID3, APE) nor NUL."""
    for _ in range(MOST_TAGS):
        file.seek(position)
        head = file.read(32)
        length = _tag_bytes(head) or _nuls(file, position, size, head)
        position += length
        if not length or position >= size:
            break
    return min(position, size)


def hidden_bytes(file: BinaryIO, position: int, size: int) -> int:
    """Bytes from a position on, behind tags and NULs, that may be sound; 0 if they are surely not.

    Fewer than a disk sector, one byte repeated to the end, text to the end, and a chunk that is cut
    before its first megabyte are no sound.
    """
    start = skip_filling(file, position, size)
    left = size - start
    file.seek(start)
    head = file.read(4)
    is_chunk = head in _CHUNKS and left < _CUT_CHUNK
    return 0 if left < NUL_TAIL or is_chunk or _is_plain(file, start, size, head[:1]) else left


def _is_plain(file: BinaryIO, start: int, size: int, first: bytes) -> bool:
    """Whether all bytes from an offset on are one byte, `first`, or text, filled up with NULs."""
    file.seek(start)
    is_one = is_text = True
    for position in range(start, size, READ_BYTES):
        block = file.read(min(READ_BYTES, size - position))
        is_one = is_one and not block.strip(first)
        is_text = is_text and not block.translate(None, _TEXT)
        if not (is_one or is_text):
            break
    return is_one or is_text


def _tag_bytes(head: bytes) -> int:
    """Length of the tag that begins with these bytes; 0 if none does."""
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        length = 0
        for byte in head[6:10]:
            length = length << 7 | byte
        return 10 + length + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"APETAGEX") and len(head) == 32:
        flags = int.from_bytes(head[20:24], "little")
        return 32 + (int.from_bytes(head[12:16], "little") if flags & APE_HEADER else 0)
    if head.startswith(b"TAG+"):
        return ID3V1_LONG
    return ID3V1 if head.startswith(b"TAG") else 0


def _nuls(file: BinaryIO, position: int, size: int, head: bytes) -> int:
    """Number of NUL bytes from a position on."""
    if not head.startswith(b"\0"):
        return 0
    begin, length = position, FIRST_LOOK
    while position < size:
        position = min(next_data(file, position), size)
        file.seek(position)
        block = file.read(min(length, size - position))
        rest = b"" if block == _ZEROS[: len(block)] else block.lstrip(b"\0")
        position += len(block) - len(rest)
        if rest or not block:
            break
        length = min(8 * length, READ_BYTES)
    return position - begin


def without_nuls(file: BinaryIO, start: int, size: int) -> int:
    """Bytes up to the last that is not NUL, if NUL_TAIL or more NULs follow it; else all."""
    end = end_of_data(file, start, start + size) - start
    while end > 0:
        begin = max(end - READ_BYTES, 0)
        file.seek(start + begin)
        found = np.flatnonzero(np.frombuffer(file.read(end - begin), np.uint8))
        if len(found):
            end = begin + int(found[-1]) + 1
            break
        end = begin
    return end if size - end >= NUL_TAIL else size
