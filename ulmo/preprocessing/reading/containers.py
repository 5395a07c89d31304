"""The sound files that we read: their kinds by their first bytes, wherever in a file they begin.

libsndfile accepts two dozen kinds, some on little more than a number that looks like a header. It
is given only the kinds and codings listed here.
"""

import re
from typing import BinaryIO

from ulmo.preprocessing.reading.mpeg import begins_mpeg, find_mpeg
from ulmo.preprocessing.reading.pieces import FIRST_LOOK, READ_BYTES, next_data
from ulmo.preprocessing.reading.tags import skip_filling

MAGIC = {
    "wav": rb"(RIFF|RIFX|RF64|BW64)....WAVE",
    "w64": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0.{8}wave",
    "flac": rb"fLaC",
    "ogg": rb"OggS\0",
    "aiff": rb"FORM....AIF[FC]",
    "caf": rb"caff\x00\x01",
    "au": rb"\.snd\0|dns\....\0",
}
# The same where a file may begin anywhere: patterns too long to occur by chance.
SURE = MAGIC | {
    "flac": rb"fLaC[\0\x80]\0\0\x22",
    "ogg": rb"OggS\0[\x02\x03\x06]\0{8}",  # the first page of a stream
    "au": rb"\.snd\0[\0\x01].{6}\0\0\0[\x01-\x1b]|dns\..[\0\x01]\0.{5}[\x01-\x1b]\0\0\0",
}
_MAGIC = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in MAGIC.items()}
_SURE = re.compile(b"|".join(SURE.values()), re.DOTALL)
# What stands in each of them, and where: few marks, because every byte is compared with each.
_MARKS = {b"WAVE": 8, b"riff": 0, b"fLaC": 0, b"OggS": 0, b"FORM": 0, b"caff": 0, b".snd": 0}
_MARKS |= {b"dns.": 0}
HEAD_BYTES = 40  # that MAGIC and SURE look at
# Sound of other kinds, for people who wonder why it is refused.
UNREAD = {
    "an MP4 or M4A file": rb".{4}ftyp",
    "a WMA (ASF) file": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "a Matroska or WebM file": rb"\x1aE\xdf\xa3",
    "a WavPack file": rb"wvpk",
    "a Monkey's Audio file": rb"MAC ",
    "an AMR file": rb"#!AMR",
    "an AAC (ADTS) file": rb"\xff[\xf0\xf1\xf8\xf9][\x40-\xff]",
    "an AVI file": rb"RIFF....AVI ",
    "a Wildlife Acoustics WAC file": rb"HpW ",
    "a SoundTrap SUD file": rb"SUD",
}
# WAV format tags: PCM, float, A-law, mu-law, MS ADPCM, IMA ADPCM, GSM 6.10.
WAV_CODINGS = frozenset({1, 3, 6, 7, 2, 0x11, 0x31})
# Frames that a byte of a coded block may stand for: GSM 6.10 has five. A header with more is wrong,
# and the sums of such frames would pass 64 bits.
MOST_FRAMES_A_BYTE = 8
# Codings in a file of any kind, by libsndfile's names.
SUBTYPES = frozenset(
    (
        *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"),
        *("MS_ADPCM", "IMA_ADPCM", "GSM610", "VORBIS", "OPUS"),
        *("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    )
)


def kind_at(file: BinaryIO, position: int, size: int) -> str | None:
    """wav, w64, flac, ogg, aiff, caf, au or mp3, if such a file begins here; else None.

    MPEG audio is marked by eleven bits only, so several frames in a row must be found.
    """
    file.seek(position)
    head = file.read(HEAD_BYTES)
    for kind, magic in _MAGIC.items():
        if magic.match(head):
            return kind
    return "mp3" if head[:1] == b"\xff" and begins_mpeg(file, position, size) else None


def kind_of(file: BinaryIO, size: int) -> str | None:
    """The kind of a file, after the tags and NUL bytes before its sound; None for anything else."""
    return kind_at(file, skip_filling(file, 0, size), size)


def ends(file: BinaryIO, position: int, size: int) -> bool:
    """Whether nothing but tags and NUL bytes follow, or another file after them."""
    start = skip_filling(file, position, size)
    return start == size or kind_at(file, start, size) is not None


def unread_kind(file: BinaryIO, position: int) -> str | None:
    """The name of a kind of sound that is not read; None for anything else."""
    file.seek(position)
    head = file.read(HEAD_BYTES)
    names = (name for name, magic in UNREAD.items() if re.match(magic, head, re.DOTALL))
    return next(names, None)


def begins_file(head: bytes) -> bool:
    """Whether HEAD_BYTES bytes are surely the beginning of a sound file other than MPEG audio."""
    return _SURE.match(head) is not None


def find_sound(file: BinaryIO, position: int, size: int, before: int | None = None) -> int | None:
    """Where a sound file of any kind begins, from a position on, and before another; or None.

    For what follows a file whose end is unknown: every byte is looked at, up to the file found.
    """
    before = size if before is None else before
    length = FIRST_LOOK
    while (position := next_data(file, position)) < before:
        stop = min(position + length, before)
        file.seek(position)
        block = file.read(min(stop + HEAD_BYTES, size) - position)
        marked = position + min(_first_place(block, mark) for mark in _MARKS)
        found = find_mpeg(file, position, size, min(marked, stop))
        if found is None and marked < stop:
            found = marked
        if found is not None:
            return found
        position, length = stop, min(8 * length, READ_BYTES)
    return None


def _first_place(block: bytes, mark: bytes) -> int:
    """Where the first file in a block begins that contains a mark; its length if none does."""
    place = block.find(mark)
    while place >= 0:
        begin = place - _MARKS[mark]
        if begin >= 0 and begins_file(block[begin : begin + HEAD_BYTES]):
            return begin
        place = block.find(mark, place + 1)
    return len(block)
