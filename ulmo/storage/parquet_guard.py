"""How much a Parquet file unpacks to, before it is unpacked: a stranger may have made it.

The footer's own totals are not what a reader allocates by: it goes by the header of each page. So
these, and the footer that finds them, are read here, by a small parser of Thrift's compact protocol
that believes no length beyond the file's end. What is bounded: rows, values and unpacked bytes,
each by the size of the file; and the text of a column, whose dictionary may hold one long value
that a million rows point at.

Format: https://github.com/apache/parquet-format (PageHeader in parquet.thrift) and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_BYTE, FREE_ROWS = 8, 1 << 12
BYTES_PER_BYTE, FREE_BYTES = 64, 8 << 20
"""Of all pages and of all texts: ours unpack to at most 20 times the file."""
MAX_HEADER = 1 << 13
"""Bytes of a page's header; ours have under 100, since there are statistics in them."""
MAX_DEPTH = 8
VALUES_PER_ROW = 64
"""Of lists of texts."""
MAX_ROW_GROUP = 1 << 20
MAX_FOOTER = 32 << 20
DICTIONARY = 7
ENCODING = {5: 2, DICTIONARY: 2, 8: 4}
"""Headers of pages in PageHeader, and the field of each that tells the encoding."""
ENCODINGS = frozenset({0, 2, 3, 8})
"""Plain, by dictionary, and runs: texts by their prefixes could unpack to anything."""
VARINTS, LIST, STRUCT = (4, 5, 6), 9, 12
"""Types of Thrift: i16, i32 and i64; list; struct."""


class Column(NamedTuple):
    """A column in a group of rows."""

    start: int
    """Where its first page begins."""
    packed: int
    """Bytes of all its pages."""


class RowGroup(NamedTuple):
    """A group of rows."""

    rows: int
    columns: list[Column]


class Page(NamedTuple):
    """The header of a page."""

    size: int
    """Of the header."""
    unpacked: int
    packed: int
    values: int
    dictionary: bool


def read_guarded(path: Path, schema: pa.Schema) -> pa.Table:
    """A small table; ValueError for another schema, or for what unpacks to too much."""
    texts = [field.name for field in schema if field.type == pa.string()]
    lists = frozenset(n for n, field in enumerate(schema) if is_text_list(field.type))
    if not pq.read_schema(path).equals(schema):
        raise ValueError("it has other columns than this ulmo writes")
    check_pages(path, VALUES_PER_ROW, without_dictionary=lists)
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(use_threads=False)
    table.validate(full=True)  # that texts are UTF-8, and indices inside their dictionaries
    left = _most_bytes(path)
    for name in texts:
        left -= sum(_text_bytes(chunk) for chunk in table[name].chunks)
    if left < 0:
        raise ValueError("its texts unpack to more than it may hold")
    return table.cast(schema)


def is_text_list(kind: pa.DataType) -> bool:
    """True of a column of lists of texts: written without a dictionary, and read with none."""
    return bool(kind == pa.list_(pa.string()))


def check_pages(
    path: Path, values_per_row: int = 1, *, without_dictionary: frozenset[int] = frozenset()
) -> None:
    """ValueError where a file has more rows, values or unpacked bytes than so small a one may.

    Columns `without_dictionary`, by their places, may have none: their texts are then no longer
    than their pages.
    """
    size = path.stat().st_size
    left_rows, left = ROWS_PER_BYTE * size + FREE_ROWS, _most_bytes(path)
    with path.open("rb") as raw:
        for group in row_groups(_footer(raw, size)):
            left_rows -= group.rows
            if left_rows < 0 or group.rows > MAX_ROW_GROUP:
                raise ValueError("it promises more rows than it may have")
            for place, column in enumerate(group.columns):
                values = 0
                for page in _pages(raw, size, column):
                    if page.dictionary and place in without_dictionary:
                        raise ValueError("its lists of texts have a dictionary")
                    left -= page.unpacked
                    values += page.values
                    if left < 0:
                        raise ValueError("it unpacks to more than it may hold")
                if values > 2 * (values_per_row * group.rows + FREE_ROWS):
                    raise ValueError("a column has more values than rows")


def row_groups(footer: bytes) -> Iterator[RowGroup]:
    """The groups of rows that a footer (FileMetaData) tells of; ValueError where it is none.

    Not by pyarrow: its `RowGroupMetaData.column` ends the process, by an exception that nothing
    catches, where statistics of a column have another length than its type asks for.
    """
    reader = _Reader(footer)
    for field, kind in reader.fields():
        if field == 4 and kind == LIST:
            for _ in range(reader.list_of(STRUCT)):
                yield _row_group(reader)
        else:
            reader.skip(kind, 0)


def _row_group(reader: "_Reader") -> RowGroup:
    columns: list[Column] = []
    rows = -1
    for field, kind in reader.fields():
        if field == 1 and kind == LIST:
            columns = [_column(reader) for _ in range(reader.list_of(STRUCT))]
        elif field == 3 and kind in VARINTS:
            rows = reader.zigzag()
        else:
            reader.skip(kind, 0)
    if rows < 0:
        raise ValueError("a group of rows has no length")
    return RowGroup(rows, columns)


def _column(reader: "_Reader") -> Column:
    """Of ColumnChunk the numbers of its ColumnMetaData: packed size, and where its pages begin."""
    found: dict[int, int] = {}
    for field, kind in reader.fields():
        if field == 3 and kind == STRUCT:
            for inner, inner_kind in reader.fields():
                if inner_kind in VARINTS:
                    found[inner] = reader.zigzag()
                else:
                    reader.skip(inner_kind, 0)
        else:
            reader.skip(kind, 0)
    starts = [found[place] for place in (9, 11) if place in found]
    if not starts or 7 not in found:
        raise ValueError("a column has no pages")
    return Column(min(starts), found[7])


def _footer(raw: BinaryIO, size: int) -> bytes:
    raw.seek(max(0, size - 8))
    tail = raw.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > min(size - 8, MAX_FOOTER):
        raise ValueError("its footer is cut, or longer than any")
    raw.seek(size - 8 - length)
    return raw.read(length)


def parse_page(data: bytes) -> Page:
    """The header of a page; ValueError where it is none."""
    reader = _Reader(data)
    sizes = {2: -1, 3: -1}
    values, dictionary = 0, False
    for field, kind in reader.fields():
        if field in sizes and kind in VARINTS:
            sizes[field] = reader.zigzag()
        elif field in ENCODING and kind == STRUCT:
            numbers = _numbers(reader)
            if numbers.get(ENCODING[field]) not in ENCODINGS:
                raise ValueError("it is encoded as none of ours is")
            values, dictionary = numbers.get(1, -1), field == DICTIONARY
        else:
            reader.skip(kind, 0)
    if min(*sizes.values(), values) < 0:
        raise ValueError("a page has no size")
    return Page(reader.place, sizes[2], sizes[3], values, dictionary)


def _numbers(reader: "_Reader") -> dict[int, int]:
    """The numbers of a struct, by their fields."""
    found = {}
    for field, kind in reader.fields():
        if kind in VARINTS:
            found[field] = reader.zigzag()
        else:
            reader.skip(kind, 0)
    return found


def _most_bytes(path: Path) -> int:
    return BYTES_PER_BYTE * path.stat().st_size + FREE_BYTES


def _text_bytes(chunk: Any) -> int:
    """Bytes of a column's texts, each counted as often as it occurs."""
    lengths = pc.binary_length(chunk.dictionary)
    return int(pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0)


def _pages(raw: BinaryIO, size: int, column: Column) -> Iterator[Page]:
    """The pages of a column in a group of rows."""
    place, end = column.start, column.start + column.packed
    if not 0 < place <= end <= size:
        raise ValueError("a column lies outside the file")
    while place < end:
        raw.seek(place)
        page = parse_page(raw.read(min(MAX_HEADER, end - place)))
        yield page
        place += page.size + page.packed


class _Reader:
    """Thrift's compact protocol: numbers and structs are read, the rest is skipped."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct; whoever asks reads or skips its value."""
        field = 0
        while kind := self._byte():
            field = field + (kind >> 4) if kind >> 4 else self.zigzag()
            yield field, kind & 15

    def zigzag(self) -> int:
        """A number of type i16, i32 or i64."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def list_of(self, kind: int) -> int:
        """Begin a list of a type; its length, which its bytes bound."""
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if (count and head & 15 != kind) or count > len(self._data) - self.place:
            raise ValueError("a list is longer than the file")
        return count

    def skip(self, kind: int, depth: int) -> None:
        """Pass over a value."""
        if depth > MAX_DEPTH:
            raise ValueError("it is too deep")
        match kind:
            case 1 | 2:
                pass
            case 3:
                self._forward(1)
            case number if number in VARINTS:
                self._varint()
            case 7:
                self._forward(8)
            case 8:
                self._forward(self._varint())
            case 9 | 10:
                inner = self._data[self.place] & 15 if self.place < len(self._data) else 0
                for _ in range(self.list_of(inner)):
                    self.skip(3 if inner in (1, 2) else inner, depth + 1)
            case 12:
                for _, inner in self.fields():
                    self.skip(inner, depth + 1)
            case _:
                raise ValueError("it holds what none of ours does")

    def _byte(self) -> int:
        self._forward(1)
        return self._data[self.place - 1]

    def _forward(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise ValueError("it is cut")

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("a number is too long")
