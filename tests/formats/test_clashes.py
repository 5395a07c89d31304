"""Outputs that cannot all have their places: folders in their way, and names that are one."""

import unicodedata
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from ulmo.formats import clashes as clashes_module
from ulmo.formats.clashes import clashes, merged
from ulmo.storage.probe import is_left_probe, probe_folder


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


@pytest.fixture
def fold(monkeypatch):
    """Let names be one if a function gives the same of them; a list of the files it opens."""

    def imitate(folded):
        created, create, read = [], clashes_module.create_file, Path.read_bytes

        def create_file(path):
            created.append(path.name)
            return create(path.with_name(folded(path.name)))

        monkeypatch.setattr(clashes_module, "create_file", create_file)
        monkeypatch.setattr(
            Path, "read_bytes", lambda path: read(path.with_name(folded(path.name)))
        )
        return created

    return imitate


def test_names_that_it_takes_for_one(fold, tmp_path):
    """As on the disks of Windows."""
    fold(str.lower)
    assert merged(tmp_path, [tmp_path / name for name in PAIRS]) == {
        tmp_path / "x.tokens.npy": tmp_path / "X.tokens.npy",
        tmp_path / "a/y": tmp_path / "A/y",
    }
    assert list(tmp_path.iterdir()) == []


def test_letters_and_accents_that_are_one_but_not_in_another_case(fold, tmp_path):
    """As on some disks of macOS; two of one group are taken apart, and two for one."""
    fold(partial(unicodedata.normalize, "NFC"))
    names = ["CAF\u00c9", "caf\u00e9", "CAFE\u0301", "cafe\u0301", "Cafe\u0301"]
    assert merged(tmp_path, [tmp_path / name for name in names]) == {
        tmp_path / names[2]: tmp_path / names[0],
        tmp_path / names[3]: tmp_path / names[1],
    }


@pytest.mark.parametrize("folded", [str, str.lower])
def test_each_name_is_tried_once(folded, fold, tmp_path):
    """However many are alike: none is compared with all others."""
    spellings = ["".join(each) for each in product(*zip("abcdef", "ABCDEF", strict=True))]
    targets = [tmp_path / first / name for name in spellings for first in ("x", "X")]
    created = fold(folded)
    found = merged(tmp_path, targets)
    assert sorted(created) == sorted([*spellings, "x", "X"])
    assert found == ({} if folded is str else dict.fromkeys(targets[1:], targets[0]))


def test_where_nothing_can_be_tried(tmp_path):
    long = "n" * 255
    assert merged(tmp_path / "none", [tmp_path / name for name in PAIRS]) == {}
    assert merged(tmp_path, [tmp_path / f"{long}n", tmp_path / f"{long}N"]) == {}


def test_what_a_killed_job_left_is_removed_and_what_a_living_one_uses_stays(tmp_path):
    left = tmp_path / f".ulmo-names.{'0a' * 12}.tmp"
    left.mkdir()
    (left / "X.tokens.npy").write_bytes(b"")
    mine = tmp_path / ".names.tmp"
    mine.mkdir()
    with probe_folder(tmp_path) as used:
        assert not is_left_probe(used)
        assert is_left_probe(left)
        assert merged(tmp_path, [tmp_path / "a"]) == {}
        assert sorted(tmp_path.iterdir()) == sorted([mine, used])
    assert list(tmp_path.iterdir()) == [mine]
