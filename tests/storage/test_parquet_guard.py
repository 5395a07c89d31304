"""What a Parquet file unpacks to is told from footer and headers of pages, as pyarrow has it."""

import io
import random
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.formats.streams import save, some
from tests.parquet import parquet_of, write_parquet
from ulmo.formats import parquet
from ulmo.formats.read import read_corpus
from ulmo.storage import parquet_guard
from ulmo.storage.parquet_guard import (
    MAX_GROUP,
    GroupedTable,
    check_pages,
    parse_page,
    read_guarded,
    row_groups,
)
from ulmo.storage.tables import publish_table


def footer_of(path):
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    return content[-8 - length : -8]


def read(path, schema):
    with path.open("rb") as file:
        found = GroupedTable(file, schema)
    return found.slice(0, len(found))


def table(rows=1000):
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "n": pa.array(rng.integers(0, 9, rows)),
            "t": pa.array([f"x{n % 7}" for n in range(rows)]),
            "l": pa.array([["a", "b"], [], None] * (rows // 3) + [["c"]] * (rows % 3)),
        },
        schema=pa.schema([("n", pa.int64()), ("t", pa.string()), ("l", pa.list_(pa.string()))]),
    )


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_footer_and_pages_are_those_that_pyarrow_sees(compression, version, tmp_path):
    path = tmp_path / "x.parquet"
    options = {"compression": compression, "data_page_version": version, "row_group_size": 300}
    write_parquet(table(), path, use_dictionary=["n", "t"], **options)
    metadata = pq.ParquetFile(path).metadata
    groups = list(row_groups(footer_of(path), 3))
    assert [group.rows for group in groups] == [300, 300, 300, 100]
    content = path.read_bytes()
    for number, group in enumerate(groups):
        for index, column in enumerate(group.columns):
            known = metadata.row_group(number).column(index)
            assert column.packed == known.total_compressed_size
            place, unpacked, values = column.start, 0, 0
            while place < column.start + column.packed:
                page = parse_page(content[place : place + 8192])
                unpacked += page.size + page.unpacked
                values += page.values
                place += page.size + page.packed
            assert place == column.start + column.packed
            assert unpacked == known.total_uncompressed_size
            assert values >= known.num_values
    with path.open("rb") as file:
        check_pages(file, 3)
    assert read(path, table().schema).equals(table())


def test_our_tables_have_no_statistics(tmp_path):
    """Nothing says that a row need not be looked at, so all programs look at all rows."""
    save(tmp_path / "x.tokens.parquet", "parquet", some((5, 0, 9000)))
    with publish_table(tmp_path / "y.parquet", table().schema) as writer:
        writer.add_table(table())
    for name in ("x.tokens.parquet", "y.parquet"):
        group = pq.ParquetFile(tmp_path / name).metadata.row_group(0)
        assert not any(group.column(n).is_stats_set for n in range(group.num_columns))


def test_our_own_tokens_are_let_through(tmp_path):
    path = save(tmp_path / "x.tokens.parquet", "parquet", some((5, 0, 9000)))
    with path.open("rb") as file:
        check_pages(file, 10, 3 * 4096)


@pytest.mark.parametrize(
    "values",
    [
        {"t": ["a" * (1 << 25)]},
        {"t": ["a" * (1 << 18)] * 200},
        {"l": [["a" * (1 << 18)] * 20] * 10},
        {"l": [["a"] * (1 << 20)]},
        {"l": [["a"] * 60] * 4000},
        {"n": [0] * 1_000_000},
    ],
)
def test_what_unpacks_to_more_is_refused(values, tmp_path):
    schema = pa.schema([field for field in table().schema if field.name in values])
    path = tmp_path / "x.parquet"
    write_parquet(pa.table(values, schema=schema), path, compression="zstd")
    assert path.stat().st_size < 1 << 16
    with pytest.raises(ValueError, match=r"unpacks? to more|more values|more rows|a dictionary"):
        read(path, schema)
    write_parquet(pa.table(values, schema=schema), path, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match=r"unpacks? to more|more values|more rows"):
        read(path, schema)


def test_lists_of_texts_have_a_bound_of_their_own(tmp_path, monkeypatch):
    """Each group is small, and there are many."""
    monkeypatch.setattr(parquet_guard, "FREE_LISTS", 1 << 20)
    schema = pa.schema([("l", pa.list_(pa.string()))])
    rows = pa.table({"l": [["a" * 4000] * 1000]}, schema=schema)
    path = tmp_path / "x.parquet"
    write_parquet(pa.concat_tables([rows] * 2), path, row_group_size=1, use_dictionary=False)
    with pytest.raises(ValueError, match="unpacks to more"):
        read(path, schema)
    monkeypatch.setattr(parquet_guard, "FREE_LISTS", 1 << 23)
    assert len(read(path, schema)) == 2


def test_a_group_has_a_bound_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_guard, "FREE_BYTES", 1 << 30)
    texts = pa.table({"t": ["a" * (MAX_GROUP // 2)] * 3})
    path = tmp_path / "x.parquet"
    write_parquet(texts, path, row_group_size=1)
    assert len(read(path, texts.schema)) == 3
    write_parquet(texts, path)  # its pages fit, and its texts do not
    with pytest.raises(ValueError, match="its texts unpack to more"):
        read(path, texts.schema)
    write_parquet(texts, path, use_dictionary=False)
    with pytest.raises(ValueError, match="it unpacks to more"):
        read(path, texts.schema)


def test_any_rows_of_a_table_of_groups(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(table(100), path, row_group_size=30, use_dictionary=["n", "t"])
    with path.open("rb") as file:
        found = GroupedTable(file, table().schema)
    assert list(found.texts("t")) == table(100)["t"].to_pylist()
    assert [found.end_of_group(row) for row in (0, 29, 30, 99)] == [30, 30, 60, 100]
    for first, count in ((0, 100), (29, 2), (95, 10), (3, 0), (10, 5), (70, 30)):
        assert found.slice(first, count).equals(table(100).slice(first, count))


def test_a_text_that_no_row_has_is_refused(tmp_path):
    """Whoever looks at a dictionary finds it."""
    schema, path = pa.schema([("t", pa.string())]), tmp_path / "x.parquet"
    named = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1], pa.int32()), ["a", "b", "c"])
    write_parquet(pa.table({"t": named}), path, store_schema=False)
    with path.open("rb") as file, pytest.raises(ValueError, match="a dictionary has a text"):
        read_guarded(file, schema)


def test_texts_by_their_prefixes_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    encoding = {"use_dictionary": False, "column_encoding": {"t": "DELTA_BYTE_ARRAY"}}
    texts = pa.table({"t": ["a" * (1 << 16)] * 2000})
    write_parquet(texts, path, compression="zstd", **encoding)
    assert path.stat().st_size < 1 << 17
    with pytest.raises(ValueError, match="an encoding that ulmo"):
        read(path, texts.schema)


@pytest.mark.parametrize(
    "options",
    [
        {"write_statistics": True},
        {"write_statistics": True, "write_page_index": True},
        {"bloom_filter_options": {"t": {"ndv": 10}}},
        {"sorting_columns": [pq.SortingColumn(0)]},
    ],
)
def test_what_would_let_other_programs_skip_rows_is_refused(options, tmp_path):
    """pandas, Polars and DuckDB do not look at rows that statistics exclude, true or not."""
    write_parquet(table(), tmp_path / "x.parquet", **options)
    with pytest.raises(ValueError, match="statistics or an index, which ulmo does not write"):
        read(tmp_path / "x.parquet", table().schema)


def test_pages_with_statistics_are_refused():
    """A data page of one value, its statistics empty, and with a count of nulls."""
    header = bytes([0x15, 0, 0x15, 20, 0x15, 20, 0x2C, 0x15, 2, 0x15, 0, 0x15, 0, 0x15, 0, 0x1C])
    assert parse_page(header + bytes([0, 0, 0])).values == 1
    with pytest.raises(ValueError, match="statistics or an index"):
        parse_page(header + bytes([0x36, 0, 0, 0, 0]))


@pytest.mark.parametrize("where", ["table", "column"])
def test_names_in_metadata_are_refused(where, tmp_path):
    """pandas names columns by them."""
    schema = table().schema
    if where == "table":
        named = schema.with_metadata({"pandas": '{"columns": []}'})
    else:
        named = schema.set(0, schema.field(0).with_metadata({"x": "y"}))
    write_parquet(table().cast(named), tmp_path / "x.parquet", use_dictionary=["n", "t"])
    with pytest.raises(ValueError, match="its columns are not those that this ulmo writes"):
        read(tmp_path / "x.parquet", schema)


def test_text_that_is_no_utf_8_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    write_parquet(pa.table({"t": ["abcdefgh"]}), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcd\xff\xfegh"))
    with pytest.raises(ValueError, match="UTF8"):
        read(path, pa.schema([("t", pa.string())]))


def test_mutants_of_a_footer_are_refused_or_read(tmp_path):
    """Nothing but ValueError; pyarrow's own metadata end the process for some of these."""
    path = tmp_path / "x.parquet"
    write_parquet(table(10), path)
    footer, rng = footer_of(path), random.Random(0)
    refused = 0
    for _ in range(3000):
        mutant = bytearray(footer)
        for _ in range(rng.randint(1, 3)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        try:
            size = rng.choice((len(mutant), rng.randrange(len(mutant))))
            list(row_groups(bytes(mutant[:size]), 3))
        except ValueError:
            refused += 1
    assert 1000 < refused < 3000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (parquet_of(groups=1, columns=1000), "its columns are not those"),
        (parquet_of(groups=5000), "more groups than its size allows"),
        (parquet_of(levels=1000), "its columns are not those"),
        (parquet_of(encodings=1000), "a list that is longer"),
    ],
)
def test_a_footer_of_many_short_parts_never_reaches_pyarrow(content, words, tmp_path, monkeypatch):
    """Pyarrow takes a kilobyte for three bytes."""
    monkeypatch.setattr(pq, "ParquetFile", None)
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "x.parquet", pa.schema([("a", pa.int32())]))


@pytest.mark.parametrize(
    "data", [b"", b"\x15", b"\x00", b"\xff" * 40, b"\x1c" * 40, b"\x19\xfc\xff\x7f"]
)
def test_what_is_no_page_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        parse_page(data)


class WatchedFile(io.FileIO):
    """Knows the threads that read it."""

    def __init__(self, path):
        super().__init__(path)
        self.readers = set()

    def read(self, size=-1):
        self.readers.add(threading.get_ident())
        return super().read(size)


def test_a_table_is_read_by_no_other_thread(tmp_path):
    """One that still held a piece of the file when the process ended would abort it."""
    write_parquet(table(), tmp_path / "x.parquet", use_dictionary=["n", "t"])
    with WatchedFile(tmp_path / "x.parquet") as file:
        read_guarded(file, table().schema)
        assert file.readers == {threading.get_ident()}


def test_tokens_are_read_by_no_other_thread(tmp_path, monkeypatch):
    path = save(tmp_path / "x.tokens.parquet", "parquet", some((5,)))
    files = []

    def watched(path):
        files.append(WatchedFile(path))
        return files[-1]

    monkeypatch.setattr(parquet, "open_unlinked", watched)
    assert len(list(read_corpus(path))) == 1
    assert [file.readers for file in files] == [{threading.get_ident()}]
