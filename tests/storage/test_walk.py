"""Files below a folder: each once, in a fixed order, and no trap."""

import inspect
import os
import sys
from pathlib import Path

import pytest

from tests.storage.trees import close, make
from ulmo.config import UserError
from ulmo.storage.walk import Below, walk


def names(found):
    return [path.as_posix() for path in found.files]


def test_files_in_the_order_of_their_bytes(tmp_path):
    make(tmp_path, "b", "a/z", "a.b", "B", "a/\u00e4", "a/b/c")
    (tmp_path / "empty").mkdir()
    assert names(walk(tmp_path)) == ["B", "a.b", "a/b/c", "a/z", "a/\u00e4", "b"]


def test_links_to_folders_are_not_followed(tmp_path):
    make(tmp_path, "in/a", "elsewhere/b")
    targets = {"loop": ".", "folder": "../elsewhere", "file": "../elsewhere/b"}
    for name, target in {**targets, "nowhere": "none", "self": "self"}.items():
        (tmp_path / "in" / name).symlink_to(target)
    os.mkfifo(tmp_path / "in" / "pipe")
    found = walk(tmp_path / "in")
    assert names(found) == ["a", "file", "nowhere", "pipe", "self"]
    assert found.links == [Path("folder"), Path("loop")]


def test_what_is_skipped_and_what_is_pruned(tmp_path):
    make(tmp_path, "a", "parts/b", "x/parts/c", "x/d", "run/settings", "run/deep/e", "settings")
    found = walk(
        tmp_path,
        skip=lambda path: path.name == "parts",
        prune=lambda names: "settings" in names,
    )
    assert names(found) == ["a", "settings", "x/d"]
    assert found.skipped == [Path("parts"), Path("x/parts")]


def test_folders_that_cannot_be_looked_into(tmp_path, monkeypatch):
    make(tmp_path, "a", "in/b", "in/deep/c")
    close(tmp_path / "in", monkeypatch)
    assert walk(tmp_path) == Below([Path("a")], {Path("in"): "Permission denied"}, [], [])
    with pytest.raises(UserError, match="in cannot be looked into: Permission denied"):
        walk(tmp_path / "in")
    with pytest.raises(UserError, match="none cannot be looked into: No such file"):
        walk(tmp_path / "none")


def test_folders_may_lie_deeper_than_calls(tmp_path, monkeypatch):
    """Neither does it recurse, nor does it look into a folder twice."""
    make(tmp_path, "d/" * 200 + "a")
    scandir, calls = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or scandir(path))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert names(walk(tmp_path)) == ["d/" * 200 + "a"]
    finally:
        sys.setrecursionlimit(limit)
    assert len(calls) == 201
