"""Sound files edited byte by byte: other sizes in headers, frames and pages left out."""

import struct
import zlib
from itertools import pairwise

from ulmo.preprocessing.reading.mpeg import format_of, frame_bytes

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def with_total(flac, total):
    """A FLAC file whose STREAMINFO gives so many samples."""
    (fields,) = struct.unpack(">Q", flac[18:26])
    return flac[:18] + struct.pack(">Q", fields >> 36 << 36 | total) + flac[26:]


def mpeg_frames(content):
    """The frames of an MPEG file, its Info frame first."""
    frames, place = [], 0
    while length := frame_bytes(content[place : place + 4]):
        frames.append(content[place : place + length])
        place += length
    return frames


def without_info(content):
    """An MPEG file without its Info frame; its samples."""
    frames = mpeg_frames(content)[1:]
    return b"".join(frames), len(frames) * format_of(frames[0]).samples


def with_field(content, place, layout, *values):
    """Bytes with other numbers at a place."""
    size = struct.calcsize(layout)
    return content[:place] + struct.pack(layout, *values) + content[place + size :]


def ogg_pages(content):
    """The pages of an Ogg file."""
    pages, place = [], 0
    while content[place : place + 4] == b"OggS":
        segments = content[place + 26]
        table = content[place + 27 : place + 27 + segments]
        end = place + 27 + segments + sum(table)
        pages.append(content[place:end])
        place = end
    return pages


def ogg_page(body, serial, number, granule, kind):
    """A page of one packet."""
    table = bytes([255] * (len(body) // 255) + [len(body) % 255])
    head = struct.pack("<4sBBQIIIB", b"OggS", 0, kind, granule, serial, number, 0, len(table))
    return with_crc(head + table + body)


def with_crc(page):
    """A page with the checksum of its bytes: zlib's is the same, of bytes the other way round."""
    page = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return page[:22] + struct.pack(">I", crc).translate(_REVERSED) + page[26:]


def with_granules(content, offset):
    """An Ogg file cut out of a stream: its granules begin at an offset."""
    pages = []
    for page in ogg_pages(content):
        (granule,) = struct.unpack("<Q", page[6:14])
        pages.append(with_crc(with_field(page, 6, "<Q", granule + offset if granule else 0)))
    return b"".join(pages)


def with_serial(content, serial):
    """An Ogg file with another serial number."""
    return b"".join(with_crc(with_field(page, 14, "<I", serial)) for page in ogg_pages(content))


def ogg_flac(flac):
    """A FLAC file of up to 128 frames in Ogg, a page a frame."""
    place, blocks = 4, []
    while True:
        length = 4 + int.from_bytes(flac[place + 1 : place + 4], "big")
        blocks.append(flac[place : place + length])
        place += length
        if blocks[-1][0] & 0x80:
            break
    starts = [place]
    while (found := flac.find(b"\xff\xf8", starts[-1] + 9)) >= 0:
        while found >= 0 and flac[found + 4] != len(starts):
            found = flac.find(b"\xff\xf8", found + 1)
        if found < 0:
            break
        starts.append(found)
    frames = [flac[begin:end] for begin, end in pairwise([*starts, len(flac)])]
    first = b"\x7fFLAC\x01\0" + struct.pack(">H", len(blocks) - 1) + b"fLaC" + blocks[0]
    packets = [first, *blocks[1:], *frames]
    last = len(packets) - 1
    return b"".join(
        ogg_page(packet, 7, number, number, 2 if number == 0 else 4 if number == last else 0)
        for number, packet in enumerate(packets)
    )
