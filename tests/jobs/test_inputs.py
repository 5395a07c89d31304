"""Recordings below a folder: each name once, in a fixed order, no trap, and nothing unnoticed."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.trees import close, make
from ulmo.config import UserError
from ulmo.jobs.inputs import find_recordings, left_out_words, list_inputs
from ulmo.preprocessing.reading.audio import RefusedError, open_recording


def found(folder, **options):
    return [path.as_posix() for path in find_recordings(folder, **options)]


def test_by_suffix_in_the_order_of_their_bytes(tmp_path):
    make(tmp_path, "b.wav", "a/z.flac", "a.WAV", "a/b/c.Mp3", "B.ogg", "a/ä.wav", "Z/x.aif")
    make(tmp_path, "a.txt", "wav", ".wav", "a/x.wav.bak", "a/y.npy", "a/harp.x.wav", "a/radio.bwf")
    assert found(tmp_path) == [
        *("B.ogg", "Z/x.aif", "a.WAV", "a/b/c.Mp3", "a/harp.x.wav", "a/radio.bwf", "a/z.flac"),
        *("a/ä.wav", "b.wav"),
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


HIDDEN = (
    *(".Trash-1000", ".Trashes", ".Spotlight-V100", ".fseventsd", ".TemporaryItems", ".cache"),
    *("$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "System Volume Information", "lost+found"),
    *("@eaDir", "#recycle", "__MACOSX"),
)


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_folders_and_those_of_the_system(name, tmp_path, monkeypatch):
    """Not even looked into: the system often forbids it. The user may still name one."""
    make(tmp_path, f"{name}/deleted.wav", f"card/{name}/501/files/x.flac", "card/a.wav")
    assert found(tmp_path / name) == ["deleted.wav"]
    assert found(tmp_path / "card" / name) == ["501/files/x.flac"]
    assert found(tmp_path) == ["card/a.wav"]
    close(tmp_path / name, monkeypatch)
    assert found(tmp_path) == ["card/a.wav"]


def test_hidden_files_are_no_recordings(tmp_path):
    make(tmp_path, "._a.wav", "a.wav", "card/._b.flac", "card/.b.flac", "card/b.flac", "._c.m4a")
    left_out = Counter()
    assert found(tmp_path, left_out=left_out) == ["a.wav", "card/b.flac"]
    assert left_out == {}


UNREAD = {".wac": ".wac", ".SUD": ".sud", ".M4A": ".m4a", ".zc": ".zc", ".05#": ".zc"}


@given(counts=st.dictionaries(st.sampled_from(sorted(UNREAD)), st.integers(1, 3)))
def test_each_file_of_sound_that_is_not_read_is_counted(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    make(folder, "a.wav", "notes.txt", "picture.jpg")
    make(folder, *(f"{n}/x{suffix}" for suffix, count in counts.items() for n in range(count)))
    left_out = Counter()
    assert found(folder, left_out=left_out) == ["a.wav"]
    expected = Counter()
    for suffix, count in counts.items():
        expected[UNREAD[suffix]] += count
    assert left_out == expected
    if counts:
        words = left_out_words(left_out)
        assert all(f"{count} {kind}" in words for kind, count in expected.items())
        assert "\n" not in words


def test_a_folder_of_sound_that_is_not_read_says_so(tmp_path):
    make(tmp_path, "a.wac", "b.wac", "c.sud", "d.MP4", "e.00#")
    with pytest.raises(UserError) as error:
        list_inputs(tmp_path, tmp_path / "out")
    assert str(error.value) == (
        f"no recordings below {tmp_path} (.wav, .flac, .ogg and others); it has 2 .wac, 1 .mp4, "
        "1 .sud, 1 .zc: ulmo reads none of these; convert .wac by Kaleidoscope or wac2wav, .mp4 by "
        "ffmpeg, .sud by SoundTrap Host, to WAV or FLAC; .zc has zero crossings, but no samples"
    )
