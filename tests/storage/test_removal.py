"""Folders go with all that is in them, however deep that is."""

import os
from contextlib import contextmanager

import pytest

from tests.storage.trees import failing, make
from ulmo.storage.removal import remove_if_possible, remove_tree


def dig(folder, levels, name="ddd"):
    """Folders within each other; by default deeper than any path reaches."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_at_any_depth(tmp_path):
    make(tmp_path, "in/a", "in/b/c", "in/b/d/e")
    (tmp_path / "in" / "empty").mkdir()
    dig(tmp_path / "in" / "b", 1100)
    remove_tree(tmp_path / "in")
    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path):
    make(tmp_path, "kept/a", "in/b/c")
    for place in ("in", "in/b"):
        (tmp_path / place / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "top").symlink_to(tmp_path / "kept")
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "top")
    remove_tree(tmp_path / "in")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept", "top"]


def test_what_cannot_be_removed(tmp_path, monkeypatch):
    make(tmp_path, "in/b/c")
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "none")
    remove_if_possible(tmp_path / "none")
    monkeypatch.setattr(os, "unlink", failing(13))
    with pytest.raises(PermissionError):
        remove_tree(tmp_path / "in")
    remove_if_possible(tmp_path / "in")
    assert (tmp_path / "in").is_dir()


def test_manifests_go_first(tmp_path, monkeypatch):
    """Whatever the order in which the disk lists them: what a kill leaves is no output."""
    make(tmp_path, "in/tiles/a", "in/prep.json", "in/tiles.parquet", "in/.rows/b", "in/z.json")
    removed, unlink, listed = [], os.unlink, os.scandir

    def noted(name, **how):
        removed.append(name)
        unlink(name, **how)

    @contextmanager
    def folders_first(folder):
        with listed(folder) as entries:
            yield sorted(entries, key=lambda each: not each.is_dir())

    monkeypatch.setattr(os, "scandir", folders_first)
    monkeypatch.setattr(os, "unlink", noted)
    remove_tree(tmp_path / "in")
    assert sorted(removed[:2]) == ["prep.json", "z.json"]
    assert removed[2] == "tiles.parquet"
    assert sorted(removed[3:]) == ["a", "b"]
