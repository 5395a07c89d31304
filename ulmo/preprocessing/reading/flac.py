"""The frames of a FLAC file (RFC 9639), counted whatever its header says.

libsndfile reads as many samples as STREAMINFO gives, and that may be wrong or 0 (a pipe, a
recorder that lost power). The number of the last frame says how many there are.
"""

import re
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading.containers import find_sound
from ulmo.preprocessing.reading.parts import Part
from ulmo.preprocessing.reading.pieces import (
    MOST_METADATA,
    READ_BYTES,
    Piece,
    Stretch,
    end_of_data,
    next_data,
    replaced,
    without,
)
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.reading.tags import skip_filling

MARK = b"fLaC"
INFO_END = 42  # where STREAMINFO, the first block of metadata, ends
TOTAL = 21  # where the 36 bits of the number of samples begin in a file, with four other bits
END = 1 << 17  # bytes at the end that are always searched for another file
TAIL = 1 << 14  # bytes looked at for the last frame; more if there is none in them
SEARCHED = 1 << 17  # bytes searched at once: few enough for a processor's cache
LONGEST_HEADER = 16
MAX_BLOCKS = 1000  # of metadata
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_BLOCKS = {1: 192} | {code: 576 << (code - 2) for code in range(2, 6)}
_BLOCKS |= {code: 256 << (code - 8) for code in range(8, 16)}
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_RATES = {1: 88200, 2: 176400, 3: 192000, 4: 8000, 5: 16000, 6: 22050, 7: 24000}
_RATES |= {8: 32000, 9: 44100, 10: 48000, 11: 96000}


class StreamInfo(NamedTuple):
    """What STREAMINFO says of the frames."""

    block: int  # samples of the longest frame
    sample_rate: int
    channels: int
    bits: int
    total: int  # samples of each channel; 0 if unknown


class Frame(NamedTuple):
    """One frame, by its header."""

    place: int
    first: int  # number of its first sample
    samples: int  # of each channel


def split(
    file: BinaryIO, size: int, *, every_byte: bool = False, follows: bool = False
) -> tuple[list[Part | RefusedError], int]:
    """A FLAC file, and where it ends: at its last frame, or before another file.

    If the last frame is where the header says, another file can only be one of as many samples.
    It is searched for in the whole file only if `every_byte`: else the reader finds out, where
    the decoder stops long before the end of the file. If the file follows another one, any kind is
    searched for: else each of many small ones would look at the same end.
    """
    start = _audio_start(file, size)
    if start >= size:
        return [part_of(file, size)], size
    info = _stream_info(file)
    last = None if follows else _last_frame(file, max(start, size - TAIL), size, info)
    whole = info.total and last and last.first + last.samples == info.total
    tail = last.place + 1 if whole and last else start  # what may hide another file
    searched = 0 if every_byte or size - start <= END else END
    if whole and _holds(file, MARK, size - searched if searched else start, size):
        tail = start
    end = find_sound(file, tail, size)
    if whole and end is None:
        part = Part("flac", _shown(file, start, size), declared=info.total, searched=searched)
        return [part], size
    end = end or size
    return [part_of(file, end)], end


def part_of(file: BinaryIO, size: int) -> Part:
    """How to read a file that is FLAC to its end."""
    start = _audio_start(file, size)
    if start >= size:
        return Part("flac", (Stretch(0, size),))
    info = _stream_info(file)
    last = _last_frame(file, start, size, info)
    part = Part("flac", _shown(file, start, size), declared=info.total or None)
    first = _first_frame(file, start, size, info)
    if last is None or first is None or last.first < first.first:
        return part
    frames = last.first + last.samples - first.first
    if info.total > frames and not _is_last(file, last, size, info):
        return part  # cut short: the decoder will find out where
    if info.total == frames:
        return part
    file.seek(TOTAL)
    bits = file.read(1)[0] & 0xF0 | frames >> 32 & 0x0F
    changed = bytes([bits]) + (frames & 0xFFFFFFFF).to_bytes(4, "big")
    detail = f"the header gives {info.total} frames: the {frames} in the file were counted"
    if not info.total:
        detail = "the header gives no length: the sound was read to its end"
    pieces = _shown(file, start, size, {TOTAL: changed})
    return part._replace(pieces=pieces, frames=frames, cause="header_sizes", detail=detail)


def _shown(
    file: BinaryIO, start: int, size: int, changes: dict[int, bytes] | None = None
) -> tuple[Piece, ...]:
    """What the decoder gets of a file: of long metadata, STREAMINFO alone."""
    file.seek(len(MARK))
    first = file.read(1)
    if start <= MOST_METADATA or first[0] & 0x7F:
        return replaced(size, changes or {})
    last = {len(MARK): bytes([first[0] | 0x80])}
    return without(replaced(size, last | (changes or {})), [Stretch(INFO_END, start - INFO_END)])


def _audio_start(file: BinaryIO, size: int) -> int:
    """Where the metadata blocks end."""
    position = 4
    if size < INFO_END:
        return size
    for _ in range(MAX_BLOCKS):
        file.seek(position)
        header = file.read(4)
        if len(header) < 4:
            return size
        position += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            break
    return position


def _stream_info(file: BinaryIO) -> StreamInfo:
    file.seek(0)
    head = file.read(INFO_END)
    fields = int.from_bytes(head[18:26], "big")  # 20 bits rate, 3 channels, 5 bits, 36 total
    return StreamInfo(
        block=int.from_bytes(head[10:12], "big"),
        sample_rate=fields >> 44,
        channels=(fields >> 41 & 7) + 1,
        bits=(fields >> 36 & 31) + 1,
        total=fields & (1 << 36) - 1,
    )


def _holds(file: BinaryIO, mark: bytes, position: int, size: int) -> bool:
    """Whether a mark stands somewhere from a position on."""
    while (position := next_data(file, position)) < size:
        file.seek(position)
        length = min(SEARCHED, size - position)
        if file.read(length).find(mark) >= 0:
            return True
        position += max(length - len(mark) + 1, 1)
    return False


def _first_frame(file: BinaryIO, start: int, size: int, info: StreamInfo) -> Frame | None:
    file.seek(start)
    return _frame(file.read(min(LONGEST_HEADER, size - start)), 0, start, info)


def _last_frame(file: BinaryIO, start: int, size: int, info: StreamInfo) -> Frame | None:
    """The last frame that begins before the end of the file."""
    length, end = TAIL, end_of_data(file, start, size)
    while end > start:
        begin = max(end - length, start)
        file.seek(begin)
        block = file.read(min(end - begin + LONGEST_HEADER, size - begin))
        for found in reversed([match.start() for match in _SYNC.finditer(block)]):
            if frame := _frame(block, found, begin + found, info):
                return frame
        end, length = begin, READ_BYTES
    return None


def _frame(block: bytes, at: int, place: int, info: StreamInfo) -> Frame | None:
    """The frame that begins at `at`, if its header is one of this stream (RFC 9639, 9.1)."""
    head = block[at : at + LONGEST_HEADER]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    blocking, rate, channels, bits = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if blocking == 0 or rate == 15 or channels > 10 or bits == 3:
        return None
    same = (channels + 1 if channels < 8 else 2) == info.channels
    same &= _BITS.get(bits, info.bits) == info.bits
    same &= _RATES.get(rate, info.sample_rate) == info.sample_rate
    number, at = _coded_number(head)
    extra = {6: 1, 7: 2}.get(blocking, 0)
    more = {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not same or at == 0 or len(head) <= at + extra + more:
        return None
    samples = _BLOCKS.get(blocking, 0) or int.from_bytes(head[at : at + extra], "big") + 1
    at += extra + more
    if samples > max(info.block, 1) or _crc8(head[:at]) != head[at]:
        return None
    return Frame(place, number if head[1] & 1 else number * info.block, samples)


def _coded_number(head: bytes) -> tuple[int, int]:
    """The number of a frame or sample, coded as in UTF-8, and where it ends; 0 if invalid."""
    first = head[4]
    length = 8 - (first ^ 0xFF).bit_length()  # ones before the first zero
    if length in (1, 8) or len(head) < 5 + max(length - 1, 0):
        return 0, 0
    number = first & (0x7F >> length)
    for byte in head[5 : 5 + max(length - 1, 0)]:
        if byte & 0xC0 != 0x80:
            return 0, 0
        number = number << 6 | byte & 0x3F
    return number, 5 + max(length - 1, 0)


def _is_last(file: BinaryIO, last: Frame, size: int, info: StreamInfo) -> bool:
    """Whether a frame is whole, and shorter than others, as only the last may be."""
    if last.samples >= info.block:
        return False
    file.seek(last.place)
    content = file.read(min(size - last.place, READ_BYTES))
    crc, filled = 0, LONGEST_HEADER // 2  # filling before this byte was looked at
    for at, byte in enumerate(content, 1):
        crc = (crc << 8 & 0xFF00) ^ _CRC16[crc >> 8 ^ byte]
        if crc == 0 and at > filled:  # a frame ends with its own checksum
            end = skip_filling(file, last.place + at, size)
            if end == size:
                return True
            filled = end - last.place
    return False


def crc_table(polynomial: int, width: int) -> list[int]:
    """Checksums of single bytes, of a width in bits."""
    top, mask = 1 << (width - 1), (1 << width) - 1
    found = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        found.append(value)
    return found


_CRC8, _CRC16 = crc_table(0x07, 8), crc_table(0x8005, 16)


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = _CRC8[crc ^ byte]
    return crc
