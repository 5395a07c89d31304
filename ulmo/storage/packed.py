"""Very many things in little memory: in their order, and by their names.

A folder may hold a million recordings. As Python objects, what a job knows of each takes kilobytes.
"""

import copyreg
import pickle
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar, overload

from ulmo.storage.remote_path import RemotePath

T = TypeVar("T")

_PLAIN = 1 << 12  # things that are held as they are, at most: packing takes as long as a few stats
_BLOCK = 1 << 8  # things that are packed together, of which _PLAIN is a multiple
_IN_MEMORY = 1 << 20  # packed bytes that are held in memory, at most
_DIGEST = 16  # bytes of the hash of a name: two of 2^40 names share one with odds of 2^-49


class Packed(Sequence[T]):
    """A sequence that grows at its end, of things that can be pickled.

    Many are packed: pickled and compressed, in a temporary file without a name, or in memory if
    there can be none. They are copies then, and two readings of one are equal and not the same.
    """

    def __init__(self, things: Iterable[T] = ()) -> None:
        self._ends = array("Q", [0])  # of each block among the packed bytes
        self._packed = bytearray()
        self._file: IO[bytes] | None = None  # what `_packed` held
        self._tail: list[T] = []
        self._read: tuple[int, list[T]] = (-1, [])  # the block that was read last
        self.extend(things)

    def append(self, thing: T) -> None:
        """Add a thing at the end."""
        self._tail.append(thing)
        if len(self._tail) >= (_BLOCK if self._blocks else _PLAIN):
            self._pack()

    def extend(self, things: Iterable[T]) -> None:
        """Add things at the end."""
        for thing in things:
            self.append(thing)

    def __len__(self) -> int:
        return self._blocks * _BLOCK + len(self._tail)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        block, inside = divmod(range(len(self))[place], _BLOCK)
        if block >= self._blocks:
            return self._tail[inside + (block - self._blocks) * _BLOCK]
        if block != self._read[0]:
            self._read = (block, self._unpacked(block))
        return self._read[1][inside]

    def __iter__(self) -> Iterator[T]:
        """Things that are added meanwhile come, too."""
        block = 0
        while block < self._blocks:
            yield from self._unpacked(block)
            block += 1
        place = block * _BLOCK
        while place < len(self):
            yield self[place]
            place += 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    def __repr__(self) -> str:
        return f"Packed({list(self)!r})"

    def __reduce__(self) -> tuple[type["Packed[T]"], tuple[list[T]]]:
        return Packed, (list(self),)

    @property
    def _blocks(self) -> int:
        return len(self._ends) - 1

    def _pack(self) -> None:
        for start in range(0, len(self._tail), _BLOCK):
            block = _pickled(self._tail[start : start + _BLOCK])
            self._packed += zlib.compress(block, 1)
            self._ends.append(self._spilled + len(self._packed))
        self._tail.clear()
        if len(self._packed) >= _IN_MEMORY:
            with suppress(OSError):  # no folder for it, or no room: memory holds it
                self._spill()

    @property
    def _spilled(self) -> int:
        """Bytes in the file."""
        return 0 if self._file is None else self._file_size

    def _spill(self) -> None:
        if self._file is None:
            self._file, self._file_size = TemporaryFile(buffering=0), 0  # noqa: SIM115
        self._file.seek(self._file_size)
        if self._file.write(self._packed) == len(self._packed):  # or there was no room for all
            self._file_size += len(self._packed)
            self._packed.clear()

    def _unpacked(self, block: int) -> list[T]:
        start, end = self._ends[block], self._ends[block + 1]
        spilled = self._spilled
        if self._file is not None and start < spilled:
            self._file.seek(start)
            content = self._file.read(end - start)
        else:
            content = bytes(self._packed[start - spilled : end - spilled])
        found: list[T] = pickle.loads(zlib.decompress(content))
        return found


class Index:
    """Numbers by name, in the order in which the names came: a dict of about 35 bytes a name.

    Names themselves are not held, but 128 bits of a hash.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` get the numbers 0, 1, 2 and so on; one that comes again has the last of them."""
        self._digests = bytearray()  # in their order
        self._numbers = array("q")
        self._slots = array("i", [-1]) * 8  # places in these two; -1: none. Never two thirds full
        for number, name in enumerate(names):
            self[name] = number

    def __setitem__(self, name: str, number: int) -> None:
        digest = _digest(name)
        slot = self._slot(digest)
        if (place := self._slots[slot]) >= 0:
            self._numbers[place] = number
            return
        self._slots[slot] = len(self._numbers)
        self._digests += digest
        self._numbers.append(number)
        if 3 * len(self._numbers) >= 2 * len(self._slots):
            self._grow()

    def get(self, name: str) -> int | None:
        """The number of a name; None if there is none."""
        place = self._slots[self._slot(_digest(name))]
        return None if place < 0 else self._numbers[place]

    def __getitem__(self, name: str) -> int:
        if (number := self.get(name)) is None:
            raise KeyError(name)
        return number

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers, in the order of the names."""
        return self._numbers

    def has_exactly(self, names: Iterable[str]) -> bool:
        """Whether it has these names, in this order."""
        count = 0
        for name in names:
            place = count * _DIGEST
            if self._digests[place : place + _DIGEST] != _digest(name):
                return False
            count += 1
        return count == len(self)

    def _slot(self, digest: bytes | bytearray) -> int:
        """Where the place of a digest is, or would be."""
        last = len(self._slots) - 1
        slot = int.from_bytes(digest[:8], "little") & last
        while (place := self._slots[slot] * _DIGEST) >= 0:
            if self._digests[place : place + _DIGEST] == digest:
                break
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        self._slots = array("i", [-1]) * (2 * len(self._slots))
        for place in range(len(self._numbers)):
            start = place * _DIGEST
            self._slots[self._slot(self._digests[start : start + _DIGEST])] = place


class Anew(Iterable[T]):
    """What a function yields, from the beginning at each reading, and never held."""

    def __init__(self, function: Callable[[], Iterator[T]]) -> None:
        self._function = function

    def __iter__(self) -> Iterator[T]:
        return self._function()


def repeated(names: Iterable[str]) -> Index:
    """The names that come more than once."""
    seen, found = Index(), Index()
    for name in names:
        if name in seen:
            found[name] = 0
        else:
            seen[name] = 0
    return found


# In this process, an address needs nothing but its parts: no secret goes to a file.
_HERE = copyreg.dispatch_table | {RemotePath: lambda path: (RemotePath, path.parts)}


def _pickled(things: list[Any]) -> bytes:
    content = BytesIO()
    pickler = pickle.Pickler(content, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _HERE
    pickler.dump(things)
    return content.getvalue()


def _digest(name: str) -> bytes:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()
