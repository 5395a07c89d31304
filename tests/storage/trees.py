"""Folders and errors that tests need: files by name, a closed folder, calls that fail."""

import os


def make(folder, *names):
    """Make empty files below a folder; their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def close(folder, monkeypatch):
    """Let a folder be one that nobody may look into, not even root."""
    scandir = os.scandir

    def scan(path):
        if not isinstance(path, int) and os.fspath(path) == os.fspath(folder):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def failing(number):
    """A function that raises the OSError of a number."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail
