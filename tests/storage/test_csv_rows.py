"""Rows of CSV files, whose size bounds what reading them takes."""

import tracemalloc

import pytest

from ulmo.config import UserError
from ulmo.storage.csv_rows import read_csv_rows

BOUNDS = {"most_bytes": 1 << 20, "most_rows": 5}


def rows_of(folder, text, columns=("a",), **bounds):
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return read_csv_rows(path, columns, **(BOUNDS | bounds))


def test_rows_are_by_column_and_further_fields_are_left_out(tmp_path):
    text = '\ufeffa,b\r\n1,"x, ""y"""\r\n\r\n2,z,more\r\n'
    assert rows_of(tmp_path, text) == [{"a": "1", "b": 'x, "y"'}, {"a": "2", "b": "z"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("b\n1\n", "has no column 'a': it has b"),
        ("", "has no column 'a': it has none"),
        ("a,b\n1\n", "line 2 has too few columns"),
        ("a\n" + "1\n" * 6, "cannot be read as CSV: it has more than 5 rows"),
        ("a" + ",b" * 256, "cannot be read as CSV: it has more than 256 columns"),
        ("a\n" + "1" * (1 << 20), "cannot be read as CSV: it has more than 1048576 bytes"),
    ],
)
def test_what_is_refused(text, words, tmp_path):
    with pytest.raises(UserError, match=words) as refused:
        rows_of(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_short_rows_of_a_wide_file_take_no_memory(tmp_path):
    """They were filled up to as many fields as the file has columns."""
    text = "a," + ",".join(map(str, range(200))) + "\n" + "1\n" * 50_000
    tracemalloc.start()
    with pytest.raises(UserError, match="line 2 has too few columns"):
        rows_of(tmp_path, text, most_rows=50_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
