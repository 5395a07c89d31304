"""Reads numbers and structs of Thrift's compact protocol, which Parquet's headers are written in.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator, Mapping, Sequence

MAX_DEPTH = 8
LONGEST_LIST = 16  # of those that are skipped: another reader may hold 32 bytes for an item of one
VARINTS, LIST, STRUCT = (4, 5, 6), 9, 12  # types: i16, i32 and i64; list; struct


class ThriftReader:
    """Reads numbers and structs of Thrift's compact protocol, and skips the rest."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def fields(
        self,
        wanted: Mapping[int | None, Sequence[int]],
        depth: int = 0,
        *,
        known: frozenset[int] | None = None,
    ) -> Iterator[int]:
        """Each field of a struct that has a wanted number and type; the caller reads its value.

        The other fields are skipped, or refused if they are not `known`; `depth` is the level of
        nesting.
        """
        field = 0
        while kind := self._byte():
            field = field + (kind >> 4) if kind >> 4 else self.zigzag()
            if known is not None and field not in known:
                raise ValueError("it has statistics or an index, which ulmo does not write")
            if kind & 15 in wanted.get(field, ()):
                yield field
            else:
                self.skip(kind & 15, depth)

    def zigzag(self) -> int:
        """Read a number of type i16, i32 or i64."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def list_of(self, kind: int) -> int:
        """Begin a list of a given type; return its length, which the bytes left bound."""
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if (count and head & 15 != kind) or count > len(self._data) - self.place:
            raise ValueError("a list is longer than the file")
        return count

    def skip(self, kind: int, depth: int) -> None:
        """Skip a value of a given type; `depth` is the level of nesting."""
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        match kind:  # the most frequent first
            case 8:
                self._forward(self._varint())
            case 5 | 6 | 4:
                self._varint()
            case 1 | 2:
                pass
            case 3:
                self._forward(1)
            case 7:
                self._forward(8)
            case 9 | 10:
                inner = self._data[self.place] & 15 if self.place < len(self._data) else 0
                count = self.list_of(inner)
                if count > LONGEST_LIST:
                    raise ValueError("it has a list that is longer than any that ulmo writes")
                for _ in range(count):
                    self.skip(3 if inner in (1, 2) else inner, depth + 1)
            case 12:
                for _ in self.fields({}, depth + 1):
                    pass
            case _:
                raise ValueError("it has a type that ulmo does not write")

    def _byte(self) -> int:
        place = self.place
        if place >= len(self._data):
            raise ValueError("it is cut off")
        self.place = place + 1
        return self._data[place]

    def _forward(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise ValueError("it is cut off")

    def _varint(self) -> int:
        value = self._byte()
        if value < 0x80:  # as most are
            return value
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number is too long")
