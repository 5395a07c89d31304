"""Where the samples of a WAV file really are: a small RIFF parser that accepts any bytes.

Own code, because libsndfile (soundfile) believes the sizes in the header. A recorder that lost
power leaves them at zero, and a file that was cut short keeps the size it should have had; in both
cases libsndfile reports no error. This parser believes only the file's physical size.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

from ulmo.preprocessing.reading.containers import (
    HEAD_BYTES,
    MOST_FRAMES_A_BYTE,
    begins_file,
    ends,
    kind_at,
)

MAX_CHUNKS = 1000
SEARCH_BYTES = 1 << 16  # searched for the data after the header of a chunk longer than the file
# Data sizes that writers use for an unknown size: 0x7FFFF000 (SoX), 0x7FFFFFFF, 0xFFFFFFFF
# (FFmpeg), ..., and in RF64 sizes that fit on no disk.
UNKNOWN_SIZES = (
    range(0x7FFFF000, 0x80000001),
    range(0xFFFFF000, 0x100000000),
    range(1 << 48, 1 << 64),
)
HEADER_BYTES = 44  # length of the plain header, which some writers count as data
WRAP = 1 << 32  # added once for each overflow of a 32-bit size
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
ByteOrder = Literal["little", "big"]
ORDERS: dict[bytes, ByteOrder] = {b"RIFF": "little", b"RIFX": "big"}
ORDERS |= {b"RF64": "little", b"BW64": "little"}  # the same but for the name (ITU-R BS.2088)
# soundfile's names for samples of fixed width, by format tag and bytes a sample.
FIXED = {
    (PCM, 1): "PCM_U8",
    (PCM, 2): "PCM_16",
    (PCM, 3): "PCM_24",
    (PCM, 4): "PCM_32",
    (FLOAT, 4): "FLOAT",
    (FLOAT, 8): "DOUBLE",
    (ALAW, 1): "ALAW",
    (MULAW, 1): "ULAW",
}
WIDTHS = frozenset(tag for tag, _ in FIXED)  # format tags of fixed width, supported or not
_Format = tuple[int, int, int, int, int, int]  # the first fields of WavLayout


class WavLayout(NamedTuple):
    """What the header says about the data chunk, and what the file holds."""

    format_tag: int
    channels: int
    sample_rate: int
    block_align: int  # bytes of one sample frame, or of one block of coded samples
    bits: int
    block_samples: int  # samples per channel in a coded block; 0 if the header does not say
    data_offset: int
    declared_bytes: int
    physical_bytes: int  # from data_offset to the end of the file
    chunk_follows: bool  # whether what follows the data confirms their declared end
    more_bytes: int = 0  # in further data chunks
    searched: bool = False  # whether a chunk before the data was longer than the file
    byte_order: ByteOrder = "little"
    wrapped_bytes: int = 0  # true size of the data if its 32-bit size overflowed; else 0
    end: int = 0  # of the file, by its chunks

    @property
    def unfinished(self) -> bool:
        """Whether sound follows, but the writer never filled in the size (crashed recorder).

        Also True for a plain RIFF file over 4 GiB, whose 32-bit size has overflowed.
        """
        hidden = self.physical_bytes - self.declared_bytes - self.declared_bytes % 2
        lost = self.declared_bytes <= HEADER_BYTES or self.physical_bytes >= WRAP
        return lost and not self.chunk_follows and hidden >= max(self.block_align, 1)

    @property
    def bytes_missing(self) -> int:
        """Bytes of sound that the header declares and the file lacks; 0 if the size is unknown."""
        missing = self.declared_bytes - self.physical_bytes
        return 0 if self.unknown or missing == HEADER_BYTES else max(missing, 0)

    @property
    def unknown(self) -> bool:
        """Whether the declared size stands for an unknown one."""
        return any(self.declared_bytes in sizes for sizes in UNKNOWN_SIZES)

    @property
    def oversized(self) -> bool:
        """Whether the declared size is too large, without meaning that sound is missing."""
        return self.declared_bytes > self.physical_bytes and not self.bytes_missing

    @property
    def is_wide(self) -> bool:
        """Whether 24 bits lie in four bytes: the lower three in arecord's S24_LE."""
        pcm = self.format_tag == PCM and self.bits == 24
        return pcm and 0 < self.block_align == 4 * self.channels

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 4 if self.is_wide else -(-self.bits // 8)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel, regardless of block_align; at least 1."""
        return max(self.sample_bytes * self.channels, 1)

    @property
    def subtype(self) -> str | None:
        """soundfile's name for the sample format; None for samples coded in blocks."""
        return FIXED.get((self.format_tag, self.sample_bytes))

    def frames_in(self, size: int) -> int:
        """Frames in `size` bytes of data; 0 if the header does not give a frame's size."""
        if self.format_tag in WIDTHS:
            return size // self.frame_bytes if self.bits else 0
        return size // max(self.block_align, 1) * self.block_samples


class Chunk(NamedTuple):
    """A chunk as its header describes it."""

    name: bytes
    start: int  # where its contents begin, after the header
    length: int  # as declared, true or not; for the data of an RF64 file, declared by `ds64`


def read_chunks(file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Chunks of a RIFF, RIFX or RF64 WAVE file of `size` bytes; none for any other file."""
    head = file.read(12)
    if len(head) == 12 and head[:4] in ORDERS and head[8:] == b"WAVE":
        yield from walk_chunks(file, 12, size, ORDERS[head[:4]])


def walk_chunks(
    file: BinaryIO, position: int, end: int, order: ByteOrder = "little"
) -> Iterator[Chunk]:
    """Chunks from a position on, by their headers alone: their contents are not read.

    When a chunk is yielded, the file is at its contents. Some writers omit the padding byte after
    a chunk of odd length; then the next chunk is taken from directly behind it.
    """
    large_data: int | None = None
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(HEAD_BYTES)
        if begins_file(header):
            return
        name, length = header[:4], int.from_bytes(header[4:8], order)
        start = position + 8
        file.seek(start)
        if name == b"ds64" and length >= 16:
            large_data = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
            file.seek(start)
        elif name == b"data" and large_data and length == 0xFFFFFFFF:
            length = large_data
        yield Chunk(name, start, length)
        position = start + length
        position += _padding(file, position, length, end, order)


def _padding(file: BinaryIO, position: int, length: int, size: int, order: ByteOrder) -> int:
    """Bytes (0 or 1) between the end of a chunk and the next chunk or file."""
    return length % 2 and (
        _follows(file, position + 1, size, order) or not _follows(file, position, size, order)
    )


def layout_of(file: BinaryIO, size: int) -> WavLayout | None:
    """Layout of a RIFF, RIFX or RF64 WAVE file of `size` bytes.

    None for any other file, and without fmt and data.
    """
    file.seek(0)
    order = ORDERS.get(file.read(4), "little")
    file.seek(0)
    fmt: _Format | None = None
    data: Chunk | None = None
    searched = False
    more = 0
    walks = [read_chunks(file, size)]
    while walks:
        for chunk in walks.pop():
            if chunk.name == b"fmt " and chunk.length >= 16 and fmt is None:
                fmt = _format(file.read(min(chunk.length, 40)), order)
            elif chunk.name == b"data" and data is None:
                data = chunk
                if fmt is None:
                    return None
            elif chunk.name == b"data":
                more += min(chunk.length, size - chunk.start)
            if data is None and chunk.start + chunk.length > size and not searched:
                searched = True
                place = _search(file, chunk.start, size, b"data" if fmt else b"fmt ")
                walks = [] if place is None else [walk_chunks(file, place, size, order)]
                break
    if fmt is None or data is None:
        return None
    held = min(data.length, size - data.start)
    end = data.start + held
    end += _padding(file, end, held, size, order)
    follows = _is_chunk(file, end, size, order)
    for _ in range(MAX_CHUNKS):
        if not _is_chunk(file, end, size, order):
            break
        file.seek(end + 4)
        length = int.from_bytes(file.read(4), order)
        end += 8 + length
        end += _padding(file, end, length, size, order)
    if data.length <= HEADER_BYTES:  # a short sound, or a size that a crash left
        # Samples may look like one chunk, but hardly like chunks up to the end of the file.
        follows = (follows or data.length > 0) and ends(file, end, size)
    return WavLayout(
        *fmt,
        data_offset=data.start,
        declared_bytes=data.length,
        physical_bytes=size - data.start,
        chunk_follows=follows,
        more_bytes=more if follows else 0,
        searched=searched,
        byte_order=order,
        wrapped_bytes=_wrapped(file, data, size, order),
        end=min(end, size),
    )


def _wrapped(file: BinaryIO, data: Chunk, size: int, order: ByteOrder) -> int:
    """The true size, if the file ends or another chunk begins where an overflow puts it; else 0."""
    times = (size - data.start - data.length) // WRAP
    if times < 1 or data.length <= HEADER_BYTES:
        return 0
    wrapped = data.length + times * WRAP
    end = data.start + wrapped + wrapped % 2
    return wrapped if end >= size or _is_chunk(file, end, size, order) else 0


def _search(file: BinaryIO, start: int, size: int, name: bytes) -> int | None:
    """Where a named chunk begins after the header of one that is longer than the file."""
    file.seek(start)
    place = file.read(min(SEARCH_BYTES, size - start)).find(name)
    return None if place < 0 else start + place


def _is_chunk(file: BinaryIO, position: int, size: int, order: ByteOrder) -> bool:
    """Whether a printable name and a length that fits the file are at a position."""
    if position + 8 > size:
        return False
    file.seek(position)
    header = file.read(HEAD_BYTES)
    fits = position + 8 + int.from_bytes(header[4:8], order) <= size
    return fits and all(32 <= letter < 127 for letter in header[:4]) and not begins_file(header)


def _follows(file: BinaryIO, position: int, size: int, order: ByteOrder) -> bool:
    """Whether a chunk or another file begins at a position."""
    if position >= size:
        return False
    return _is_chunk(file, position, size, order) or kind_at(file, position, size) is not None


def _format(chunk: bytes, order: ByteOrder) -> _Format | None:
    if len(chunk) < 16:
        return None
    sign = "<" if order == "little" else ">"
    tag, channels, rate, _, align, bits = struct.unpack(f"{sign}HHIIHH", chunk[:16])
    samples = int.from_bytes(chunk[18:20], order) if len(chunk) >= 20 else 0
    if tag == EXTENSIBLE and len(chunk) >= 28:
        tag, samples = int.from_bytes(chunk[24:28], order), 0
    return tag, channels, rate, align, bits, samples if samples <= MOST_FRAMES_A_BYTE * align else 0
