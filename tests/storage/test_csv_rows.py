"""Rows of CSV files, whose size bounds what reading them takes."""

import tracemalloc

import pytest

from ulmo.config import UserError
from ulmo.storage.csv_rows import read_csv_rows

BOUNDS = {"most_bytes": 1 << 20, "most_rows": 5}


def rows_of(folder, text, columns=("a",), **bounds):
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return list(read_csv_rows(path, columns, **(BOUNDS | bounds)))


def test_rows_have_the_wanted_columns_and_their_lines(tmp_path):
    text = '\ufeffa,b,c\r\n1,"x, ""y""",\r\n\r\n2,z,,more\r\n'
    rows = [(2, {"a": "1", "b": 'x, "y"'}), (4, {"a": "2", "b": "z"})]
    assert rows_of(tmp_path, text, optional=["b", "d"]) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("b\n1\n", "has no column 'a': it has b"),
        ("", "has no column 'a': it has none"),
        ("a,b\n1\n", "line 2 has too few columns"),
        ("a\n" + "1\n" * 6, "cannot be read as CSV: it has more than 5 rows"),
        ("a" + ",b" * 256, "cannot be read as CSV: it has more than 256 columns"),
        ("a\n" + "1" * (1 << 20), "cannot be read as CSV: it has more than 1048576 bytes"),
        ("a\n" + "\n" * 10, "cannot be read as CSV: it has more than 10 lines"),
    ],
)
def test_what_is_refused(text, words, tmp_path):
    with pytest.raises(UserError, match=words) as refused:
        rows_of(tmp_path, text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a\n" + "," * (1 << 22), 'a\n"' + '\n","' * (1 << 20)])
def test_a_row_of_many_fields_is_refused_in_little_memory(text, tmp_path):
    """csv.reader makes a list of all fields of a row: 8 bytes for a comma."""
    tracemalloc.start()
    with pytest.raises(UserError, match="a row has more than 1048576 characters"):
        rows_of(tmp_path, text, most_bytes=1 << 23, most_rows=1 << 22)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


def test_a_field_may_be_a_whole_row(tmp_path):
    text = "1" * ((1 << 20) - 2)
    assert rows_of(tmp_path, f"a\n{text}\n", most_bytes=1 << 21) == [(2, {"a": text})]


def test_columns_that_nobody_wants_take_no_memory(tmp_path):
    text = "a" + ",b" * 200 + "\n" + ("1" + ",xyz" * 200 + "\n") * 1000
    tracemalloc.start()
    rows = rows_of(tmp_path, text, most_rows=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 1000
    assert peak < 3e6


def test_short_rows_of_a_wide_file_take_no_memory(tmp_path):
    """They were filled up to as many fields as the file has columns."""
    text = "a," + ",".join(map(str, range(200))) + "\n" + "1\n" * 50_000
    tracemalloc.start()
    with pytest.raises(UserError, match="line 2 has too few columns"):
        rows_of(tmp_path, text, most_rows=50_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
