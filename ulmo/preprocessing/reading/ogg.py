"""The streams of an Ogg file, page by page (RFC 3533).

libsndfile reads the first stream of a file and no more. Here, streams that follow each other
(chained) or lie between each other's pages (multiplexed) become files of their own. A page without
its checksum is lost: libsndfile would pass over it and not say so.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading import flac, vorbis
from ulmo.preprocessing.reading.bounded import TooManyReadsError
from ulmo.preprocessing.reading.containers import find_sound, kind_at
from ulmo.preprocessing.reading.parts import MAX_PARTS, MAX_PIECES, Part
from ulmo.preprocessing.reading.pieces import (
    FIRST_LOOK,
    MOST_METADATA,
    READ_BYTES,
    Blocks,
    Piece,
    Stretch,
    piece_file,
    size_of,
    within,
)
from ulmo.preprocessing.reading.refusal import RefusedError, in_words
from ulmo.preprocessing.reading.tags import skip_filling

CONTINUED, FIRST, LAST = 1, 2, 4  # bits in the type of a page
MARK = b"OggS\0"  # a page begins with it
HEADER = 27  # bytes of a page before its table of segments
CHECKSUM = slice(22, 26)  # in a page, of all its other bytes
LOOK = HEADER + 255 + 16  # bytes of a page in which its header and a mark of its coding lie
MAPPING = 9  # bytes in an Ogg stream of FLAC before those of a FLAC file
MOST_PACKET = 1 << 24  # bytes of a packet of sound; a decoder would hold it in memory, twice
CODINGS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC"}
# Comments with neither text nor name of a writer.
NO_COMMENTS = {"Vorbis": b"\x03vorbis" + bytes(8) + b"\x01", "Opus": b"OpusTags" + bytes(8)}
# Bytes of damaged pages that are checked, in all and for each byte passed: they may overlap.
FREE_CHECKS, CHECKS_A_BYTE = 1 << 24, 16
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
SILENT = (b"fishead", b"fisbone", b"\x80theora", b"BBCD", b"\x80kate", b"CMML")


class Page(NamedTuple):
    """One page, by its header."""

    place: int
    header: int  # bytes of its header
    size: int  # bytes of all of it; of a damaged page, those up to what follows
    type: int
    granule: int  # frames up to its end, in the units of the coding
    serial: int  # of its stream
    number: int  # in its stream
    lacing: bytes  # lengths of its segments; a packet ends with one below 255
    head: bytes  # the first bytes of its contents
    whole: bool  # whether it has its checksum; of other pages, no field is true for sure

    @property
    def contents(self) -> int:
        """Where its contents begin."""
        return self.place + self.header

    @property
    def packets(self) -> int:
        """Packets that end in it."""
        return sum(length < 255 for length in self.lacing)


class Stream(NamedTuple):
    """The pages of one serial number, from one first page to the next."""

    head: bytes  # the first bytes of its first page; empty if that is missing
    pieces: list[Stretch]  # grows page by page
    group: int  # streams of one group sound at the same time
    last: int  # number of its last page
    ended: bool = False
    lost: int = 0  # pages missing between others, by their numbers
    early: int = 0  # those of them before its first sound
    sounds: bool = False  # whether its headers are over
    packets: int = 0  # that have ended, up to 2: a coding's header, and comments
    unended: int = 0  # bytes behind the comments in pages in which no packet ends
    longest: int = 0  # the most of them in a row


def split(file: BinaryIO, size: int) -> tuple[list[Part | RefusedError], int]:
    """The streams of a file that begins with a page, and where the last page of them ends.

    Or where further streams begin, if these are MAX_PARTS, or have MAX_PIECES.
    """
    streams: dict[int, Stream] = {}  # of the present group, by serial number
    done: list[Stream] = []
    end, group, begun, pieces = 0, 0, False, 0
    for page in _pages(file, size):
        if not page.whole:
            end = page.place + page.size
            continue
        known = page.serial in streams and not page.type & FIRST
        if pieces >= MAX_PIECES or (len(done) + len(streams) >= MAX_PARTS and not known):
            break
        end = page.place + page.size
        if page.type & FIRST and begun:
            done += streams.values()
            streams, group, begun = {}, group + 1, False
        begun = begun or not page.type & FIRST
        stream = streams.get(page.serial)
        if stream is None or (page.type & FIRST and page.serial in streams):
            if stream:
                done.append(stream)
            stream = Stream(page.head if page.type & FIRST else b"", [], group, page.number - 1)
        lost = (page.number - stream.last - 1) % (1 << 32)
        lost = lost if lost < 1 << 31 else 0
        pieces += _append(stream.pieces, page)
        goes_on = stream.packets > 1 and min(page.lacing, default=0) == 255
        unended = goes_on * (stream.unended + page.size)
        streams[page.serial] = stream._replace(
            last=page.number,
            ended=bool(page.type & LAST),
            lost=stream.lost + lost,
            early=stream.early + (0 if stream.sounds else lost),
            sounds=stream.sounds or 0 < page.granule < 1 << 63,
            packets=stream.packets + (page.packets if stream.packets < 2 else 0),
            unended=unended,
            longest=max(stream.longest, unended),
        )
    done += streams.values()
    if end and not done:
        detail = "no page of an Ogg stream has its checksum"
        return [RefusedError("bad_header", detail, missing=None)], end
    groups: set[int] = set()
    parts: list[Part | RefusedError] = []
    for stream in done:
        if stream.head.startswith(SILENT):
            continue
        part = _part(file, stream, aside=stream.group in groups)
        parts.append(part)
        if isinstance(part, Part):
            groups.add(stream.group)
    return parts, end


def _append(pieces: list[Stretch], page: Page) -> bool:
    """Add a page to the pieces, and return whether it is a new one: consecutive pages are one."""
    if pieces and pieces[-1].start + pieces[-1].size == page.place:
        pieces[-1] = Stretch(pieces[-1].start, pieces[-1].size + page.size)
        return False
    pieces.append(Stretch(page.place, page.size))
    return True


def _part(file: BinaryIO, stream: Stream, *, aside: bool) -> Part | RefusedError:
    coding = next((name for head, name in CODINGS.items() if stream.head.startswith(head)), None)
    if not stream.head:
        detail = "the first pages of an Ogg stream are missing, without which it cannot be decoded"
        return RefusedError("bad_header", detail, missing=None)
    if coding is None:
        detail = "an Ogg stream is neither Vorbis, Opus nor FLAC"
        return RefusedError("unsupported_coding", detail, missing=None)
    if stream.longest > MOST_PACKET and coding != "FLAC":
        detail = f"a packet of an Ogg stream is longer than {MOST_PACKET} bytes"
        return RefusedError("bad_header", detail, missing=None)
    part = Part("ogg", tuple(stream.pieces), aside=aside)
    if coding == "FLAC":
        part = _native(file, stream, part)
    else:
        part = part._replace(pieces=_shown(file, part.pieces, NO_COMMENTS[coding]))
    if coding == "Vorbis":
        try:
            vorbis.check_setup(_third_packet(file, part.pieces))
        except vorbis.SetupError as error:
            detail = f"the codebooks of a Vorbis stream are damaged, or made to do harm: {error}"
            return RefusedError("bad_header", detail, missing=None)
    faults = []
    if stream.lost:
        faults.append(f"pages of an Ogg stream that are missing or damaged: {stream.lost}")
    if stream.early:
        faults.append(f"before its first sound: {stream.early}, which held an unknown length")
    if not stream.ended:
        faults.append("the stream has no last page: an unknown length is missing")
    return part._replace(cause="truncated", detail=in_words(*faults)) if faults else part


def _shown(file: BinaryIO, pieces: tuple[Piece, ...], no_comments: bytes) -> tuple[Piece, ...]:
    """What the decoder gets of a stream: no comments instead of long ones.

    Pages are numbered in a row, so the page of the coding's header gets another number.
    """
    inside = piece_file(file, pieces)
    size = sum(map(size_of, pieces))
    first: Page | None = None
    length = packets = 0
    for page in _pages(inside, size):
        first = first or page
        packets += page.packets
        length += page.size if page.place else 0
        if packets < 2:
            continue
        if length <= MOST_METADATA:
            break
        last = page.lacing.index(next(value for value in page.lacing if value < 255)) + 1
        begin, end = page.contents + sum(page.lacing[:last]), page.place + page.size
        inside.seek(begin)
        lacing = bytes([len(no_comments)]) + page.lacing[last:]
        comments = _page_bytes(page, page.number, lacing, no_comments + inside.read(end - begin))
        inside.seek(first.contents)
        content = inside.read(first.size - first.header)
        head = _page_bytes(first, page.number - 1, first.lacing, content)
        return (head, comments, *within(pieces, [Stretch(end, size - end)]))
    return pieces


def _third_packet(file: BinaryIO, pieces: tuple[Piece, ...]) -> bytes:
    """The third packet of a stream, or the beginning of a long one; empty if it is damaged."""
    inside = piece_file(file, pieces)
    number, packet, last = 0, b"", None
    for page in _pages(inside, sum(map(size_of, pieces))):
        goes_on = last is not None and max(last.lacing[-1:], default=0) == 255
        if bool(page.type & CONTINUED) is not goes_on or (last and page.number != last.number + 1):
            break
        inside.seek(page.contents)
        for length in page.lacing:
            content = inside.read(length)
            packet += content if number == 2 else b""
            number += length < 255
            if number > 2 or len(packet) > vorbis.MOST_BYTES:
                return packet
        last = page
    return b""


def _page_bytes(page: Page, number: int, lacing: bytes, content: bytes) -> bytes:
    """A page with another number and other contents, which begin with a packet (RFC 3533, 6)."""
    flags = page.type & (FIRST | LAST)
    fields = struct.pack("<BQIIxxxxB", flags, page.granule, page.serial, number, len(lacing))
    made = MARK + fields + lacing + content
    return made[: CHECKSUM.start] + _checksum(made) + made[CHECKSUM.stop :]


def _checksum(page: bytes) -> bytes:
    """The checksum of a page as it stands in the page: that of zlib, of bytes the other way round.

    Both are CRC-32 of one polynomial, and each begins with another bit of a byte. A gigabyte takes
    a second; a table of Python would take minutes.
    """
    content = page[: CHECKSUM.start] + bytes(4) + page[CHECKSUM.stop :]
    crc = zlib.crc32(content.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4).translate(_REVERSED)


def _native(file: BinaryIO, stream: Stream, part: Part) -> Part:
    """FLAC without its Ogg pages, which libsndfile does not read."""
    pieces: list[Piece] = []
    for stretch in stream.pieces:
        for page in _pages(piece_file(file, (stretch,)), stretch.size):
            contents = page.size - page.header
            pieces.append(Stretch(stretch.start + page.place + page.header, contents))
    inside = within(pieces, (Stretch(MAPPING, sum(map(size_of, pieces)) - MAPPING),))
    whole = piece_file(file, inside)
    native = flac.part_of(whole, sum(map(size_of, inside)))
    return native._replace(pieces=within(inside, native.pieces), aside=part.aside)


def _pages(file: BinaryIO, size: int) -> Iterator[Page]:
    """Pages up to another file or the end; bytes that are in no page are passed over.

    TooManyReadsError if damaged pages lie within each other too often.
    """
    blocks = Blocks(file, size)
    position = checked = 0
    while position < size:
        if page := _page(blocks, position):
            yield page
            position += page.size
            checked += 0 if page.whole else page.header + sum(page.lacing)
            if checked > FREE_CHECKS + CHECKS_A_BYTE * position:
                raise TooManyReadsError("its pages lie within each other")
            continue
        start = skip_filling(file, position, size)
        kind = kind_at(file, start, size)
        if start == size or kind:
            if kind != "ogg" or start == position:
                break
            position = start
            continue
        place = _find_page(file, position + 1, size)
        if place is None or not _page(blocks, place):
            break
        position = place


def _find_page(file: BinaryIO, position: int, size: int) -> int | None:
    """Where a page, or a sound file of another kind, begins from a position on; None if nowhere."""
    start, length, found = position, FIRST_LOOK, None
    while start < size and found is None:
        file.seek(start)
        place = file.read(min(length + len(MARK) - 1, size - start)).find(MARK)
        found = start + place if place >= 0 else None
        start, length = start + length, min(8 * length, READ_BYTES)
    sound = find_sound(file, position, size, before=size if found is None else found)
    return found if sound is None else sound


def _page(blocks: Blocks, place: int) -> Page | None:
    """The page at a place, damaged or whole; None if there is none."""
    head = blocks.at(place, LOOK)
    if len(head) < HEADER or not head.startswith(MARK):
        return None
    kind, granule, serial, number, segments = struct.unpack("<BQII4xB", head[len(MARK) : HEADER])
    header = HEADER + segments
    lacing = head[HEADER:header]
    size = header + sum(lacing)
    content = blocks.at(place, size + len(MARK))
    whole = len(content) >= size and content[CHECKSUM] == _checksum(content[:size])
    if not whole and content[size:] != MARK and place + size != blocks.size:
        size = 1  # where it ends is not known
    return Page(
        place, header, size, kind, granule, serial, number, lacing, head[header:], whole=whole
    )
