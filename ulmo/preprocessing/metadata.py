"""Texts in the header of a recording: of bounded size, and not checked.

WAV: GUANO (chunk `guan`), the comment of LIST/INFO, and the broadcast extension `bext`.
FLAC, Ogg Vorbis and Opus: the comments DATE, COMMENT and DESCRIPTION.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.riff import read_chunks, walk_chunks
from ulmo.storage.plain_file import open_file, signature_of

MAX_BYTES = 1 << 16  # read of a chunk, and of a file's comments
MAX_BLOCKS = 128  # metadata blocks of a FLAC file, or pages of an Ogg file, that are read


class Broadcast(NamedTuple):
    """The times of a `bext` chunk (EBU Tech 3285)."""

    date: str
    time: str
    reference: int  # samples from midnight to the first one; 0 if the writer left it out
    sample_rate: int  # in the fmt chunk; 0 without one


class Metadata(NamedTuple):
    """Texts of a header; None for one that is absent."""

    guano: str | None = None
    comments: tuple[str, ...] = ()
    bext: Broadcast | None = None
    date: str | None = None


def read_metadata(path: Path) -> Metadata:
    """The texts of a header, as far as it can be read; OSError if the file cannot be opened."""
    with open_file(path) as file:
        size = signature_of(file).size
        kind = file.read(4)
        file.seek(0)
        if kind == b"fLaC":
            return _vorbis_metadata(_flac_comments(file))
        if kind == b"OggS":
            return _vorbis_metadata(_ogg_comments(file))
        return _wav_metadata(file, size)


def _wav_metadata(file: BinaryIO, size: int) -> Metadata:
    found: dict[bytes, bytes] = {}
    comments: list[str] = []
    for name, _, length in read_chunks(file, size):
        if name in (b"guan", b"bext", b"fmt "):
            found.setdefault(name, file.read(min(length, MAX_BYTES)))
        elif name == b"LIST":
            comments += _info_comments(file.read(min(length, MAX_BYTES)))
    guano, chunk = found.get(b"guan"), found.get(b"bext", b"")
    # Bytes of `bext`: description 256, originator 32, its reference 32, date 10, time 8, samples 8.
    bext = Broadcast(
        date=_text(chunk[320:330]),
        time=_text(chunk[330:338]),
        reference=int.from_bytes(chunk[338:346], "little"),
        sample_rate=int.from_bytes(found.get(b"fmt ", b"")[4:8], "little"),
    )
    return Metadata(
        guano=None if guano is None else _text(guano),
        comments=tuple(comments),
        bext=bext if len(chunk) >= 346 else None,
    )


def _info_comments(chunk: bytes) -> Iterator[str]:
    """The comments (ICMT) in a LIST chunk of type INFO."""
    if chunk[:4] == b"INFO":
        for name, start, length in walk_chunks(io.BytesIO(chunk), 4, len(chunk)):
            if name == b"ICMT":
                yield _text(chunk[start : start + length])


def _vorbis_metadata(comments: bytes) -> Metadata:
    pairs = dict(reversed(list(_vorbis_pairs(comments))))  # the first of each name
    texts = tuple(pairs[name] for name in ("COMMENT", "DESCRIPTION") if name in pairs)
    return Metadata(comments=texts, date=pairs.get("DATE"))


def _vorbis_pairs(block: bytes) -> Iterator[tuple[str, str]]:
    """The NAME=text pairs of a block: vendor, count, comments, each text after its length."""
    stream = io.BytesIO(block)
    stream.seek(4 + int.from_bytes(stream.read(4), "little"))
    for _ in range(int.from_bytes(stream.read(4), "little")):
        length = stream.read(4)
        if len(length) < 4:
            return
        name, _, text = _text(stream.read(int.from_bytes(length, "little"))).partition("=")
        yield name.upper(), text


def _flac_comments(file: BinaryIO) -> bytes:
    """Block 4 (VORBIS_COMMENT) of a FLAC file; empty without one."""
    file.seek(4)
    for _ in range(MAX_BLOCKS):
        header = file.read(4)
        length = int.from_bytes(header[1:], "big")
        if len(header) < 4:
            break
        if header[0] & 0x7F == 4:
            return file.read(min(length, MAX_BYTES))
        if header[0] & 0x80:
            break
        file.seek(length, io.SEEK_CUR)
    return b""


def _ogg_comments(file: BinaryIO) -> bytes:
    """An Ogg Vorbis or Opus file from its comment packet on; empty for other files."""
    packets = b""
    for _ in range(MAX_BLOCKS):
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS" or len(packets) >= MAX_BYTES:
            break
        packets += file.read(sum(file.read(header[26])))
    for mark in (b"\x03vorbis", b"OpusTags"):
        if mark in packets:
            return packets.partition(mark)[2][:MAX_BYTES]
    return b""


def _text(content: bytes) -> str:
    """Decode UTF-8, replacing invalid bytes; strip the NUL and white space that pad fields."""
    return content.decode("utf-8", "replace").strip("\0 \t\r\n")
