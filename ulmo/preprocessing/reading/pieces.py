"""A part of a file as a file of its own: stretches of the file, with corrected headers between.

A decoder that cannot be trusted with a whole file (a second recording follows, or a size in the
header is wrong) is given such a file instead.
"""

import errno
import io
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple, cast

READ_BYTES = 1 << 20  # of a file, looked at in one read
FIRST_LOOK = 1 << 11  # looked at first, in a search: most is near. Further reads are 8 times longer
# Bytes of metadata that a decoder is given: it would hold more in memory, in part twice.
MOST_METADATA = 1 << 20


class Stretch(NamedTuple):
    """Consecutive bytes of a file."""

    start: int
    size: int


class Hole(NamedTuple):
    """Bytes that a decoder counts but cannot read: to it, the file ends here."""

    size: int


Piece = bytes | Stretch | Hole


def size_of(piece: Piece) -> int:
    """Bytes of a piece."""
    return len(piece) if isinstance(piece, bytes) else piece.size


def within(outer: Iterable[Piece], inner: Iterable[Piece]) -> tuple[Piece, ...]:
    """Pieces `inner` of the file that consists of the pieces `outer`, as pieces of the original."""
    around = list(outer)
    starts = [0, *accumulate(map(size_of, around))]
    found: list[Piece] = []
    for piece in inner:
        if not isinstance(piece, Stretch):
            found.append(piece)
            continue
        place, end = piece.start, piece.start + piece.size
        while place < min(end, starts[-1]):
            number = bisect_right(starts, place) - 1
            found.append(_cut(around[number], place - starts[number], end - place))
            place += size_of(found[-1])
    return tuple(found)


def without(pieces: Iterable[Piece], hidden: Iterable[Stretch]) -> tuple[Piece, ...]:
    """Pieces of a file but for the hidden bytes of it, which are in order."""
    left = list(pieces)
    for start, size in hidden:
        kept: list[Piece] = []
        for piece in left:
            if isinstance(piece, Stretch):
                begin = min(max(start - piece.start, 0), piece.size)
                end = min(max(start + size - piece.start, 0), piece.size)
                kept += [_cut(piece, 0, begin), _cut(piece, end, piece.size)]
            else:
                kept.append(piece)
        left = [piece for piece in kept if size_of(piece)]
    return tuple(left)


def _cut(piece: Piece, begin: int, size: int) -> Piece:
    """Up to `size` bytes of a piece, from one of its bytes on."""
    size = min(size, size_of(piece) - begin)
    if isinstance(piece, bytes):
        return piece[begin : begin + size]
    return Hole(size) if isinstance(piece, Hole) else Stretch(piece.start + begin, size)


def replaced(size: int, changes: dict[int, bytes], *, start: int = 0) -> tuple[Piece, ...]:
    """The first `size` bytes of a file from `start` on, with other bytes at some places."""
    pieces: list[Piece] = []
    for place, content in sorted(changes.items()):
        pieces += [Stretch(start, place - start), content]
        start = place + len(content)
    return (*pieces, Stretch(start, size - start))


class PieceFile(io.RawIOBase):
    """A readable, seekable file made of pieces of another, which must not be read meanwhile."""

    def __init__(self, file: BinaryIO, pieces: Iterable[Piece]) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if size_of(piece)]
        self._starts = [0, *accumulate(map(size_of, self._pieces))]
        self._place = 0

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return self._starts[-1]

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, not before the beginning, and return it."""
        base = {os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}.get(whence, 0)
        self._place = max(base + offset, 0)
        return self._place

    def tell(self) -> int:
        """The present place."""
        return self._place

    def seek_stored(self, position: int, what: str) -> int:
        """Where the next data (SEEK_DATA) or the next hole begins; `sys.maxsize` without one."""
        data = what == "SEEK_DATA"
        while position < self._starts[-1]:
            number = bisect_right(self._starts, position) - 1
            piece, begin = self._pieces[number], position - self._starts[number]
            if not isinstance(piece, Stretch):
                if data is isinstance(piece, bytes):
                    return position
            else:
                place = piece.start + begin
                found = _seek(self._file, place, what, place if data else sys.maxsize) - place
                if found < piece.size - begin:
                    return position + found
            position = self._starts[number + 1]
        return sys.maxsize

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but for the end of the file."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._place < self._starts[-1]:
            content = self._next(len(view) - done)
            if not content:
                break
            view[done : done + len(content)] = content
            done += len(content)
            self._place += len(content)
        return done

    def _next(self, size: int) -> bytes:
        """Up to `size` bytes of the piece at the present place."""
        number = bisect_right(self._starts, self._place) - 1
        piece, begin = self._pieces[number], self._place - self._starts[number]
        if isinstance(piece, Hole):
            return b""
        if isinstance(piece, bytes):
            return piece[begin : begin + size]
        self._file.seek(piece.start + begin)
        return self._file.read(min(size, piece.size - begin))


def piece_file(file: BinaryIO, pieces: Iterable[Piece]) -> BinaryIO:
    """A file made of pieces of another."""
    return cast(BinaryIO, PieceFile(file, pieces))


class Blocks:
    """The bytes of a file, read in large blocks."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.block = b""  # the latest
        self.base = 0  # where it begins

    def at(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from a position on, fewer at the end."""
        begin = position - self.base
        last = self.base + len(self.block) >= self.size
        if begin < 0 or begin > len(self.block) - (0 if last else size):
            self._file.seek(position)
            self.base, begin = position, 0
            self.block = self._file.read(max(min(READ_BYTES, self.size - position), 0))
        return self.block[begin : begin + size]


def next_data(file: BinaryIO, position: int) -> int:
    """The first byte from a position on that is stored: sparse files have holes, which are NULs."""
    return _seek(file, position, "SEEK_DATA", position)


def end_of_data(file: BinaryIO, position: int, size: int) -> int:
    """Where the last of the stored bytes from a position on ends; behind it are only holes."""
    end = position
    while (position := next_data(file, position)) < size:
        position = end = min(_seek(file, position, "SEEK_HOLE", size), size)
    return end


def _seek(file: BinaryIO, position: int, what: str, unknown: int) -> int:
    """Where the next data or the next hole begins, if the system can say."""
    if isinstance(file, PieceFile):
        return file.seek_stored(position, what)
    if not hasattr(os, what):
        return unknown
    try:
        number = file.fileno()
        before = os.lseek(number, 0, os.SEEK_CUR)
    except OSError:  # no file of the system
        return unknown
    try:
        return os.lseek(number, position, getattr(os, what))
    except OSError as error:
        return sys.maxsize if error.errno == errno.ENXIO else unknown  # nothing but a hole
    finally:
        os.lseek(number, before, os.SEEK_SET)
