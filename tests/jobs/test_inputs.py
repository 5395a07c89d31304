"""Recordings below a folder: each name once, in a fixed order, and no trap."""

import os

import pytest

from tests.outputs import touch
from ulmo.config import UserError
from ulmo.jobs.inputs import find_recordings
from ulmo.preprocessing.audio import RefusedError, open_recording


def refusal(path):
    with pytest.raises(RefusedError) as error, open_recording(path):
        pass
    return error.value.reason


def found(folder, **options):
    return [path.as_posix() for path in find_recordings(folder, **options)]


def test_by_suffix_in_the_order_of_their_bytes(tmp_path):
    touch(tmp_path, "b.wav", "a/z.flac", "a.WAV", "a/b/c.Mp3", "B.ogg", "a/ä.wav", "Z/x.aif")
    touch(tmp_path, "a.txt", "wav", ".wav", "a/x.wav.bak", "a/y.npy")
    assert found(tmp_path) == [
        *("B.ogg", "Z/x.aif", "a.WAV", "a/b/c.Mp3", "a/z.flac", "a/ä.wav", "b.wav")
    ]


def test_odd_names(tmp_path):
    odd = [os.fsdecode(name) for name in (b"caf\xe9.wav", b" .wav", b"a\nb.wav", b"-x.wav")]
    touch(tmp_path, *odd)
    assert sorted(map(os.fsencode, found(tmp_path))) == sorted(map(os.fsencode, odd))


def test_links(tmp_path):
    touch(tmp_path, "in/a.wav", "elsewhere/b.wav")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "folder.wav").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "file.wav").symlink_to(tmp_path / "elsewhere" / "b.wav")
    (tmp_path / "in" / "nowhere.wav").symlink_to(tmp_path / "none")
    (tmp_path / "in" / "self.wav").symlink_to(tmp_path / "in" / "self.wav")
    assert found(tmp_path / "in") == ["a.wav", "file.wav", "nowhere.wav", "self.wav"]
    assert refusal(tmp_path / "in" / "self.wav") == "unreadable"


def test_pipes_are_recordings_that_cannot_be_read(tmp_path):
    """Nobody waits for a pipe that nothing is written to."""
    touch(tmp_path, "folder.wav/a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    assert found(tmp_path) == ["folder.wav/a.wav", "link.wav", "pipe.wav"]
    assert refusal(tmp_path / "pipe.wav") == refusal(tmp_path / "link.wav") == "unreadable"
    assert refusal(tmp_path / "folder.wav") == "unreadable"


def locked(place, monkeypatch):
    """Let a folder be one that nobody may look into, not even root."""
    scandir = os.scandir

    def scan(path):
        if not isinstance(path, int) and os.fspath(path) == os.fspath(place):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path, monkeypatch):
    touch(tmp_path, "a.wav", "in/b.wav", "in/deep/c.wav", "z.wav")
    locked(tmp_path / "in", monkeypatch)
    assert found(tmp_path) == ["a.wav", "in", "z.wav"]
    assert refusal(tmp_path / "in") == "unreadable"
    locked(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="cannot be looked into: Permission denied"):
        found(tmp_path)


def test_a_folder_is_left_out(tmp_path):
    touch(tmp_path, "a.wav", "out/b.wav", "out/tiles/c.wav", "x/out/d.wav")
    assert found(tmp_path, skip=tmp_path / "out") == ["a.wav", "x/out/d.wav"]
    assert found(tmp_path, skip=tmp_path / "x" / ".." / "out") == ["a.wav", "x/out/d.wav"]
    assert len(found(tmp_path, skip=tmp_path / "none")) == 4
    roundabout = tmp_path / "x" / ".."
    assert found(roundabout, skip=tmp_path / "out") == ["a.wav", "x/out/d.wav"]
