"""Which kinds of files are sound that we read: told by their first bytes, not by their names.

libsndfile guesses at two dozen kinds, some by little more than a number that looks like a
header. What is not on this list it is not shown.
"""

from typing import BinaryIO

MAGIC = (
    # kind, place, bytes, place, bytes
    ("wav", 0, b"RIFF", 8, b"WAVE"),
    ("wav", 0, b"RIFX", 8, b"WAVE"),
    ("wav", 0, b"RF64", 8, b"WAVE"),
    ("w64", 0, bytes.fromhex("726966662e91cf11a5d628db04c10000"), 24, b"wave"),
    ("flac", 0, b"fLaC", 4, b""),
    ("ogg", 0, b"OggS", 4, b"\0"),
    ("aiff", 0, b"FORM", 8, b"AIFF"),
    ("aiff", 0, b"FORM", 8, b"AIFC"),
    ("caf", 0, b"caff", 4, b"\0\1"),
    ("au", 0, b".snd", 4, b"\0"),
    ("au", 0, b"dns.", 7, b"\0"),
)
HEAD_BYTES = 32
WAV_CODINGS = frozenset({1, 3, 6, 7, 2, 0x11, 0x31})
"""Format tags of WAV that are read: PCM, float, A-law, mu-law, MS ADPCM, IMA ADPCM, GSM 6.10."""
SUBTYPES = frozenset(
    (
        *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"),
        *("MS_ADPCM", "IMA_ADPCM", "GSM610", "VORBIS", "OPUS"),
        *("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    )
)
"""How samples may be coded in any kind, by libsndfile's names."""

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


def kind_of(file: BinaryIO) -> str | None:
    """wav, w64, flac, ogg, aiff, caf, au or mp3; None for anything else.

    MPEG audio has no magic bytes but eleven bits: two frames in a row must be there, behind an
    ID3 tag if there is one; FLAC may have such a tag, too.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    for kind, first, one, second, other in MAGIC:
        if head.startswith(one, first) and head.startswith(other, second):
            return kind
    start = _behind_id3(head)
    file.seek(start)
    first_bytes = file.read(4)
    if first_bytes == b"fLaC":
        return "flac"
    length = mpeg_frame_bytes(first_bytes)
    file.seek(start + length)
    return "mp3" if length and mpeg_frame_bytes(file.read(4)) else None


def _behind_id3(head: bytes) -> int:
    """Where a file's first bytes behind an ID3v2 tag lie; 0 without a tag."""
    if not head.startswith(b"ID3") or any(byte & 0x80 for byte in head[6:10]):
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte
    return 10 + length


def mpeg_frame_bytes(header: bytes) -> int:
    """Length of an MPEG audio frame (ISO 11172-3, 2.4.1.3) by its header; 0 where it is none."""
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
