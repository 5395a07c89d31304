"""Files below a folder: each once, in a fixed order, and no trap."""

import os
from pathlib import Path

import pytest

from tests.outputs import touch
from ulmo.config import UserError
from ulmo.storage.walk import Below, walk


def names(found):
    return [path.as_posix() for path in found.files]


def close(folder, monkeypatch):
    """Let a folder be one that nobody may look into, not even root."""
    scandir = os.scandir

    def scan(path):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_files_in_the_order_of_their_bytes(tmp_path):
    touch(tmp_path, "b", "a/z", "a.b", "B", "a/\u00e4", "a/b/c")
    (tmp_path / "empty").mkdir()
    assert names(walk(tmp_path)) == ["B", "a.b", "a/b/c", "a/z", "a/\u00e4", "b"]


def test_links_to_folders_are_not_followed(tmp_path):
    touch(tmp_path, "in/a", "elsewhere/b")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "file").symlink_to(tmp_path / "elsewhere" / "b")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "none")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert names(walk(tmp_path / "in")) == ["a", "file", "nowhere", "pipe", "self"]


def test_what_is_skipped_and_what_is_pruned(tmp_path):
    touch(tmp_path, "a", "parts/b", "x/parts/c", "x/d", "run/settings", "run/deep/e", "settings")
    found = walk(
        tmp_path,
        skip=lambda path: path.name == "parts",
        prune=lambda names: "settings" in names,
    )
    assert names(found) == ["a", "settings", "x/d"]
    assert found.skipped == [Path("parts"), Path("x/parts")]


def test_folders_that_cannot_be_looked_into(tmp_path, monkeypatch):
    touch(tmp_path, "a", "in/b", "in/deep/c")
    close(tmp_path / "in", monkeypatch)
    assert walk(tmp_path) == Below([Path("a")], {Path("in"): "Permission denied"}, [])
    with pytest.raises(UserError, match="in cannot be looked into: Permission denied"):
        walk(tmp_path / "in")
    with pytest.raises(UserError, match="none cannot be looked into: No such file"):
        walk(tmp_path / "none")


@pytest.fixture
def deep(tmp_path):
    """A folder below 1,200 others."""
    folders = [tmp_path / "/".join(["d"] * depth) for depth in range(1, 1201)]
    for folder in folders:
        folder.mkdir()
    yield folders[-1]
    (folders[-1] / "a").unlink()
    for folder in reversed(folders):  # shutil.rmtree recurses
        folder.rmdir()


def test_a_thousand_folders_deep(tmp_path, deep, monkeypatch):
    """Neither does it recurse, nor does it look into a folder twice."""
    (deep / "a").touch()
    scandir, calls = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or scandir(path))
    found = walk(tmp_path)
    monkeypatch.undo()
    assert found.files == [deep.relative_to(tmp_path) / "a"]
    assert len(calls) == 1201
