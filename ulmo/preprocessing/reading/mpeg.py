"""Headers of MPEG audio frames (ISO 11172-3 and 13818-3), and where frames begin."""

from typing import BinaryIO, NamedTuple

import numpy as np

from ulmo.preprocessing.reading.pieces import READ_BYTES, next_data
from ulmo.preprocessing.reading.tags import skip_filling

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
    """Where MPEG audio begins, from a position on, and before another; None if nowhere."""
    while (position := next_data(file, position)) < before:
        file.seek(position)
        length = min(READ_BYTES, size - position, before - position + 2)
        block = np.frombuffer(file.read(length), np.uint8)
        if len(block) < HEAD:
            return None
        heads = (block[:-2] == 0xFF) & (block[1:-1] >= 0xE2)
        heads &= (block[2:] >= 0x10) & (block[2:] < 0xF0)
        for place in np.flatnonzero(heads):
            if begins_mpeg(file, position + int(place), size):
                return position + int(place)
        position += len(block) - HEAD + 1
    return None


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
