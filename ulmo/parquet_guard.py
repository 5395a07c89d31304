"""How much a Parquet file unpacks to, before it is unpacked: a stranger may have made it.

The footer's own totals are not what a reader allocates by: it goes by the header of each page. So
these are read here, by a small parser of Thrift's compact protocol that believes no length beyond
the file's end. What is bounded: rows, values and unpacked bytes, each by the size of the file; and
the text of a column, whose dictionary may hold one long value that a million rows point at.

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
VARINTS = (4, 5, 6)
"""Types i16, i32 and i64."""


class Page(NamedTuple):
    """The header of a page."""

    size: int
    """Of the header."""
    unpacked: int
    packed: int
    values: int


def read_guarded(path: Path, schema: pa.Schema) -> pa.Table:
    """A small table; ValueError for another schema, or for what unpacks to too much."""
    places = {field.name: _text_place(field) for field in schema}
    texts = [name for name, place in places.items() if place]
    if not pq.read_schema(path).equals(schema):
        raise ValueError("it has other columns than this ulmo writes")
    with pq.ParquetFile(path, read_dictionary=[places[name] for name in texts]) as file:
        check_pages(path, file, VALUES_PER_ROW)
        table = file.read(use_threads=False)
    table.validate(full=True)  # that texts are UTF-8, and indices inside their dictionaries
    left = _most_bytes(path)
    for name in texts:
        left -= sum(_text_bytes(chunk) for chunk in table[name].chunks)
    if left < 0:
        raise ValueError("its texts unpack to more than it may hold")
    return table.cast(schema)


def check_pages(path: Path, file: pq.ParquetFile, values_per_row: int = 1) -> None:
    """ValueError where a file has more rows, values or unpacked bytes than so small a one may."""
    metadata = file.metadata
    if metadata.num_rows > ROWS_PER_BYTE * path.stat().st_size + FREE_ROWS:
        raise ValueError(f"it promises {metadata.num_rows} rows")
    left = _most_bytes(path)
    with path.open("rb") as raw:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if not 0 <= group.num_rows <= MAX_ROW_GROUP:
                raise ValueError("a group of rows is longer than ours")
            for column in range(group.num_columns):
                values = 0
                for page in _pages(raw, path.stat().st_size, group.column(column)):
                    left -= page.unpacked
                    values += page.values
                    if left < 0:
                        raise ValueError("it unpacks to more than it may hold")
                if values > 2 * (values_per_row * group.num_rows + FREE_ROWS):
                    raise ValueError("a column has more values than rows")


def parse_page(data: bytes) -> Page:
    """The header of a page; ValueError where it is none."""
    reader = _Reader(data)
    fields = reader.struct(0)
    values = [fields.get((place, 1), 0) for place in (5, 7, 8)]
    unpacked, packed = fields.get((2,), -1), fields.get((3,), -1)
    if min(unpacked, packed, *values) < 0:
        raise ValueError("a page has no size")
    return Page(reader.place, unpacked, packed, max(values))


def _most_bytes(path: Path) -> int:
    return BYTES_PER_BYTE * path.stat().st_size + FREE_BYTES


def _text_place(field: pa.Field) -> str:
    """Where Parquet keeps the texts of a column; nothing for columns without."""
    if field.type == pa.string():
        return str(field.name)
    return f"{field.name}.list.element" if field.type == pa.list_(pa.string()) else ""


def _text_bytes(chunk: Any) -> int:
    """Bytes of a column's texts, each counted as often as it occurs."""
    if pa.types.is_list(chunk.type):
        chunk = chunk.flatten()
    lengths = pc.binary_length(chunk.dictionary)
    return int(pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0)


def _pages(raw: BinaryIO, size: int, column: Any) -> Iterator[Page]:
    """The pages of a column in a group of rows."""
    starts = [column.data_page_offset, column.dictionary_page_offset]
    place = min(start for start in starts if start is not None)
    end = place + column.total_compressed_size
    if not 0 < place <= end <= size:
        raise ValueError("a column lies outside the file")
    while place < end:
        raw.seek(place)
        page = parse_page(raw.read(min(MAX_HEADER, end - place)))
        yield page
        place += page.size + page.packed


class _Reader:
    """Thrift's compact protocol, as far as page headers need it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self, depth: int) -> dict[tuple[int, ...], int]:
        """Numbers of a struct by their field, and of structs in it by both fields."""
        found: dict[tuple[int, ...], int] = {}
        if depth > MAX_DEPTH:
            raise ValueError("a page's header is too deep")
        field = 0
        while kind := self._byte():
            field = field + (kind >> 4) if kind >> 4 else self._zigzag()
            match kind & 15:
                case 1 | 2:
                    pass
                case 3:
                    self._byte()
                case number if number in VARINTS:
                    found[(field,)] = self._zigzag()
                case 7:
                    self._skip(8)
                case 8:
                    self._skip(self._varint())
                case 12:
                    inner = self.struct(depth + 1)
                    found |= {(field, *path): value for path, value in inner.items()}
                case _:
                    raise ValueError("a page's header holds what none of ours does")
        return found

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise ValueError("a page's header is cut")

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("a number in a page's header is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
