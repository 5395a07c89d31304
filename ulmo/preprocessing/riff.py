"""Where the samples of a WAV file truly lie: a small, total parser of RIFF chunks.

libsndfile believes the sizes in the header. A recorder that lost power leaves them at zero,
and a file that was cut short keeps the size it should have had: in both cases libsndfile
says nothing. This parser believes only the file's physical size.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAX_CHUNKS = 1000
UNKNOWN_SIZES = (
    range(0x7FFFF000, 0x80000001),
    range(0xFFFFF000, 0x100000000),
    range(1 << 48, 1 << 64),
)
"""Data sizes that writers put where they do not know the size: 0x7FFFF000 (SoX), 0x7FFFFFFF,
0xFFFFFFFF (FFmpeg), ..., and of RF64 what no disk holds."""
HEADER_BYTES = 44
"""Length of the plain header, which some writers count among the data."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


class WavLayout(NamedTuple):
    """What the header says of the data chunk, and what the file holds."""

    format_tag: int
    channels: int
    sample_rate: int
    block_align: int
    """Bytes of one sample frame."""
    bits: int
    data_offset: int
    declared_bytes: int
    physical_bytes: int
    """Bytes from data_offset to the end of the file."""
    chunk_follows: bool
    """True where the declared end of the data is the beginning of another chunk."""

    @property
    def unfinished(self) -> bool:
        """True where the writer never filled in the size, and sound follows (crashed recorder).

        Also true of a plain RIFF over 4 GiB, whose 32-bit size has wrapped.
        """
        hidden = self.physical_bytes - self.declared_bytes
        lost = self.declared_bytes <= HEADER_BYTES or self.physical_bytes >= 1 << 32
        return lost and not self.chunk_follows and hidden >= max(self.block_align, 1)

    @property
    def bytes_missing(self) -> int:
        """Bytes of sound that the header promises and the file lacks; 0 for a size unknown."""
        missing = self.declared_bytes - self.physical_bytes
        unknown = any(self.declared_bytes in sizes for sizes in UNKNOWN_SIZES)
        return 0 if unknown or missing == HEADER_BYTES else max(missing, 0)

    @property
    def oversized(self) -> bool:
        """True where the declared size is too large, but says nothing of what was recorded."""
        return self.declared_bytes > self.physical_bytes and not self.bytes_missing

    @property
    def subtype(self) -> str | None:
        """The name that soundfile has for the samples; None where they are coded."""
        if self.format_tag == FLOAT:
            return {32: "FLOAT", 64: "DOUBLE"}.get(self.bits)
        if self.format_tag == PCM:
            return {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}.get(self.bits)
        return None


class Chunk(NamedTuple):
    """A chunk as its header has it."""

    name: bytes
    start: int
    """Where its contents begin, after the header."""
    length: int
    """As declared, true or not; of the data of an RF64 file as `ds64` declares it."""


def read_chunks(file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Chunks of a RIFF or RF64 WAVE file of so many bytes; none of any other file."""
    head = file.read(12)
    if len(head) == 12 and head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        yield from walk_chunks(file, 12, size)


def walk_chunks(file: BinaryIO, position: int, end: int) -> Iterator[Chunk]:
    """Chunks from a position on, by their headers alone: what a chunk holds is not read.

    The file stands at a chunk's contents when it is given. Of a chunk of odd length, some
    writers forget the byte of padding: the next one is then looked for without it.
    """
    large_data: int | None = None
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(8)
        name, length = header[:4], int.from_bytes(header[4:], "little")
        start = position + 8
        if name == b"ds64" and length >= 16:
            large_data = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
            file.seek(start)
        elif name == b"data" and large_data and length == 0xFFFFFFFF:
            length = large_data
        yield Chunk(name, start, length)
        position = start + length
        if length % 2 and (
            _is_chunk(file, position + 1, end) or not _is_chunk(file, position, end)
        ):
            position += 1


def read_layout(path: Path) -> WavLayout | None:
    """Layout of a RIFF or RF64 WAVE file; None for any other file, or without fmt and data."""
    size = path.stat().st_size
    fmt: tuple[int, int, int, int, int] | None = None
    with path.open("rb") as file:
        for name, start, length in read_chunks(file, size):
            if name == b"fmt " and length >= 16:
                fmt = _format(file.read(min(length, 40)))
            elif name == b"data":
                if fmt is None:
                    return None
                follows = _is_chunk(file, start + length + length % 2, size)
                return WavLayout(*fmt, start, length, size - start, follows)
    return None


def _is_chunk(file: BinaryIO, position: int, size: int) -> bool:
    """True where a printable name and a length that fits lie at a position."""
    if position + 8 > size:
        return False
    file.seek(position)
    header = file.read(8)
    fits = position + 8 + int.from_bytes(header[4:], "little") <= size
    return fits and all(32 <= letter < 127 for letter in header[:4])


def _format(chunk: bytes) -> tuple[int, int, int, int, int] | None:
    if len(chunk) < 16:
        return None
    tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")
    return tag, channels, rate, align, bits
