"""The `harp` chunk of an xwav file: when and where each raw file of a HARP begins.

A HARP (High-frequency Acoustic Recording Package) records in raw files, often on a duty cycle.
Triton joins them into an xwav: a WAV file whose `harp` chunk has a table of them. The layout is
that of Triton's rdxwavhd.m (Wiggins and Hildebrand 2007, doi:10.1109/UT.2007.370760).
"""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.riff import WavLayout, layout_of, read_chunks
from ulmo.preprocessing.timing import Span, Start, Timing

_COUNT_AT = 36  # offset of the number of raw files in the chunk
_HEADER = 56  # bytes before the table; version 2 adds one float a channel
_RAW_FILE = struct.Struct("<6BH4I")  # and 8 bytes of gain and padding
_ENTRY = 32  # bytes of a raw file in the table; version 2 adds one float a channel
_JITTER = timedelta(milliseconds=10)  # by which a raw file's stamp may precede the end of another


class _RawFile(NamedTuple):
    frame: int  # counted from the first raw file
    frames: int
    time: datetime


class _TableError(ValueError):
    """A table that cannot be true."""


def harp_timing(file: BinaryIO, size: int) -> Timing | None:
    """The time of an xwav file of `size` bytes; None for any other file.

    A table is believed as a whole or not at all: its raw files must follow each other in bytes and
    in time, and cover the sound. If it is not believed, and names several raw files, time may have
    been left out anywhere (`linear` is False).
    """
    chunk = _read_chunk(file, size)
    layout = layout_of(file, size) if chunk is not None else None
    if chunk is None or layout is None or len(chunk) < _HEADER:
        return None
    count = int.from_bytes(chunk[_COUNT_AT : _COUNT_AT + 2], "little")
    if not count:
        return None
    try:
        raw_files = list(_raw_files(chunk, count, layout))
        spans = tuple(_spans(raw_files, layout))
    except _TableError as error:
        note = f"the table of its harp chunk is not used: {error}"
        return Timing(None, linear=count == 1, note=note)
    return Timing(Start(raw_files[0].time, "harp"), spans)


def _read_chunk(file: BinaryIO, size: int) -> bytes | None:
    """The chunk, as long as 65,535 raw files of a recording of 64 channels need at most."""
    longest = _HEADER + 4 * 64 + (1 << 16) * (_ENTRY + 4 * 64)
    file.seek(0)
    for name, _, length in read_chunks(file, size):
        if name == b"harp":
            return file.read(min(length, longest))
    return None


def _raw_files(chunk: bytes, count: int, layout: WavLayout) -> Iterator[_RawFile]:
    """The table, with places in frames from the first raw file, or _TableError."""
    more = 4 * layout.channels if chunk[0] in (2, ord("2")) else 0  # some writers store the digit
    at, entry = _HEADER + more, _ENTRY + more
    if at + count * entry > len(chunk):
        raise _TableError(f"it is shorter than its {count} raw files")
    first = expected = 0
    for index in range(count):
        fields = _RAW_FILE.unpack_from(chunk, at + index * entry)
        (*date, milliseconds, byte, length, _, sample_rate) = fields
        if index == 0:
            first = expected = byte
        if byte != expected:
            raise _TableError(f"raw file {index + 1} does not follow the one before")
        if not length or length % layout.frame_bytes:
            raise _TableError(f"raw file {index + 1} has {length} bytes")
        if sample_rate != layout.sample_rate:
            raise _TableError(f"it says {sample_rate} Hz, and the header {layout.sample_rate} Hz")
        expected = byte + length
        frame = (byte - first) // layout.frame_bytes
        yield _RawFile(frame, length // layout.frame_bytes, _time(date, milliseconds, index))


def _time(date: list[int], milliseconds: int, index: int) -> datetime:
    year, month, day, hour, minute, second = date
    micro = milliseconds * 1000
    try:
        if year < 100:
            return datetime(2000 + year, month, day, hour, minute, second, micro, tzinfo=UTC)
    except ValueError:
        pass
    raise _TableError(f"raw file {index + 1} has no time that exists")


def _spans(raw_files: list[_RawFile], layout: WavLayout) -> Iterator[Span]:
    """Raw files without a gap as one span, as far as the file holds them.

    A stamp is cut to a millisecond: a raw file that begins within that and one sample of where the
    span ends continues it. The offset of a span is that of its first stamp, so no error adds up.
    """
    held = layout.frames_in(layout.physical_bytes)
    there = held
    if not (layout.unfinished or layout.unknown or layout.wrapped_bytes):
        there = min(held, layout.frames_in(layout.declared_bytes))
    total = raw_files[-1].frame + raw_files[-1].frames
    if total != there and not total > there == held:
        raise _TableError(f"it has {total} frames, and the file {there}")
    rate, begin = layout.sample_rate, raw_files[0]
    begun, slack = begin.time, Fraction(1, 1000) + Fraction(1, rate)
    for raw_file in raw_files:
        if raw_file.frame >= held:
            break
        late = _seconds(raw_file.time - begin.time) - Fraction(raw_file.frame - begin.frame, rate)
        if late < -_seconds(_JITTER):
            raise _TableError("a raw file begins before the end of the one before")
        if late > slack:
            yield Span(begin.frame, raw_file.frame - begin.frame, _seconds(begin.time - begun))
            begin = raw_file
    yield Span(begin.frame, min(total, held) - begin.frame, _seconds(begin.time - begun))


def _seconds(time: timedelta) -> Fraction:
    return Fraction(time // timedelta(microseconds=1), 1_000_000)
