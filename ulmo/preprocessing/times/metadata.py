"""What the header of a recording says about its time: texts of bounded size, not checked.

WAV: the chunks `harp`, `guan` (GUANO), `wamd` (Wildlife Acoustics), `bext` and `iXML`, and the
comment and the date of LIST/INFO. FLAC, Ogg Vorbis and Opus: the comments DATE, COMMENT and
DESCRIPTION. FLAC: GUANO and the chunks of a WAV file in APPLICATION blocks.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading.pieces import Stretch, piece_file
from ulmo.preprocessing.reading.riff import layout_of, read_chunks, walk_chunks
from ulmo.preprocessing.reading.tags import skip_filling
from ulmo.preprocessing.times.harp import MAX_HARP_BYTES, Sound, harp_timing
from ulmo.preprocessing.times.timing import Timing
from ulmo.preprocessing.times.xml_text import read_xml
from ulmo.storage.plain_file import Signature, open_file, signature_of

MAX_BYTES = 1 << 16  # read of a chunk, and of a file's comments
MAX_BLOCKS = 128  # metadata blocks of a FLAC file, or pages of an Ogg file, that are read
_TAKEN = (b"guan", b"bext", b"fmt ", b"wamd", b"iXML", b"harp", b"LIST")
_WAMD_TIME = 5  # METATAG_FILE_START_TIME in Wildlife Acoustics' wa_meta.h


class Broadcast(NamedTuple):
    """The times of a `bext` chunk (EBU Tech 3285), or of the same fields in iXML."""

    date: str
    time: str
    reference: int  # samples from midnight to the first one; 0 if the writer left it out
    sample_rate: int  # in the fmt chunk; 0 without one


class Metadata(NamedTuple):
    """What a header says; None for what is absent."""

    harp: Timing | None = None
    guano: str | None = None
    wamd: str | None = None
    comments: tuple[str, ...] = ()
    bext: Broadcast | None = None
    ixml: Broadcast | None = None
    date: str | None = None
    sample_rate: int = 0  # of a WAV or FLAC file; 0 for others
    signature: Signature | None = None  # of the file that was read

    def guano_values(self, name: str) -> Iterator[str]:
        """The values of a GUANO field, in their order."""
        for line in (self.guano or "").split("\n"):
            key, _, value = line.partition(":")
            if key.strip() == name:
                yield value.strip()

    @property
    def is_slowed(self) -> bool:
        """Whether the file plays slower than the sound was: GUANO's TE, time expansion, is over 1.

        Recorders of bats write such files, and others write TE 1.
        """
        value = next(self.guano_values("TE"), "")
        return re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value) is not None and float(value) > 1

    @property
    def is_exact(self) -> bool:
        """Whether the file may hold the recorder's own samples: not Ogg, MP3 and the like."""
        return self.sample_rate > 0


def read_metadata(path: Path) -> Metadata:
    """What a header says, as far as it can be read; OSError if the file cannot be opened."""
    with open_file(path) as file:
        signature = signature_of(file)
        return _metadata(file, signature.size)._replace(signature=signature)


def _metadata(file: BinaryIO, size: int) -> Metadata:
    if before := skip_filling(file, 0, size):
        size -= before
        file = piece_file(file, (Stretch(before, size),))
    file.seek(0)
    kind = file.read(4)
    file.seek(0)
    if kind == b"fLaC":
        return _flac_metadata(file)
    if kind == b"OggS":
        return _vorbis_metadata(_ogg_comments(file))
    found: dict[bytes, bytes] = {}
    for name, _, length in read_chunks(file, size):
        if name in _TAKEN:
            _take(found, name, file.read(min(length, _longest(name))))
    layout = layout_of(file, size) if b"harp" in found else None
    return _chunk_metadata(found, layout and Sound.of_wav(layout))


def _longest(name: bytes) -> int:
    """Bytes that are read of a chunk."""
    return MAX_HARP_BYTES if name == b"harp" else MAX_BYTES


def _take(found: dict[bytes, bytes], name: bytes, content: bytes) -> None:
    """Keep a chunk: the first of its name, or all of LIST/INFO as one."""
    if name == b"LIST" and content[:4] == b"INFO":
        found[name] = (found.get(name, b"") + content[4:])[:MAX_BYTES]
    elif name in _TAKEN:
        found.setdefault(name, content)


def _chunk_metadata(found: dict[bytes, bytes], sound: Sound | None) -> Metadata:
    """What the chunks of a WAV file say about its sound."""
    guano, bext = found.get(b"guan"), found.get(b"bext", b"")
    rate = int.from_bytes(found.get(b"fmt ", b"")[4:8], "little")
    ixml = _ixml(found.get(b"iXML", b""), rate)
    # Bytes of `bext`: description 256, originator 32, its reference 32, date 10, time 8, samples 8.
    broadcast = Broadcast(
        date=_text(bext[320:330]),
        time=_text(bext[330:338]),
        reference=int.from_bytes(bext[338:346], "little"),
        sample_rate=rate,
    )
    info = list(_info(found.get(b"LIST", b"")))
    return Metadata(
        harp=harp_timing(found.get(b"harp", b""), sound) if sound else None,
        guano=None if guano is None else _text(guano),
        wamd=_wamd_time(found.get(b"wamd", b"")),
        comments=tuple(text for name, text in info if name == b"ICMT"),
        bext=broadcast if len(bext) >= 346 else None,
        ixml=ixml,
        date=next((text for name, text in info if name == b"ICRD"), None),
        sample_rate=rate,
    )


def _info(content: bytes) -> Iterator[tuple[bytes, str]]:
    """The texts of LIST/INFO, by their names."""
    for name, start, length in walk_chunks(io.BytesIO(content), 0, len(content)):
        yield name, _text(content[start : start + length])


def _wamd_time(content: bytes) -> str | None:
    """The start in a `wamd` chunk: fields of a number, a length and contents."""
    stream = io.BytesIO(content)
    while len(head := stream.read(6)) == 6:
        field = stream.read(int.from_bytes(head[2:], "little"))
        if int.from_bytes(head[:2], "little") == _WAMD_TIME:
            return _text(field)
    return None


def _ixml(content: bytes, rate: int) -> Broadcast | None:
    """Date, time and samples since midnight of an iXML chunk, or None without date and time."""
    texts = {element.path[-1]: element.text for element in reversed(read_xml(content).elements)}
    date, time = texts.get("BWF_ORIGINATION_DATE"), texts.get("BWF_ORIGINATION_TIME")
    if not date or not time:
        return None
    for high, low in (
        ("BWF_TIME_REFERENCE_HIGH", "BWF_TIME_REFERENCE_LOW"),
        ("TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI", "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO"),
    ):
        if reference := (_number(texts.get(high)) << 32) + _number(texts.get(low)):
            return Broadcast(date, time, reference, rate)
    return Broadcast(date, time, 0, rate)


def _number(text: str | None) -> int:
    """A number of 32 bits; 0 for any other text."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 11 else 0


def _flac_metadata(file: BinaryIO) -> Metadata:
    """The blocks of a FLAC file: those of APPLICATION hold GUANO, or a chunk of a WAV file.

    `flac --keep-foreign-metadata` writes each chunk as a block named "riff".
    """
    found: dict[bytes, bytes] = {}
    comments = info = b""
    file.seek(4)
    for _ in range(MAX_BLOCKS):
        header = file.read(4)
        if len(header) < 4:
            break
        kind, length = header[0] & 0x7F, int.from_bytes(header[1:], "big")
        end = file.tell() + length
        content = file.read(min(length, MAX_BYTES)) if kind in (0, 2, 4) else b""
        if content[:8] == b"riffharp":
            content += file.read(min(length - len(content), MAX_HARP_BYTES))
        if kind == 0:
            info = content
        elif kind == 4:
            comments = comments or content
        elif content[:4].lower() == b"guan":
            _take(found, b"guan", content[4:])
        elif content[:4] == b"riff":
            _take(found, content[4:8], content[12:])
        if header[0] & 0x80:
            break
        file.seek(end)
    sound = Sound.of_flac(info)
    vorbis, chunks = _vorbis_metadata(comments), _chunk_metadata(found, sound)
    return chunks._replace(
        comments=vorbis.comments + chunks.comments,
        date=vorbis.date or chunks.date,
        sample_rate=sound.sample_rate,
    )


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
