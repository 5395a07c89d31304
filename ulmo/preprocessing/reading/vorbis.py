"""The codebooks of a Vorbis stream (Vorbis I specification, 3.2.1), before a decoder reads them.

libvorbis takes 8 bytes of the stack for each entry of a codebook, and memory for each value of all
entries, of which a few bytes may declare millions. Such a stream ends the process, or takes
gigabytes.
"""

from functools import lru_cache
from typing import NamedTuple

MARK = b"\x05vorbis"  # the third packet of a stream begins with it
# The encoder of Xiph.Org writes up to 6,561 entries in a book, and 11,813 in 42 books, with 61,254
# values and in 4,225 bytes, whatever the rate, the channels and the quality.
MOST_BYTES = 1 << 16  # of the packet
MOST_ENTRIES = 1 << 14  # of a book
MOST_VALUES = 1 << 20  # of all books
_BOOK = 0x564342
_LONGEST_CODE = 32  # bits


class SetupError(ValueError):
    """A setup packet that no decoder should read."""


class _Bits:
    """The bits of a packet, from the lowest of the first byte on."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def skip(self, count: int) -> None:
        """Pass over bits; SetupError if there are fewer."""
        self._place += count
        if self._place > 8 * len(self._content):
            raise SetupError("they are cut")

    def read(self, count: int) -> int:
        """The number in the next bits; SetupError if there are fewer."""
        first, shift = divmod(self._place, 8)
        self.skip(count)
        content = self._content[first : first + (shift + count + 7) // 8]
        return int.from_bytes(content, "little") >> shift & (1 << count) - 1

    def skip_flagged(self, times: int, count: int) -> None:
        """Pass over so many flags, each with further bits behind it if it is set."""
        content, place = self._content + bytes(1), self._place
        end = 8 * len(self._content)
        for _ in range(times):
            if place > end:
                break
            place += 1 + count * (content[place >> 3] >> (place & 7) & 1)
        self.skip(place - self._place)


class _Book(NamedTuple):
    dimensions: int
    entries: int


@lru_cache(64)  # the recordings of a corpus mostly have the same, and to check it takes 0.7 ms
def check_setup(packet: bytes) -> None:
    """SetupError if the third packet of a Vorbis stream has other codebooks than encoders write."""
    if not packet.startswith(MARK):
        raise SetupError("they are missing")
    if len(packet) > MOST_BYTES:
        raise SetupError(f"they are longer than {MOST_BYTES} bytes")
    bits, left = _Bits(packet[len(MARK) :]), MOST_VALUES
    for _ in range(bits.read(8) + 1):
        if bits.read(24) != _BOOK:
            raise SetupError("a codebook has another mark")
        book = _Book(bits.read(16), bits.read(24))
        if not book.dimensions:
            raise SetupError("a codebook has no dimensions")
        if book.entries > MOST_ENTRIES:
            raise SetupError(f"a codebook has {book.entries} entries, of {MOST_ENTRIES} at most")
        left -= book.entries * book.dimensions
        if left < 0:
            raise SetupError(f"the codebooks have more than {MOST_VALUES} values")
        _pass_lengths(bits, book.entries)
        _pass_values(bits, book)


def _pass_lengths(bits: _Bits, entries: int) -> None:
    """Pass over the lengths of the codes of a book."""
    if bits.read(1):  # in order: how many have each length
        bits.skip(5)
        found = 0
        for _ in range(_LONGEST_CODE):
            if found < entries:
                found += bits.read((entries - found).bit_length())
        if found != entries:
            raise SetupError("a codebook has other entries than it says")
    elif bits.read(1):
        bits.skip_flagged(entries, 5)
    else:
        bits.skip(5 * entries)


def _pass_values(bits: _Bits, book: _Book) -> None:
    """Pass over the values of a book, each in as many bits."""
    kind = bits.read(4)
    if kind > 2:
        raise SetupError("a codebook has values of an unknown kind")
    if kind:
        bits.skip(64)
        width = bits.read(4) + 1
        bits.skip(1)
        bits.skip(width * (_sides(book) if kind == 1 else book.entries * book.dimensions))


def _sides(book: _Book) -> int:
    """The largest whole number whose power, by the dimensions, is within the entries."""
    if book.dimensions >= book.entries.bit_length():
        return min(book.entries, 1)
    side: int = round(book.entries ** (1 / book.dimensions))
    return side if side**book.dimensions <= book.entries else side - 1
