"""Recordings below a folder: each name once, in a fixed order, and no trap."""

import os

import pytest

from tests.storage.trees import close, make
from ulmo.jobs.inputs import find_recordings
from ulmo.preprocessing.audio import RefusedError, open_recording


def found(folder, **options):
    return [path.as_posix() for path in find_recordings(folder, **options)]


def test_by_suffix_in_the_order_of_their_bytes(tmp_path):
    make(tmp_path, "b.wav", "a/z.flac", "a.WAV", "a/b/c.Mp3", "B.ogg", "a/ä.wav", "Z/x.aif")
    make(tmp_path, "a.txt", "wav", ".wav", "a/x.wav.bak", "a/y.npy")
    assert found(tmp_path) == [
        *("B.ogg", "Z/x.aif", "a.WAV", "a/b/c.Mp3", "a/z.flac", "a/ä.wav", "b.wav")
    ]


def test_what_cannot_be_read_is_a_recording_too(tmp_path, monkeypatch):
    """Nobody waits for a pipe that nothing is written to."""
    make(tmp_path, "folder.wav/a.wav", "in/b.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, target in {"link": "pipe", "none": "nothing", "self": "self"}.items():
        (tmp_path / f"{name}.wav").symlink_to(f"{target}.wav")
    close(tmp_path / "in", monkeypatch)
    odd = ["in", "link.wav", "none.wav", "pipe.wav", "self.wav"]
    assert found(tmp_path) == ["folder.wav/a.wav", *odd]
    for name in (*odd[:2], *odd[3:], "folder.wav"):
        with pytest.raises(RefusedError) as error, open_recording(tmp_path / name):
            pass
        assert error.value.reason == "unreadable"


def test_a_folder_is_left_out(tmp_path):
    make(tmp_path, "a.wav", "out/b.wav", "out/tiles/c.wav", "x/out/d.wav")
    roundabout = tmp_path / "x" / ".."
    for folder, skip in ((tmp_path, tmp_path), (tmp_path, roundabout), (roundabout, tmp_path)):
        assert found(folder, skip=skip / "out") == ["a.wav", "x/out/d.wav"]
    assert len(found(tmp_path, skip=tmp_path / "none")) == 4
