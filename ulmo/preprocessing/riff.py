"""Where the samples of a WAV file truly lie: a small, total parser of RIFF chunks.

libsndfile believes the sizes in the header. A recorder that lost power leaves them at zero,
and a file that was cut short keeps the size it should have had: in both cases libsndfile
says nothing. This parser believes only the file's physical size.
"""

import struct
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


def read_layout(path: Path) -> WavLayout | None:
    """Layout of a RIFF or RF64 WAVE file; None for any other file, or without fmt and data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return None
        return _walk(file, size)


def _walk(file: BinaryIO, size: int) -> WavLayout | None:
    fmt: tuple[int, int, int, int, int] | None = None
    large_data: int | None = None
    for _ in range(MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, length = header[:4], int.from_bytes(header[4:], "little")
        start = file.tell()
        if name == b"ds64" and length >= 16:
            large_data = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        elif name == b"fmt " and length >= 16:
            fmt = _format(file.read(min(length, 40)))
        elif name == b"data":
            if fmt is None:
                return None
            declared = large_data if large_data and length == 0xFFFFFFFF else length
            follows = _is_chunk(file, start + declared + declared % 2, size)
            return WavLayout(*fmt, start, declared, size - start, follows)
        file.seek(start + length + length % 2)
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
