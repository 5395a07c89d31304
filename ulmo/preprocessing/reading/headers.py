"""AIFF, CAF, AU and W64: where their samples lie, and headers corrected where a size is wrong.

If a file was cut short, libsndfile reads what is there without reporting an error, so the declared
length is read here. It refuses a header without a size (a pipe, a crashed recorder), or reads the
next file as sound: so it is given the file's own bytes with the true size in the header.
"""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading.containers import (
    HEAD_BYTES,
    MOST_FRAMES_A_BYTE,
    begins_file,
    ends,
    find_sound,
    kind_at,
)
from ulmo.preprocessing.reading.parts import Part, wrong_sizes
from ulmo.preprocessing.reading.pieces import Stretch, replaced, without
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.reading.tags import without_nuls

MAX_CHUNKS = 1000
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes a sample, by AU encoding
# Bytes and frames of a packet of one channel, by AIFF-C compression; others have `bits` bits.
AIFF_PACKETS = {b"ima4": (34, 64), b"GSM ": (33, 160), b"ulaw": (1, 1), b"alaw": (1, 1)}
AIFF_PACKETS |= {b"ULAW": (1, 1), b"ALAW": (1, 1)}
CAF_CODINGS = (b"lpcm", b"ulaw", b"alaw")  # of which a packet is a frame, whatever the header says
MAX_OFFSET = 1 << 16  # bytes between a header and its samples
# Longer chunks but that of the samples are kept from libsndfile: it refuses AIFF texts of 8 KiB,
# and the time and memory that it takes for texts in CAF grow with their length.
LONG_CHUNK = 1 << 12
MAX_LENGTH = 1 << 48  # a chunk this long fits on no disk
# Sizes for an unknown size: 0x7F000000 less a header (SoX), 0x7FFFFFFF, 0xFFFFFFFF.
UNKNOWN = (range(0x7EFFF000, 0x7F000001), range(0x7FFFF000, 0x80000001), range(0xFFFFF000, 1 << 32))


class Layout(NamedTuple):
    """Where the samples of a file are, by its header."""

    data: int  # offset of the first of their bytes
    length: int  # of all of them in bytes, by the header; 0 if it does not say
    packet: int  # bytes of a frame, or of a packet of coded frames; 0 if unknown
    frames: int  # in a packet
    declared: int | None  # frames of the file by the header; None if it does not say
    fields: Callable[[int], dict[int, bytes]]  # what the header should have, by the true length
    end: int  # of the file, where its samples are as long as the header says

    def frames_in(self, length: int) -> int:
        """Frames in `length` bytes."""
        return length // self.packet * self.frames if self.packet else 0


class _Chunks(NamedTuple):
    """How chunks are written."""

    header: str  # struct format of the name and the length
    padding: int  # their starts are multiples of it
    own: int = 0  # bytes of the header that the length includes

    def walk(self, file: BinaryIO, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, place of the contents, and their length, of each chunk up to another file."""
        width = struct.calcsize(self.header)
        for _ in range(MAX_CHUNKS):
            file.seek(position)
            head = file.read(max(width, HEAD_BYTES))
            if position + width > size or len(head) < width or begins_file(head):
                return
            name, length = struct.unpack(self.header, head[:width])
            length = max(length - self.own, 0)
            file.seek(position + width)
            yield name, position + width, length
            if length >= MAX_LENGTH:
                return
            position += width + length
            position += -position % self.padding

    def long(self, file: BinaryIO, position: int, end: int) -> Iterator[Stretch]:
        """Chunks from a position on longer than LONG_CHUNK, which end before `end`."""
        width = struct.calcsize(self.header)
        for _, start, length in self.walk(file, position, end):
            if start + length > end:
                return
            if length > LONG_CHUNK:
                yield Stretch(start - width, width + length + -(start + length) % self.padding)

    def end(self, file: BinaryIO, position: int, size: int) -> int:
        """Where the chunks from a position on end: another file, no chunk, or `size`."""
        position = self._padded(file, position, size)
        for name, start, length in self.walk(file, position, size):
            if start + length > size or not all(32 <= letter < 127 for letter in name[:4]):
                break
            position = self._padded(file, start + length, size)
        return position

    def _padded(self, file: BinaryIO, position: int, size: int) -> int:
        """The next multiple of `padding`, unless another file begins before it."""
        end = min(position + -position % self.padding, size)
        places = (place for place in range(position, end) if kind_at(file, place, size))
        return next(places, end)


_AIFF, _CAF, _W64 = _Chunks(">4sI", 2), _Chunks(">4sQ", 1), _Chunks("<4s12xQ", 8, 24)


def _known(length: int) -> int:
    """The length, or 0 if it stands for an unknown one."""
    return 0 if length >= MAX_LENGTH or any(length in values for values in UNKNOWN) else length


def _aiff(file: BinaryIO, size: int) -> Layout | None:
    """numSampleFrames in the COMM chunk, the samples in SSND."""
    file.seek(8)
    compressed = file.read(4) == b"AIFC"
    comm = sound = length = offset = 0
    common = b""
    for name, start, found in _AIFF.walk(file, 12, size):
        if name == b"COMM" and not comm:
            comm, common = start, file.read(22)
        elif name == b"SSND" and not sound:
            sound, length = start, _known(found)
            file.seek(start)
            offset = int.from_bytes(file.read(4), "big")
        if comm and sound:
            break
    if len(common) < 18 or not sound or offset > MAX_OFFSET:
        return None
    data = sound + 8 + offset
    channels, count, bits = struct.unpack(">HIH", common[:8])
    coding = common[18:] if compressed else b"NONE"
    packet, frames = AIFF_PACKETS.get(coding, (-(-bits // 8), 1))
    packets = coding == b"ima4"  # then numSampleFrames counts packets
    declared = _known(count) * (frames if packets else 1) or None

    def fields(true: int) -> dict[int, bytes]:
        number = true // max(packet * channels, 1) * (1 if packets else frames)
        return {
            4: struct.pack(">I", data + true - 8 & 0xFFFFFFFF),
            comm + 2: struct.pack(">I", number & 0xFFFFFFFF),
            sound - 4: struct.pack(">I", true + 8 + offset & 0xFFFFFFFF),
        }

    held = max(length - 8 - offset, 0)
    end = _AIFF.end(file, data + held, size)
    return Layout(data, held, packet * channels, frames, declared, fields, end)


def _caf(file: BinaryIO, size: int) -> Layout | None:
    """The packets of the `data` chunk, which are those of `desc`."""
    packet = frames = 0
    for name, start, length in _CAF.walk(file, 8, size):
        if name == b"desc":
            coding, packet, frames = struct.unpack(">8x4s4xII", file.read(24).ljust(24, b"\0"))
            frames = 1 if coding in CAF_CODINGS else frames
            packet = packet if frames <= MOST_FRAMES_A_BYTE * packet else 0
        elif name == b"data":
            held = max(_known(length) - 4, 0)  # the first four bytes count edits
            end = _CAF.end(file, start + 4 + held, size)
            fields = partial(_caf_fields, start)
            declared = held // packet * frames if packet else 0
            return Layout(start + 4, held, packet, frames, declared or None, fields, end)
    return None


def _caf_fields(start: int, true: int) -> dict[int, bytes]:
    return {start - 8: struct.pack(">q", true + 4)}


def _w64_fields(start: int, true: int) -> dict[int, bytes]:
    sizes = {16: start + true, start - 8: true + 24}
    return {place: struct.pack("<Q", value) for place, value in sizes.items()}


def _au(file: BinaryIO, size: int) -> Layout | None:
    """One header, and the samples to the end."""
    file.seek(0)
    head = file.read(24)
    if len(head) < 24:
        return None
    order = ">" if head[:4] == b".snd" else "<"
    start, length, encoding, _, channels = struct.unpack(f"{order}5I", head[4:])
    packet = AU_BYTES.get(encoding, 0) * channels
    length = _known(length)
    if not len(head) <= start <= MAX_OFFSET:
        return None

    def fields(true: int) -> dict[int, bytes]:
        return {8: struct.pack(f"{order}I", true & 0xFFFFFFFF)}

    declared = length // packet if packet else 0
    return Layout(start, length, packet, 1, declared or None, fields, min(start + length, size))


def _w64(file: BinaryIO, size: int) -> Layout | None:
    """The frames of the `data` chunk: of block_align bytes, or coded in blocks of as many."""
    packet, frames = 0, 1
    for name, start, length in _W64.walk(file, 40, size):
        if name == b"fmt ":
            tag, packet, coded = struct.unpack("<H10xH4xH", file.read(20).ljust(20, b"\0"))
            frames = coded if tag in (2, 0x11, 0x31) else 1
            packet = packet if frames <= MOST_FRAMES_A_BYTE * packet else 0
        elif name == b"data":
            held = _known(length)
            end = _W64.end(file, start + held, size)
            fields = partial(_w64_fields, start)
            declared = held // packet * frames if packet else 0
            return Layout(start, held, packet, frames, declared or None, fields, end)
    return None


LAYOUTS = {"aiff": _aiff, "caf": _caf, "au": _au, "w64": _w64}
_CHUNKS = {"aiff": (_AIFF, 12), "caf": (_CAF, 8), "w64": (_W64, 40)}  # and where the first begins


def split(file: BinaryIO, kind: str, size: int) -> tuple[list[Part | RefusedError], int]:
    """A file of a kind in LAYOUTS, and where it ends."""
    layout = LAYOUTS[kind](file, size)
    if layout is None:
        end = find_sound(file, 1, size) or size
        detail = f"the {kind.upper()} header does not say where the samples are"
        return [RefusedError("bad_header", detail, missing=None)], end
    chunks, first = _CHUNKS.get(kind, (_AIFF, layout.data))
    long = list(chunks.long(file, first, layout.data))
    hidden = size - layout.data
    unfinished = (
        not layout.length
        and hidden >= max(layout.packet, 1)
        and layout.end <= layout.data
        and kind_at(file, layout.data, size) is None
    )
    declared = layout.declared
    if not unfinished and layout.length <= hidden:
        found = None if ends(file, layout.end, size) else find_sound(file, layout.data, size)
        if found is None or found >= layout.end:
            # libsndfile takes all that follows in W64 for sound; AIFF may have chunks it needs.
            last = sound = min(layout.data + layout.length, size)
            if kind == "aiff":
                last = layout.end
                long += chunks.long(file, sound + sound % 2, last)
            part = Part(kind, without([Stretch(0, last)], long), declared)
            part = part._replace(packet_bytes=layout.packet, packet_frames=layout.frames)
            return [part], layout.end
    end = find_sound(file, layout.data, size) or size
    held = max(end - layout.data, 0)
    # libsndfile takes a packet that is cut for a whole one.
    whole = held - held % max(layout.packet, 1)
    true = without_nuls(file, layout.data, held) if unfinished else whole
    pieces = without(replaced(layout.data + true, layout.fields(true)), long)
    part = Part(kind, pieces, declared)
    if unfinished:
        missing = layout.frames_in(held) - layout.frames_in(true)
        part = part._replace(missing=missing, cause="header_sizes", detail=wrong_sizes(missing))
    return [part], end
