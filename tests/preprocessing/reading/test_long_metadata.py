"""Tags, chunks and blocks of 256 MiB around the sound: skipped, and never in memory."""

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.preprocessing.reading.edited import ogg_pages, with_crc
from tests.preprocessing.reading.sounds import read, written
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.times.clock import Clock

LONG = (1 << 28) - 64  # what an ID3 tag can hold
MOST = 50 << 20  # bytes of memory
BLOCK = (1 << 24) - 1  # what a block of FLAC can hold
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
FRAMES = 9000


def memory(name):
    """A figure of this process in bytes: VmRSS, or VmHWM, the most since it was cleared."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text()).group(1))


def id3():
    size = bytes(LONG >> shift & 0x7F for shift in (21, 14, 7, 0))
    return [b"ID3\4\0\0" + size, LONG]


def ape(*, header):
    fields = struct.pack("<4I", 2000, LONG, 1, 1 << 31 | header << 29) + bytes(8)
    return b"APETAGEX" + fields


def around(content, at, head, behind=b""):
    """The parts of a file with a long chunk at a place."""
    return [content[:at], head, LONG - len(behind), behind, content[at:]]


def flac_with(kind):
    content = written("flac", FRAMES)
    blocks = LONG // BLOCK * [bytes([kind]) + BLOCK.to_bytes(3, "big"), BLOCK]
    return content, [content[:42], *blocks, content[42:]]


def page_of_nuls(begin, size):
    """A page of Ogg by its first bytes, and as many NUL bytes."""
    return [with_crc(begin + bytes(size))[: len(begin)], size]


def ogg_with(kind, mark):
    """Comments over thousands of pages."""
    content = written(kind, FRAMES)
    first, second, *others = ogg_pages(content)
    table = second[27 : 27 + second[26]]
    packet = next(place for place, length in enumerate(table) if length < 255) + 1
    begin = 27 + len(table) + sum(table[:packet])
    parts, number = [first], 0
    for number in range(1, LONG // 65025 + 1):
        head = second[:5] + bytes([number > 1]) + b"\xff" * 8 + first[14:18]
        head += struct.pack("<IIB", number, 0, 255) + b"\xff" * 255
        parts += page_of_nuls(head + mark, 65025 - len(mark))
        mark = b""
    end = second[:5] + b"\1" + second[6:18] + struct.pack("<IIB", number + 1, 0, 0)
    end = end[:26] + bytes([1 + len(table) - packet, 1]) + table[packet:] + b"\1" + second[begin:]
    parts.append(with_crc(end))
    for place, page in enumerate(others, number + 2):
        parts.append(with_crc(page[:18] + struct.pack("<I", place) + page[22:]))
    return content, parts


def front_and_end():
    mp3 = written("mp3", FRAMES)
    yield "mp3, two of ID3 in front", mp3, [*id3(), *id3(), mp3]
    yield "mp3, ID3 at the end", mp3, [mp3, *id3()]
    yield "mp3, APE in front", mp3, [ape(header=1), LONG, mp3]
    behind = [ape(header=1), LONG - 32, ape(header=0), b"TAG" + bytes(125)]
    yield "mp3, APE and ID3v1 at the end", mp3, [mp3, *behind]
    lyrics = b"999999LYRICS200TAG" + bytes(125)
    yield "mp3, Lyrics3 at the end", mp3, [mp3, b"LYRICSBEGIN", LONG, lyrics]
    for kind in ("wav", "flac", "ogg, opus", "aiff", "caf", "w64", "au"):
        content = written(kind, FRAMES)
        yield f"{kind}, ID3 in front", content, [*id3(), content]


def chunks():
    wav, aiff = written("wav", FRAMES), written("aiff", FRAMES)
    caf, w64 = written("caf", FRAMES), written("w64", FRAMES)
    for name in (b"LIST", b"id3 ", b"bext", b"iXML", b"guan", b"harp", b"JUNK"):
        head = name + struct.pack("<I", LONG)
        yield f"wav, {name}", wav, around(wav, 36, head)
        yield f"wav, {name} behind", wav, [wav, head, LONG]
    for name in (b"ANNO", b"NAME", b"ID3 ", b"APPL"):
        head = name + struct.pack(">I", LONG)
        yield f"aiff, {name}", aiff, around(aiff, 12, head)
        yield f"aiff, {name} behind", aiff, [aiff, head, LONG]
    for name in (b"info", b"strg", b"free", b"peak"):
        yield f"caf, {name}", caf, around(caf, 52, name + struct.pack(">Q", LONG))
    for name in (b"list", b"fact"):
        yield f"w64, {name}", w64, around(w64, 80, name + GUID + struct.pack("<Q", LONG + 24))


CASES = {
    **{
        name: (content, parts)
        for made in (front_and_end, chunks)
        for name, content, parts in made()
    },
    **{f"flac, block {kind}": flac_with(kind) for kind in (1, 2, 3, 4, 5, 6)},
    "ogg, vorbis comments": ogg_with("ogg, vorbis", b"\x03vorbis"),
    "ogg, opus comments": ogg_with("ogg, opus", b"OpusTags"),
}


def sparse(path, parts):
    """Write a file; numbers are bytes that are not stored."""
    with path.open("wb") as file:
        for part in parts:
            if isinstance(part, bytes):
                file.write(part)
            else:
                file.seek(part, os.SEEK_CUR)
        file.truncate(file.tell())


@pytest.mark.skipif(not CLEAR.exists(), reason="the system does not measure memory")
@pytest.mark.parametrize("case", CASES)
def test_what_is_long_is_not_in_memory(case, tmp_path):
    content, parts = CASES[case]
    path = tmp_path / "long"
    sparse(path, parts)
    assert path.stat().st_size > LONG - BLOCK
    plain = read(tmp_path, content)
    CLEAR.write_text("5")
    before = memory("VmRSS")
    Clock().timing(path)
    with open_recording(path) as recording:
        samples = np.concatenate(list(recording.blocks()))
    assert memory("VmHWM") - before < MOST
    np.testing.assert_array_equal(samples, plain.samples)
    assert (recording.verdict, recording.frames_missing) == (plain.verdict, 0)


@pytest.mark.parametrize("kind", ["ogg, vorbis", "ogg, opus"])
def test_a_long_packet_of_sound_is_refused(kind, tmp_path):
    """A decoder would hold it in memory, twice."""
    pages = ogg_pages(written(kind, FRAMES))
    whole = pages[1][:5] + b"\1" + pages[1][6:26] + b"\xff" + b"\xff" * 255
    long = LONG // 65025 * page_of_nuls(whole, 65025)
    sparse(tmp_path / "long", [*pages[:3], *long, *pages[3:]])
    with pytest.raises(RefusedError, match="a packet of an Ogg stream is longer than") as refused:
        open_recording(tmp_path / "long").__enter__()
    assert (refused.value.reason, refused.value.missing) == ("bad_header", None)
