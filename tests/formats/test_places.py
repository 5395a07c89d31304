"""Where headers lie, and what a folder of tokens holds."""

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.formats.streams import save, some
from ulmo.formats.places import HEADERS, header_path, table_path, tokens_path
from ulmo.formats.publish import output_paths


@pytest.mark.parametrize("name", ["x.tokens", "x", "a/b/x.tokens", "tokens/x.tokens"])
def test_a_header_lies_beside_its_tokens(name, tmp_path):
    """Also in a folder named tokens, if it is not part of an output."""
    stem = tmp_path / name
    assert header_path(stem) == stem.with_name(f"{stem.name}.json")
    assert tokens_path(header_path(stem)) == stem


@pytest.mark.parametrize("name", ["x.tokens", "a/x.tokens", "tokens/x.tokens", "tokens/a/x"])
def test_in_an_output_headers_have_a_folder_of_their_own(name, tmp_path, monkeypatch):
    (tmp_path / HEADERS).mkdir()
    stem = tmp_path / "tokens" / name
    expected = tmp_path / HEADERS / f"{name}.json"
    assert header_path(stem) == expected
    assert tokens_path(expected) == stem
    stem.parent.mkdir(parents=True)
    monkeypatch.chdir(stem.parent)
    assert header_path(Path(stem.name)) == expected


def test_no_sidecar_lies_among_the_tokens(tmp_path):
    """Programs that read a folder take each file in it for a table."""
    (tmp_path / HEADERS).mkdir()
    path = tmp_path / "tokens" / "a" / "x.tokens.parquet"
    path.parent.mkdir(parents=True)
    save(path, "parquet", some((5,)), corpus=True)
    assert [each for each in (tmp_path / "tokens").rglob("*") if each.is_file()] == [path]
    outputs = output_paths(path, "parquet")
    assert outputs.header.is_file()
    assert outputs.vocabulary.parent == outputs.header.parent


NAMES = st.one_of(
    st.binary(min_size=1),
    st.lists(st.sampled_from([*b"_.=:\\$?%35DdFx\xc3\xa9\xff"]), min_size=1).map(bytes),
).map(lambda name: name.replace(b"\0", b"").replace(b"/", b"").strip(b".") or b"x")


@given(parts=st.lists(NAMES, min_size=1, max_size=3))
@example(parts=[b".hidden", b"a::b:::c", b"k=v=w", b"a\\b"])
def test_no_name_of_a_table_means_anything_to_a_reader_and_no_two_are_one(parts):
    names = [os.fsdecode(part) for part in parts]
    found = table_path(Path(*names)).parts
    for name in found:
        name.encode("utf-8", "strict")
        assert not name.startswith(("_", "."))
        assert not any(each in name for each in ("=", "::", "\\", "$", "?"))
    assert [unquote(name, errors="surrogateescape") for name in found] == names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_x", "%5Fx"),
        (".x", "%2Ex"),
        ("channel=7/recording=_x", "channel%3D7/recording%3D_x"),
        ("a::b:c", "a%3A%3Ab:c"),
        ("a\\b", "a%5Cb"),
        ("$HOME.gz?", "%24HOME.gz%3F"),
        ("caf\udce9", "caf%E9"),
        ("%5Fx", "%255Fx"),
    ],
)
def test_what_means_something_to_a_reader_is_percent_encoded(name, expected):
    assert table_path(Path(name)) == Path(expected)


@pytest.mark.parametrize(
    "name",
    [
        "x_1.tokens.csv",
        "a/S_20230501_000000",
        "100%",
        "%s%n",
        "12:30:05",
        "*[a]{b}#",
        "\u9ce5 é\n~",
    ],
)
def test_other_names_stay(name):
    assert table_path(Path(name)) == Path(name)
