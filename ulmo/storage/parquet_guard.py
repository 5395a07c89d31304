"""Bounds what a Parquet file of unknown origin unpacks to, before it is unpacked.

Own code, because pyarrow has no such bound: it allocates by the header of each page, whatever the
totals in the footer. So a small parser of Thrift's compact protocol reads the footer and the page
headers here, and trusts no length beyond the file's end. The size of the file bounds the rows,
values and unpacked bytes, and the texts of a column, whose dictionary may hold one long value that
a million rows refer to.

Format: https://github.com/apache/parquet-format (PageHeader in parquet.thrift) and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Of any table. ulmo's: at most 4, of a row for each of many silent channels. A table whose rows
# have more of their own gives a lower bound.
ROWS_PER_BYTE, FREE_ROWS = 8.0, 1 << 12
TEXTS_PER_BYTE = 4  # in lists of texts; ulmo's: at most 1.5
# Of pages, and of texts; ulmo's: at most 20 a byte, and more for long names of many channels.
BYTES_PER_BYTE, FREE_BYTES = 64, 8 << 20
MAX_HEADER = 1 << 16  # bytes of a page's header; its statistics may be two escaped paths of 4 KiB
MAX_DEPTH = 8
VALUES_PER_ROW = 1024  # of lists of texts: outputs of a recording, one a channel
ROW_GROUP = 1 << 14  # most rows of a group, which is unpacked at once
MAX_FOOTER = 32 << 20
DICTIONARY = 7
ENCODING = {5: 2, DICTIONARY: 2, 8: 4}  # kinds of page in PageHeader, and their encoding field
# Plain, dictionary and runs. Texts coded by common prefixes could unpack to any size.
ENCODINGS = frozenset({0, 2, 3, 8})
VARINTS, LIST, STRUCT = (4, 5, 6), 9, 12  # types of Thrift: i16, i32 and i64; list; struct
# Fields that ulmo writes of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
# Not among them are statistics, indexes, filters, orders of rows and other files: programs that
# trust these do not look at the rows themselves, so false ones would hide rows.
WRITTEN_FILE = frozenset(range(1, 8))
WRITTEN_GROUP = frozenset({1, 2, 3, 5, 6})
WRITTEN_CHUNK = frozenset({2, 3})
WRITTEN_COLUMN = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16})
WRITTEN_PAGE = frozenset({1, 2, 3, 4, 5, 7, 8})
WRITTEN_VALUES = {5: frozenset(range(1, 6)), 7: frozenset(range(1, 4)), 8: frozenset(range(1, 9))}
STATISTICS = {5: 5, DICTIONARY: None, 8: 8}  # the field of each kind of page that must be empty


class ColumnChunk(NamedTuple):
    """A column in a row group."""

    start: int  # where its first page begins
    packed: int  # bytes of all its pages


class RowGroup(NamedTuple):
    """A row group."""

    rows: int
    columns: list[ColumnChunk]


class PageHeader(NamedTuple):
    """The header of a page."""

    size: int  # of the header itself
    unpacked: int
    packed: int
    values: int
    dictionary: bool


def parquet_file(raw: BinaryIO, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file to be read in this thread alone, with `use_threads=False`.

    By default, threads of pyarrow read ahead. One that still holds a piece of a Python file when
    the process ends aborts it.
    """
    return pq.ParquetFile(raw, pre_buffer=False, **options)


def parquet_writer(file: BinaryIO, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """A writer of a table (zstd) that has only what `check_pages` lets through: no statistics."""
    return pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False, **options)


def read_guarded(
    raw: BinaryIO,
    schema: pa.Schema,
    rows_per_byte: float = ROWS_PER_BYTE,
    most_rows: int | None = None,
) -> pa.Table:
    """Read a small table; ValueError if it has another schema, or unpacks to too much.

    `raw` is an open file: a path could be taken for an address (`file:`, `s3:`). `most_rows` is a
    bound of the rows that the caller knows; None if the size of the file is the only one.
    """
    texts = [field.name for field in schema if field.type == pa.string()]
    lists = frozenset(n for n, field in enumerate(schema) if is_text_list(field.type))
    with parquet_file(raw) as file:
        if not same_schema(file.schema_arrow, schema):
            raise ValueError("its columns are not those that this ulmo writes")
    check_pages(
        *(raw, VALUES_PER_ROW),
        text_lists=lists,
        rows_per_byte=rows_per_byte,
        most_rows=most_rows,
    )
    with parquet_file(raw, read_dictionary=texts) as file:
        table = file.read(use_threads=False)
    table.validate(full=True)  # texts are UTF-8, and indices are within their dictionaries
    left = _max_bytes(_size(raw))
    for name in texts:
        left -= sum(_text_bytes(chunk) for chunk in table[name].chunks)
    if left < 0:
        raise ValueError("its texts unpack to more than it may hold")
    return table.cast(schema)


def same_schema(found: pa.Schema, expected: pa.Schema) -> bool:
    """Whether columns and metadata agree: pandas and others take column names from the metadata."""
    named = any(field.metadata for field in found)
    return bool(found.equals(expected)) and found.metadata == expected.metadata and not named


def is_text_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of texts: written without a dictionary, and read with none."""
    return bool(kind == pa.list_(pa.string()))


def check_pages(
    raw: BinaryIO,
    values_per_row: int = 1,
    *,
    text_lists: frozenset[int] = frozenset(),
    rows_per_byte: float = ROWS_PER_BYTE,
    most_rows: int | None = None,
) -> None:
    """Raise ValueError if an open file has more rows, values or bytes than its size allows.

    It may not have more than `most_rows` either, if that is not None.

    The columns `text_lists`, given by index, must not have a dictionary: their texts are then no
    longer than their pages.
    """
    size = _size(raw)
    left_rows, left = int(rows_per_byte * size) + FREE_ROWS, _max_bytes(size)
    # An empty list has a value in its page, too.
    left_texts = len(text_lists) * left_rows + TEXTS_PER_BYTE * size
    rows = 0
    for group in row_groups(_footer(raw, size)):
        left_rows -= group.rows
        rows += group.rows
        if left_rows < 0 or group.rows > ROW_GROUP:
            raise ValueError("it declares more rows than its size allows")
        if most_rows is not None and rows > most_rows:
            raise ValueError(f"it declares more than {most_rows} rows, the most there can be")
        for place, column in enumerate(group.columns):
            values = 0
            for page in _pages(raw, size, column):
                if place in text_lists:
                    if page.dictionary:
                        raise ValueError("its lists of texts have a dictionary")
                    left_texts -= page.values
                left -= page.unpacked
                values += page.values
                if left < 0:
                    raise ValueError("it unpacks to more than it may hold")
            if left_texts < 0 or values > 2 * (values_per_row * group.rows + FREE_ROWS):
                raise ValueError("a column has more values than rows")


def row_groups(footer: bytes) -> Iterator[RowGroup]:
    """The row groups in a footer (FileMetaData); ValueError if it is invalid.

    pyarrow is not used: its `RowGroupMetaData.column` ends the process, by an exception that
    nothing catches, if a column's statistics have the wrong length for its type.
    """
    reader = _Reader(footer)
    for _ in reader.fields({4: (LIST,)}, known=WRITTEN_FILE):
        for _ in range(reader.list_of(STRUCT)):
            yield _row_group(reader)


def _row_group(reader: "_Reader") -> RowGroup:
    columns: list[ColumnChunk] = []
    rows = -1
    for field in reader.fields({1: (LIST,), 3: VARINTS}, known=WRITTEN_GROUP):
        if field == 1:
            columns = [_column(reader) for _ in range(reader.list_of(STRUCT))]
        else:
            rows = reader.zigzag()
    if rows < 0:
        raise ValueError("a row group has no length")
    return RowGroup(rows, columns)


def _column(reader: "_Reader") -> ColumnChunk:
    """The packed size and the start of the pages, from the ColumnMetaData of a ColumnChunk."""
    found: dict[int, int] = {}
    for _ in reader.fields({3: (STRUCT,)}, known=WRITTEN_CHUNK):
        found |= _numbers(reader, (7, 9, 11), WRITTEN_COLUMN)
    starts = [found[place] for place in (9, 11) if place in found]
    if not starts or 7 not in found:
        raise ValueError("a column has no pages")
    return ColumnChunk(min(starts), found[7])


def _footer(raw: BinaryIO, size: int) -> bytes:
    raw.seek(max(0, size - 8))
    tail = raw.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > min(size - 8, MAX_FOOTER):
        raise ValueError("its footer is cut off or too long")
    raw.seek(size - 8 - length)
    return raw.read(length)


def parse_page(data: bytes) -> PageHeader:
    """Parse the header of a page; ValueError if it is invalid."""
    reader = _Reader(data)
    sizes = {2: -1, 3: -1}
    values, dictionary = 0, False
    wanted: dict[int | None, Sequence[int]] = dict.fromkeys(sizes, VARINTS)
    wanted |= dict.fromkeys(ENCODING, (STRUCT,))
    for field in reader.fields(wanted, known=WRITTEN_PAGE):
        if field in sizes:
            sizes[field] = reader.zigzag()
        else:
            known, empty = WRITTEN_VALUES[field], STATISTICS[field]
            numbers = _numbers(reader, (1, ENCODING[field]), known, empty)
            if numbers.get(ENCODING[field]) not in ENCODINGS:
                raise ValueError("it has an encoding that ulmo does not write")
            values, dictionary = numbers.get(1, -1), field == DICTIONARY
    if min(*sizes.values(), values) < 0:
        raise ValueError("a page has no size")
    return PageHeader(reader.place, sizes[2], sizes[3], values, dictionary)


def _numbers(
    reader: "_Reader", wanted: Sequence[int], known: frozenset[int], empty: int | None = None
) -> dict[int, int]:
    """The wanted numbers of a struct, by field; a struct in the field `empty` must be so."""
    numbers: dict[int, int] = {}
    kinds: dict[int | None, Sequence[int]] = {**dict.fromkeys(wanted, VARINTS), empty: (STRUCT,)}
    for field in reader.fields(kinds, known=known):
        if field != empty:
            numbers[field] = reader.zigzag()
        else:
            for _ in reader.fields({}, known=frozenset()):
                pass
    return numbers


def _size(raw: BinaryIO) -> int:
    return os.fstat(raw.fileno()).st_size


def _max_bytes(size: int) -> int:
    return BYTES_PER_BYTE * size + FREE_BYTES


def _text_bytes(chunk: Any) -> int:
    """Total bytes of a column's texts, with repetitions."""
    lengths = pc.binary_length(chunk.dictionary)
    return int(pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0)


def _pages(raw: BinaryIO, size: int, column: ColumnChunk) -> Iterator[PageHeader]:
    """The page headers of a column in a row group."""
    place, end = column.start, column.start + column.packed
    if not 0 < place <= end <= size:
        raise ValueError("a column lies outside the file")
    while place < end:
        raw.seek(place)
        page = parse_page(raw.read(min(MAX_HEADER, end - place)))
        yield page
        place += page.size + page.packed


class _Reader:
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
                for _ in self.fields({}, depth + 1):
                    pass
            case _:
                raise ValueError("it has a type that ulmo does not write")

    def _byte(self) -> int:
        self._forward(1)
        return self._data[self.place - 1]

    def _forward(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise ValueError("it is cut off")

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("a number is too long")
