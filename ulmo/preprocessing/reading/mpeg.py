"""Headers of MPEG audio frames (ISO 11172-3 and 13818-3), and where frames begin."""

from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.preprocessing.reading.pieces import next_data
from ulmo.preprocessing.reading.tags import FILLING, skip_filling

_LAYERS = {3: 1, 2: 2, 1: 3}
_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS[2, 3] = _KBPS[2, 2]
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
MARKS = frozenset({b"Xing", b"Info"})  # of a frame without sound that gives the number of frames
LONGEST = 3000  # bytes of a frame, rounded up
FEW = 4  # places that are looked at one by one: numpy takes longer for them
SEARCHED = 1 << 18  # bytes searched at once
_FORMATS = 0x1E0C  # bits of a header's second and third byte that give its format, but for mono
CHAIN = 3  # frames in a row that are taken for MPEG audio; fewer at the end of a file
HEAD = 4  # bytes of a frame's header
LOOK = 64  # bytes of a frame in which an Info mark and its number of frames lie


class Format(NamedTuple):
    """What all frames of a stream have in common."""

    version: int  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    layer: int
    sample_rate: int  # hertz
    mono: bool

    @property
    def samples(self) -> int:
        """Samples a frame, of each channel."""
        return 384 if self.layer == 1 else 576 if self.layer == 3 and self.version != 3 else 1152

    @property
    def mark(self) -> int:
        """Where an Info mark stands in a frame: after the header and the side information."""
        return HEAD + ((17 if self.mono else 32) if self.version == 3 else (9 if self.mono else 17))


def format_of(header: bytes) -> Format | None:
    """The format that a frame's header gives; None if it is no such header."""
    bits = int.from_bytes(header[:HEAD], "big")
    version, layer, hertz = bits >> 19 & 3, _LAYERS.get(bits >> 17 & 3), bits >> 10 & 3
    if len(header) < HEAD or bits >> 21 != 0x7FF or version == 1 or layer is None or hertz == 3:
        return None
    return Format(version, layer, _HERTZ[version][hertz], bits >> 6 & 3 == 3)


def frame_bytes(header: bytes) -> int:
    """Length of a frame by its header (ISO 11172-3, 2.4.1.3); 0 if invalid or of free format."""
    form, rate = format_of(header), header[2] >> 4 if len(header) >= HEAD else 0
    if form is None or rate in (0, 15):
        return 0
    bits_per_second = 1000 * _KBPS[1 if form.version == 3 else 2, form.layer][rate - 1]
    padding = header[2] >> 1 & 1
    if form.layer == 1:
        return 4 * (12 * bits_per_second // form.sample_rate + padding)
    return form.samples // 8 * bits_per_second // form.sample_rate + padding


def begins_mpeg(file: BinaryIO, position: int, size: int) -> bool:
    """Whether an Info frame or CHAIN frames of one format are here, or two up to the end."""
    first: Format | None = None
    for number in range(CHAIN):
        file.seek(position)
        head = file.read(LOOK)
        form, length = format_of(head), frame_bytes(head)
        if number > 1 and not length:
            return skip_filling(file, position, size) == size
        if not length or position + length > size or first not in (None, form):
            return False
        if form and form.layer == 3 and head[form.mark : form.mark + 4] in MARKS:
            return True
        first = form
        position += length
    return True


def find_mpeg(file: BinaryIO, position: int, size: int, before: int) -> int | None:
    """Where MPEG audio begins, from a position on, and before another; None if nowhere.

    Where `begins_mpeg` says so, which is asked only where headers follow each other: bytes that
    merely look like a header may be many.
    """
    while (position := next_data(file, position)) < before:
        file.seek(position)
        length = min(SEARCHED, before - position)
        block = np.frombuffer(file.read(min(length + CHAIN * LONGEST, size - position)), np.uint8)
        places = np.flatnonzero(block[:length] == 0xFF)
        for place in chain(places[:FEW], _likely(block, places[FEW:])):
            if begins_mpeg(file, position + int(place), size):
                return position + int(place)
        position += length
    return None


def _likely(block: NDArray[np.uint8], places: Indices) -> Iterator[np.int64]:
    """Those of some places in a block at which MPEG audio may begin.

    Whole frames of one format: CHAIN of them, two before filling, or as far as an Info frame.
    """
    if not len(places):
        return
    sizes, formats = _headers(block, places)
    whole = (sizes > 0) & (places + sizes <= len(block))
    places, sizes, formats = places[whole], sizes[whole], formats[whole]
    second = places + sizes
    sizes, others = _headers(block, second)
    third = second + sizes
    pair = (sizes > 0) & (others == formats) & (third <= len(block))
    sizes, others = _headers(block, third)
    three = (sizes > 0) & (others == formats)
    begin = block[np.minimum(third, len(block) - 1)]
    filling = (sizes == 0) & ((third >= len(block)) | _table().filling[begin])
    goes_on = _is_info(block, second, formats) | three | filling
    yield from places[_is_info(block, places, formats) | (pair & goes_on)]


class _Table(NamedTuple):
    """What headers say, for whole arrays of them."""

    sizes: Indices  # bytes of a frame by the second and third byte of its header; 0 if invalid
    marks: Indices  # where the mark of an Info frame stands, by the number of a format
    words: Indices  # these marks as numbers
    filling: Mask  # whether filling may begin with a byte


@cache
def _table() -> _Table:
    sizes, marks = np.zeros(1 << 16, np.int64), np.full(_FORMATS + 2, 1 << 40)
    for number in range(0xE000, 1 << 16):
        header = b"\xff" + number.to_bytes(2, "big") + b"\0"
        sizes[number] = frame_bytes(header)
        for mono in (0, 1):
            form = format_of(header[:3] + bytes([mono * 0xC0]))
            if form and form.layer == 3:
                marks[number & _FORMATS | mono] = form.mark
    words = np.array([int.from_bytes(mark, "big") for mark in MARKS])
    return _Table(sizes, marks, words, np.isin(np.arange(256), FILLING))


def _headers(block: NDArray[np.uint8], places: Indices) -> tuple[Indices, Indices]:
    """Bytes of the frame at each place, 0 if there is no header; and the number of its format."""
    words = _words(block, places)
    kinds = words >> 8 & 0xFFFF
    sizes = np.where(words >> 24 == 0xFF, _table().sizes[kinds], 0)
    return sizes, kinds & _FORMATS | (words >> 6 & 3 == 3)


def _is_info(block: NDArray[np.uint8], places: Indices, formats: Indices) -> Mask:
    """Whether the frame at each place, of a known format, is an Info frame."""
    words = _words(block, places + _table().marks[formats])
    found: Mask = (words == _table().words[:, np.newaxis]).any(axis=0)
    return found


def _words(block: NDArray[np.uint8], places: Indices) -> Indices:
    """Four bytes from each place on as a number; 0 where fewer are left."""
    words = np.zeros(len(places), np.int64)
    at_every = np.ndarray(max(len(block) - HEAD + 1, 0), ">u4", block, strides=(1,))
    inside = places < len(at_every)
    words[inside] = at_every[places[inside]]
    return words


def is_free_format(file: BinaryIO, position: int) -> bool:
    """Whether frames whose headers give no bit rate begin here: three at equal distances."""
    file.seek(position)
    block = file.read(1 << 14)
    form = format_of(block)
    if form is None or block[2] >> 4:
        return False
    second = block.find(block[:2], HEAD)
    while 0 < second < len(block) // 2:
        pair = block[second:], block[2 * second :]
        if all(format_of(head) == form and not head[2] >> 4 for head in pair):
            return True
        second = block.find(block[:2], second + 1)
    return False
