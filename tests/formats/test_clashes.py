"""Outputs that cannot all have their places: folders in their way, and names that are one."""

import os

import pytest

from ulmo.formats.clashes import clashes, merged


@pytest.mark.parametrize(
    ("file_format", "names", "blocked"),
    [
        ("npy", ["a.tokens.npy", "a.tokens.npy/b.tokens.npy"], ["a.tokens.npy"]),
        ("npy", ["a.tokens.npy", "a.tokens.json/c/b.tokens.npy"], ["a.tokens.npy"]),
        ("megatron", ["a.tokens.bin", "a.tokens.idx/b.tokens.bin"], ["a.tokens.bin"]),
        ("npy", ["a.tokens.npy", "a.ch1.tokens.npy/b.tokens.npy"], ["a.tokens.npy"]),
        ("npy", ["a.tokens.npy", "a.tokens.csv/b.tokens.npy", "b/a.tokens.npy"], []),
        ("npy", ["token_headers/a.tokens.npy", "recordings.parquet/a.tokens.npy"], []),
        (
            "npy",
            ["c/token_headers/d/a.tokens.npy", "c/tokens/a.tokens.npy", "c/a.tokens.npy"],
            ["c/token_headers/d/a.tokens.npy"],
        ),
    ],
)
def test_folders_in_the_way(file_format, names, blocked, tmp_path):
    found = clashes(tmp_path, [tmp_path / name for name in names], file_format)
    assert list(found) == [tmp_path / name for name in blocked]
    assert all("rename the one or the other" in words for words in found.values())


PAIRS = ["X.tokens.npy", "x.tokens.npy", "A/y", "a/y", "caf\u00e9", "cafe\u0301", "z", "a/z"]


def test_names_that_the_file_system_tells_apart(tmp_path):
    assert merged(tmp_path, [tmp_path / name for name in PAIRS]) == {}
    assert list(tmp_path.iterdir()) == []


def test_names_that_it_takes_for_one(tmp_path, monkeypatch):
    """As on the disks of Windows and macOS."""

    def is_there(path):
        return path.name.lower() in (each.name.lower() for each in path.parent.iterdir())

    monkeypatch.setattr(os.path, "lexists", is_there)
    assert merged(tmp_path, [tmp_path / name for name in PAIRS]) == {
        tmp_path / "x.tokens.npy": tmp_path / "X.tokens.npy",
        tmp_path / "a/y": tmp_path / "A/y",
    }
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_tried(tmp_path):
    long = "n" * 255
    assert merged(tmp_path / "none", [tmp_path / name for name in PAIRS]) == {}
    assert merged(tmp_path, [tmp_path / f"{long}n", tmp_path / f"{long}N"]) == {}
