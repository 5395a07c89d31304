"""Reads files with many sounds: SoundFont 2, OpenTTD's catalogues, OpenClonk's groups.

They come from packages with a known hash, so damaged files need no error messages of their own.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recipes.corpora.folder import Samples

_RIGHT = 2  # sampleType of the right half of a stereo sample: its left half is as good


class Sample(NamedTuple):
    """A sample of a SoundFont."""

    name: str
    samples: Samples  # (frames,)
    rate: int  # samples/s


def sound_font(content: bytes) -> Iterator[Sample]:
    """The samples of a SoundFont (SoundFont 2.01, sections 6.1 and 7.10), without right halves."""
    lists = {bytes(kind): body for kind, body in _chunks(memoryview(content)[12:])}
    samples = np.frombuffer(lists[b"sdta"][b"smpl"], "<i2")
    headers = lists[b"pdta"][b"shdr"]
    for start in range(0, len(headers) - 46, 46):  # the last one ends the list
        header = struct.unpack_from("<20s5I", headers, start)
        (kind,) = struct.unpack_from("<H", headers, start + 44)
        name, first, end, _, _, rate = header
        if kind != _RIGHT:
            yield Sample(name.split(b"\0")[0].decode("latin-1"), samples[first:end], rate)


def _chunks(view: memoryview) -> Iterator[tuple[memoryview, dict[bytes, memoryview]]]:
    """The lists in a RIFF file: the type of each, and its chunks by name."""
    for name, body in _split(view):
        if name == b"LIST":
            yield body[:4], dict(_split(body[4:]))


def _split(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    while len(view) >= 8:
        (size,) = struct.unpack_from("<I", view, 4)
        yield bytes(view[:4]), view[8 : 8 + size]
        view = view[8 + size + size % 2 :]


def openttd_catalogue(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Titles and WAV files of a sound catalogue of OpenTTD.

    It begins with the place and the size of each entry. An entry is its title (a length byte, then
    that many bytes of text), then a RIFF file of that size.
    """
    (first,) = struct.unpack_from("<I", content)
    for entry in range((first & 0x7FFFFFFF) // 8):  # the highest bit marks new catalogues
        place, size = struct.unpack_from("<II", content, 8 * entry)
        start = (place & 0x7FFFFFFF) + 1
        body = start + content[start - 1]
        yield content[start:body].rstrip(b"\0").decode("utf-8"), content[body : body + size]


def clonk_group(content: bytes, folder: str = "") -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the files in an OpenClonk group, those of groups in it too.

    A group is gzip with other magic bytes. Its header of 204 bytes is scrambled: each byte is
    XORed with 237, then bytes 0 and 2 of every three change places. Entries have 316 bytes.
    """
    if content[:2] == b"\x1e\x8c":
        content = zlib.decompress(b"\x1f\x8b" + content[2:], wbits=31)
    header = bytearray(byte ^ 237 for byte in content[:204])
    for start in range(0, 202, 3):
        header[start], header[start + 2] = header[start + 2], header[start]
    (count,) = struct.unpack_from("<i", header, 36)
    for start in range(204, 204 + 316 * count, 316):
        name = content[start : start + 257].split(b"\0")[0].decode("latin-1")
        is_group, size, _, offset = struct.unpack_from("<4i", content, start + 264)
        body = content[204 + 316 * count + offset :][:size]
        path = folder + re.sub(r"\.ocg$", "", name)
        if is_group:
            yield from clonk_group(body, f"{path}/")
        else:
            yield path, body
