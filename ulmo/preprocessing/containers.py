"""The sound files that we read: their kind by their first bytes, and the frames they declare.

libsndfile accepts two dozen kinds, some on little more than a number that looks like a header. It
is given only the kinds and codings listed here. If a file was cut short, it reads what is there
without reporting an error, so the declared length is read here.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

MAGIC = {
    "wav": rb"(RIFF|RIFX|RF64)....WAVE",
    "w64": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0.{8}wave",
    "flac": rb"fLaC",
    "ogg": rb"OggS\0",
    "aiff": rb"FORM....AIF[FC]",
    "caf": rb"caff\x00\x01",
    "au": rb"\.snd\0|dns\....\0",
}
# WAV format tags: PCM, float, A-law, mu-law, MS ADPCM, IMA ADPCM, GSM 6.10.
WAV_CODINGS = frozenset({1, 3, 6, 7, 2, 0x11, 0x31})
# Codings in a file of any kind, by libsndfile's names.
SUBTYPES = frozenset(
    (
        *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"),
        *("MS_ADPCM", "IMA_ADPCM", "GSM610", "VORBIS", "OPUS"),
        *("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    )
)

_LAYERS = {3: "I", 2: "II", 1: "III"}
_KBPS = {
    ("1", "I"): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    ("1", "II"): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    ("1", "III"): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    ("2", "I"): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    ("2", "II"): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS["2", "III"] = _KBPS["2", "II"]
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
MAX_CHUNKS = 1000
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes a sample, by AU encoding
OGG_PAGE = 65_307  # bytes of the longest Ogg page
LAST_PAGE = 4  # bit in the header type of an Ogg page: the last of its stream
IMA4_FRAMES = 64  # frames a packet of Apple's IMA ADPCM; its AIFF-C files count packets
UNKNOWN = 0xFFFFFFFF
MAX_LENGTH = 1 << 48  # a chunk this long fits on no disk


def kind_of(file: BinaryIO) -> str | None:
    """wav, w64, flac, ogg, aiff, caf, au or mp3; None for anything else.

    MPEG audio is marked by eleven bits only, so two frames in a row must be found. An ID3 tag
    may come before MPEG audio and before FLAC.
    """
    file.seek(0)
    head = file.read(32)
    for kind, magic in MAGIC.items():
        if re.match(magic, head, re.DOTALL):
            return kind
    start = _skip_id3(head)
    file.seek(start)
    first_bytes = file.read(4)
    if first_bytes == b"fLaC":
        return "flac"
    length = mpeg_frame_bytes(first_bytes)
    file.seek(start + length)
    return "mp3" if length and mpeg_frame_bytes(file.read(4)) else None


def _skip_id3(head: bytes) -> int:
    """Offset of the first byte after an ID3v2 tag; 0 without a tag."""
    if not head.startswith(b"ID3") or any(byte & 0x80 for byte in head[6:10]):
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte
    return 10 + length


def mpeg_frame_bytes(header: bytes) -> int:
    """Length of an MPEG audio frame by its header (ISO 11172-3, 2.4.1.3); 0 if it is invalid."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, _LAYERS.get(bits >> 17 & 3)
    rate, hertz = bits >> 12 & 15, bits >> 10 & 3
    if len(header) < 4 or bits >> 21 != 0x7FF or version == 1 or layer is None:
        return 0
    if rate in (0, 15) or hertz == 3:
        return 0
    bits_per_second = 1000 * _KBPS["1" if version == 3 else "2", layer][rate - 1]
    padding = bits >> 9 & 1
    if layer == "I":
        return 4 * (12 * bits_per_second // _HERTZ[version][hertz] + padding)
    samples = 576 if layer == "III" and version != 3 else 1152
    return samples // 8 * bits_per_second // _HERTZ[version][hertz] + padding


def declared_frames(file: BinaryIO, kind: str) -> int | None:
    """Frames by the header of a kind in HEADERS, 1 or more; None if it does not say."""
    return HEADERS[kind](file) if kind in HEADERS else None


def _chunks(
    file: BinaryIO, position: int, header: str, *, padding: int = 1, own: int = 0
) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk; the file is at the chunk's contents.

    `header` is the struct format of both, `own` the bytes of the header that the length includes.
    """
    size = struct.calcsize(header)
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(size)
        if len(head) < size:
            return
        name, length = struct.unpack(header, head)
        length = max(length - own, 0) if own else length
        yield name, length
        if not 0 <= length < MAX_LENGTH:
            return
        position += size + length + -length % padding


def _aiff(file: BinaryIO) -> int | None:
    """numSampleFrames in the COMM chunk."""
    for name, _ in _chunks(file, 12, ">4sI", padding=2):
        if name == b"COMM":
            content = file.read(22)
            packet = IMA4_FRAMES if content[18:] == b"ima4" else 1
            return int.from_bytes(content[2:6], "big") * packet or None if content[5:] else None
    return None


def _caf(file: BinaryIO) -> int | None:
    """Packets that fit in the `data` chunk, times the frames per packet in `desc`."""
    frame = (0, 0)
    for name, length in _chunks(file, 8, ">4sq"):
        if name == b"desc":
            frame = struct.unpack(">II", file.read(32)[16:24].ljust(8, b"\0"))
        elif name == b"data":
            frames = (length - 4) // frame[0] * frame[1] if length > 4 and frame[0] else 0
            return frames if 0 < frames < MAX_LENGTH else None
    return None


def _au(file: BinaryIO) -> int | None:
    """Length of the data, divided by the bytes of a frame."""
    file.seek(0)
    head = file.read(24)
    if len(head) < 24:
        return None
    order = ">" if head[:4] == b".snd" else "<"
    length, encoding, _, channels = struct.unpack(f"{order}4I", head[8:])
    frame = AU_BYTES.get(encoding, 0) * channels
    return length // frame or None if frame and length < UNKNOWN else None


def _w64(file: BinaryIO) -> int | None:
    """Length of the `data` chunk, divided by block_align in `fmt`; None for coded samples."""
    frame = 0
    for name, length in _chunks(file, 40, "<4s12xQ", padding=8, own=24):
        if name == b"fmt ":
            tag, frame = struct.unpack("<H10xH2x", file.read(16).ljust(16, b"\0"))
            frame = frame if tag not in (2, 0x11, 0x31) else 0
        elif name == b"data":
            return length // frame or None if frame and length < MAX_LENGTH - 24 else None
    return None


HEADERS = {"aiff": _aiff, "caf": _caf, "au": _au, "w64": _w64}


def ogg_has_end(file: BinaryIO, size: int) -> bool:
    """Whether the last page of an Ogg file is whole and ends its stream (RFC 3533)."""
    start = max(size - OGG_PAGE, 0)
    file.seek(start)
    tail = file.read(OGG_PAGE)
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27:
        return False
    segments = tail[place + 27 : place + 27 + tail[place + 26]]
    whole = len(segments) == tail[place + 26]
    ends = place + 27 + len(segments) + sum(segments) <= len(tail)
    return whole and ends and bool(tail[place + 5] & LAST_PAGE)
