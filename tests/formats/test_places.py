"""Where headers lie, and what a folder of tokens holds."""

from pathlib import Path

import pytest

from tests.formats.streams import save, some
from ulmo.formats.places import HEADERS, header_path, tokens_path
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
