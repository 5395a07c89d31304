"""Bounds what a Parquet file of unknown origin unpacks to, before it is unpacked.

Own code, because pyarrow has no such bound: it allocates by the header of each page, whatever the
totals in the footer. So the footer and the page headers are read here, by ThriftReader, and no
length is trusted beyond the file's end. The size of the file bounds the rows, values and unpacked
bytes. Texts stay in dictionaries, as a million rows may have one long value. Lists of texts, which
may unpack to a thousand times their size, are read a row group at a time.

Format: https://github.com/apache/parquet-format (PageHeader in parquet.thrift)
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.storage.thrift import LIST, LONGEST_LIST, STRUCT, VARINTS, ThriftReader

# Of any table. ulmo's: at most 4, of a row for each of many silent channels. A table whose rows
# have more of their own gives a lower bound.
ROWS_PER_BYTE, FREE_ROWS = 8.0, 1 << 12
TEXTS_PER_BYTE = 4  # in lists of texts; ulmo's: at most 1.5
# Of pages, and of the texts of a table that is read by groups; ulmo's: at most 20 a byte.
BYTES_PER_BYTE, FREE_BYTES = 64, 8 << 20
# Of lists of texts, of which a group is in memory at once: this bounds the time. ulmo's: at most
# n / 2 a byte, for names of channels that have n letters.
LISTS_PER_BYTE, FREE_LISTS = 512, 1 << 30
MAX_HEADER = 1 << 16  # bytes of a page's header; its statistics may be two escaped paths of 4 KiB
VALUES_PER_ROW = 1024  # of lists of texts: outputs of a recording, one a channel
# A group, which is unpacked at once, has at most so many rows and bytes of texts, or one row.
ROW_GROUP, GROUP_TEXTS = 1 << 14, 4 << 20
# Unpacked bytes of a group, and of its texts alone: GROUP_TEXTS and numbers, or the paths of a row
# of VALUES_PER_ROW channels, of 4096 bytes each, and of 2400 if none of them is UTF-8.
MAX_GROUP = 10 << 20
MAX_FOOTER = 32 << 20
# A column of a group takes ulmo 120 bytes or more, with its pages.
CHUNK_BYTES, FREE_CHUNKS = 100, 1 << 10
MOST_LEVELS = 3  # in the schema, of a column: a list, its items, an item
OTHER_COLUMNS = "its columns are not those that this ulmo writes"
DICTIONARY = 7
ENCODING = {5: 2, DICTIONARY: 2, 8: 4}  # kinds of page in PageHeader, and their encoding field
# Plain, dictionary and runs. Texts coded by common prefixes could unpack to any size.
ENCODINGS = frozenset({0, 2, 3, 8})
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
    """A writer of a table (zstd) that has only what `check_pages` lets through: no statistics.

    Each text of a column with a dictionary is written once a group, however many there are.
    """
    options = {"dictionary_pagesize_limit": MAX_GROUP, **options}
    return pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False, **options)


def read_guarded(
    raw: BinaryIO,
    schema: pa.Schema,
    rows_per_byte: float = ROWS_PER_BYTE,
    most_rows: int | None = None,
) -> pa.Table:
    """Read a table without lists; ValueError if it has another schema, or unpacks to too much.

    Its columns of texts are dictionaries: one text for all rows that have it. `raw` is an open
    file: a path could be taken for an address (`file:`, `s3:`). `most_rows` is a bound of the rows
    that the caller knows; None if the size of the file is the only one.
    """
    _check(raw, schema, rows_per_byte, most_rows)
    with parquet_file(raw, read_dictionary=_texts(schema)) as file:
        table = file.read(use_threads=False).unify_dictionaries()
    table.validate(full=True)  # texts are UTF-8, and indices are within their dictionaries
    for name in _texts(schema):
        _check_dictionary(table[name])
    return table


class GroupedTable:
    """A table of which one row group is in memory at a time, beside the file's own bytes.

    All groups are read once at first. Raises ValueError as read_guarded() does, and if the texts of
    a group, or those of all rows, have too many bytes.
    """

    def __init__(
        self, raw: BinaryIO, schema: pa.Schema, rows_per_byte: float = ROWS_PER_BYTE
    ) -> None:
        _check(raw, schema, rows_per_byte)
        raw.seek(0)
        content = pa.BufferReader(raw.read())
        self._schema = schema
        self._file = parquet_file(content, read_dictionary=_texts(schema))
        groups = self._file.num_row_groups
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(groups)]
        self._starts: list[int] = [*accumulate(sizes, initial=0)]  # the last is the number of rows
        self._read: tuple[int, pa.Table] = (-1, schema.empty_table())
        left = _max_bytes(_size(raw))
        for group in range(groups):
            texts = self._checked(group)
            left -= texts
            if left < 0 or texts > MAX_GROUP:
                raise ValueError("its texts unpack to more than it may hold")

    def __len__(self) -> int:
        """The number of rows."""
        return self._starts[-1]

    def texts(self, name: str) -> Iterator[str]:
        """The texts of a column."""
        for group in range(len(self._starts) - 1):
            yield from self._file.read_row_group(group, [name], use_threads=False)[name].to_pylist()

    def end_of_group(self, row: int) -> int:
        """The first row of the group after that of a row."""
        return self._starts[bisect_right(self._starts, row)]

    def slice(self, first: int, count: int) -> pa.Table:
        """`count` rows from `first` on, or as many as there are."""
        found, end = [self._schema.empty_table()], min(first + count, len(self))
        while first < end:
            group, stop = bisect_right(self._starts, first) - 1, self.end_of_group(first)
            if group != self._read[0]:
                self._read = (-1, self._schema.empty_table())  # not two groups at once
                table = self._file.read_row_group(group, use_threads=False)
                self._read = (group, table.cast(self._schema))
                del table
            place = first - self._starts[group]
            found.append(self._read[1].slice(place, min(end, stop) - first))
            first = stop
        return pa.concat_tables(found)

    def _checked(self, group: int) -> int:
        """Check a group, and return the bytes of its texts, with repetitions; not of its lists."""
        table = self._file.read_row_group(group, use_threads=False)
        table.validate(full=True)
        if len(table) != self._starts[group + 1] - self._starts[group]:
            raise ValueError("a group has another number of rows than its footer says")
        columns = (table[name] for name in _texts(self._schema))
        return sum(_text_bytes(chunk) for column in columns for chunk in column.chunks)


def _check_dictionary(column: pa.ChunkedArray) -> None:
    """Raise ValueError unless each text is in the dictionary of a column once, for some row."""
    if not column.num_chunks:
        return
    texts = column.chunk(0).dictionary  # the same in all
    used = pa.chunked_array([chunk.indices for chunk in column.chunks])
    if not len(texts) == pc.count_distinct(texts).as_py() == pc.count_distinct(used).as_py():
        raise ValueError("a dictionary has a text twice, or one that no row has")


def _texts(schema: pa.Schema) -> list[str]:
    """The columns of texts, which are read as dictionaries."""
    return [field.name for field in schema if field.type == pa.string()]


def _check(
    raw: BinaryIO, schema: pa.Schema, rows_per_byte: float, most_rows: int | None = None
) -> None:
    """Raise ValueError for another schema, or for a table that unpacks to too much."""
    lists = frozenset(n for n, field in enumerate(schema) if is_text_list(field.type))
    check_pages(
        *(raw, len(schema), VALUES_PER_ROW),
        text_lists=lists,
        rows_per_byte=rows_per_byte,
        most_rows=most_rows,
    )
    with parquet_file(raw) as file:
        if not same_schema(file.schema_arrow, schema):
            raise ValueError(OTHER_COLUMNS)


def same_schema(found: pa.Schema, expected: pa.Schema) -> bool:
    """Whether columns and metadata agree: pandas and others take column names from the metadata."""
    named = any(field.metadata for field in found)
    return bool(found.equals(expected)) and found.metadata == expected.metadata and not named


def is_text_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of texts: written without a dictionary, and read with none."""
    return bool(kind == pa.list_(pa.string()))


def check_pages(
    raw: BinaryIO,
    columns: int,
    values_per_row: int = 1,
    *,
    text_lists: frozenset[int] = frozenset(),
    rows_per_byte: float = ROWS_PER_BYTE,
    most_rows: int | None = None,
) -> None:
    """Raise ValueError if an open file has more rows, values or bytes than its size allows.

    It may not have more than `most_rows` either, if that is not None. Pyarrow takes a kilobyte for
    each of its columns in each group, be it three bytes: the file is opened after this.

    The columns `text_lists`, given by index, must not have a dictionary: their texts are then no
    longer than their pages.
    """
    size = _size(raw)
    left_rows, left = int(rows_per_byte * size) + FREE_ROWS, _max_bytes(size)
    left_chunks = size // CHUNK_BYTES + FREE_CHUNKS
    left_lists = LISTS_PER_BYTE * size + FREE_LISTS
    # An empty list has a value in its page, too.
    left_texts = len(text_lists) * left_rows + TEXTS_PER_BYTE * size
    rows = 0
    for group in row_groups(_footer(raw, size), columns):
        left_chunks -= columns
        if left_chunks < 0:
            raise ValueError("it declares more groups than its size allows")
        left_rows -= group.rows
        rows += group.rows
        if left_rows < 0 or group.rows > ROW_GROUP:
            raise ValueError("it declares more rows than its size allows")
        if most_rows is not None and rows > most_rows:
            raise ValueError(f"it declares more than {most_rows} rows, the most there can be")
        left_group = MAX_GROUP
        for place, column in enumerate(group.columns):
            values = 0
            for page in _pages(raw, size, column):
                if place in text_lists:
                    if page.dictionary:
                        raise ValueError("its lists of texts have a dictionary")
                    left_texts -= page.values
                    left_lists -= page.unpacked
                else:
                    left -= page.unpacked
                left_group -= page.unpacked
                values += page.values
                if min(left, left_lists, left_group) < 0:
                    raise ValueError("it unpacks to more than it may hold")
            if left_texts < 0 or values > 2 * (values_per_row * group.rows + FREE_ROWS):
                raise ValueError("a column has more values than rows")


def row_groups(footer: bytes, columns: int) -> Iterator[RowGroup]:
    """The row groups in a footer (FileMetaData), of so many columns; ValueError if it is invalid.

    pyarrow is not used: its `RowGroupMetaData.column` ends the process, by an exception that
    nothing catches, if a column's statistics have the wrong length for its type.
    """
    reader = ThriftReader(footer)
    lists: dict[int | None, Sequence[int]] = dict.fromkeys((2, 4, 5, 7), (LIST,))
    for field in reader.fields(lists, known=WRITTEN_FILE):  # schema, groups, metadata, orders
        count = reader.list_of(STRUCT)
        if field != 4 and count > MOST_LEVELS * columns + LONGEST_LIST:
            raise ValueError(OTHER_COLUMNS)
        for _ in range(count):
            if field == 4:
                yield _row_group(reader, columns)
            else:
                reader.skip(STRUCT, 0)


def _row_group(reader: ThriftReader, count: int) -> RowGroup:
    columns: list[ColumnChunk] = []
    rows = -1
    for field in reader.fields({1: (LIST,), 3: VARINTS}, known=WRITTEN_GROUP):
        if field == 1:
            if reader.list_of(STRUCT) != count:
                raise ValueError(OTHER_COLUMNS)
            columns = [_column(reader) for _ in range(count)]
        else:
            rows = reader.zigzag()
    if rows < 0:
        raise ValueError("a row group has no length")
    return RowGroup(rows, columns)


def _column(reader: ThriftReader) -> ColumnChunk:
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
    reader = ThriftReader(data)
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
    reader: ThriftReader, wanted: Sequence[int], known: frozenset[int], empty: int | None = None
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
