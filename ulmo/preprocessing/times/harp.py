"""The `harp` chunk of an xwav file: when and where each raw file of a HARP begins.

A HARP (High-frequency Acoustic Recording Package) records in raw files, often on a duty cycle.
Triton joins them into an xwav: a WAV file whose `harp` chunk has a table of them. The layout is
that of Triton's rdxwavhd.m (Wiggins and Hildebrand 2007, doi:10.1109/UT.2007.370760).
"""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple, Self

from ulmo.preprocessing.reading.riff import WavLayout
from ulmo.preprocessing.times.timing import Span, Start, Timing

# As long as 65,535 raw files of a recording of 64 channels need.
MAX_HARP_BYTES = 56 + 4 * 64 + (1 << 16) * (32 + 4 * 64)
_COUNT_AT = 36  # offset of the number of raw files in the chunk
_HEADER = 56  # bytes before the table; version 2 adds one float a channel
_RAW_FILE = struct.Struct("<6BH4I")  # and 8 bytes of gain and padding
_ENTRY = 32  # bytes of a raw file in the table; version 2 adds one float a channel
_JITTER = Fraction(1, 100)  # seconds by which a raw file's stamp may precede the end of another


class _RawFile(NamedTuple):
    frame: int  # counted from the first raw file
    frames: int
    time: datetime


class _TableError(ValueError):
    """A table that cannot be true."""


class Sound(NamedTuple):
    """The sound that the table is about."""

    sample_rate: int  # hertz
    channels: int
    frame_bytes: int  # of a frame in the xwav file
    frames: int  # by the header
    held: int  # frames that are there

    @classmethod
    def of_wav(cls, layout: WavLayout) -> Self:
        """The sound of a WAV file."""
        held = layout.frames_in(layout.physical_bytes)
        open_end = layout.unfinished or layout.unknown or layout.wrapped_bytes
        frames = held if open_end else min(held, layout.frames_in(layout.declared_bytes))
        return cls(layout.sample_rate, layout.channels, layout.frame_bytes, frames, held)

    @classmethod
    def of_flac(cls, stream_info: bytes) -> Self:
        """The sound of a FLAC file by its STREAMINFO."""
        bits = int.from_bytes(stream_info[10:18], "big")  # 20 rate, 3 channels, 5 bits, 36 frames
        channels, width = (bits >> 41 & 7) + 1, (bits >> 36 & 31) + 1
        frames = bits & (1 << 36) - 1
        return cls(bits >> 44, channels, channels * -(-width // 8), frames, frames)


def harp_timing(chunk: bytes, sound: Sound) -> Timing | None:
    """The time by the contents of a `harp` chunk; None if it has no table.

    A table is believed as a whole or not at all: its raw files must follow each other in bytes and
    in time, and cover the sound. If it is not believed, and names several raw files, time may have
    been left out anywhere (`linear` is False).
    """
    count = int.from_bytes(chunk[_COUNT_AT : _COUNT_AT + 2], "little")
    if not count or not sound.sample_rate:
        return None
    try:
        raw_files = list(_raw_files(chunk, count, sound))
        spans = tuple(_spans(raw_files, sound))
    except _TableError as error:
        note = f"the table of its harp chunk is not used: {error}"
        return Timing(None, linear=count == 1, note=note)
    return Timing(Start(raw_files[0].time, "harp"), spans)


def _raw_files(chunk: bytes, count: int, sound: Sound) -> Iterator[_RawFile]:
    """The table, with places in frames from the first raw file, or _TableError."""
    more = 4 * sound.channels if chunk[0] in (2, ord("2")) else 0  # some writers store the digit
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
        if not length or length % sound.frame_bytes:
            raise _TableError(f"raw file {index + 1} has {length} bytes")
        if sample_rate != sound.sample_rate:
            raise _TableError(f"it says {sample_rate} Hz, and the header {sound.sample_rate} Hz")
        expected = byte + length
        frame = (byte - first) // sound.frame_bytes
        yield _RawFile(frame, length // sound.frame_bytes, _time(date, milliseconds, index))


def _time(date: list[int], milliseconds: int, index: int) -> datetime:
    year, month, day, hour, minute, second = date
    micro = milliseconds * 1000
    try:
        if year < 100:
            return datetime(2000 + year, month, day, hour, minute, second, micro, tzinfo=UTC)
    except ValueError:
        pass
    raise _TableError(f"raw file {index + 1} has no time that exists")


def _spans(raw_files: list[_RawFile], sound: Sound) -> Iterator[Span]:
    """Raw files without a gap as one span, as far as the file holds them.

    A stamp is cut to a millisecond: a raw file that begins within that and one sample of where the
    span ends continues it. The offset of a span is that of its first stamp, so no error adds up.
    If the samples were taken faster than the header says, raw files begin a little early: they
    continue the span.
    """
    total = raw_files[-1].frame + raw_files[-1].frames
    if total != sound.frames and not total > sound.frames == sound.held:
        raise _TableError(f"it has {total} frames, and the file {sound.frames}")
    rate, begin = sound.sample_rate, raw_files[0]
    begun, slack = begin.time, Fraction(1, 1000) + Fraction(1, rate)
    for before, raw_file in zip((begin, *raw_files), raw_files, strict=False):
        if _late(before, raw_file, rate) < -_JITTER:
            raise _TableError("a raw file begins before the end of the one before")
        if _late(begin, raw_file, rate) > slack and raw_file.frame < sound.held:
            yield Span(begin.frame, raw_file.frame - begin.frame, _seconds(begin.time - begun))
            begin = raw_file
    yield Span(begin.frame, None, _seconds(begin.time - begun))  # another file may follow


def _late(begin: _RawFile, raw_file: _RawFile, rate: int) -> Fraction:
    """Seconds by which a raw file begins later than without a gap since another."""
    return _seconds(raw_file.time - begin.time) - Fraction(raw_file.frame - begin.frame, rate)


def _seconds(time: timedelta) -> Fraction:
    return Fraction(time // timedelta(microseconds=1), 1_000_000)
