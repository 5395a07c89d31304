"""Reads that give less than there is: nothing hangs, and none is taken for the end of a file.

The system gives fewer bytes than it is asked for, none, or an error, or another program writes to
the file: at each read of a recording in turn.
"""

import errno
import io
import os
from contextlib import suppress
from functools import cache, partial
from unittest import mock

import numpy as np
import pytest

from tests.preprocessing.reading.edited import mpeg_frames, with_total, without_info
from tests.preprocessing.reading.sounds import KINDS, written
from tests.preprocessing.reading.test_contents import ONE_OF_EACH
from ulmo.preprocessing.reading import decoder, flac, headers, mp3, ogg, wav
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.containers import kind_of
from ulmo.preprocessing.reading.pieces import PieceFile, Stretch
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage import plain_file
from ulmo.storage.plain_file import ChangedError, open_file

MOST = 5000  # reads of a file of a few kilobytes: healthy ones take less than 200
ODD = b"LIST\x05\0\0\0INFOx\0" * 3
MORE = [
    *("mp3 without a length", "mp3 with gaps", "flac without a length"),
    *("wav without a length", "joined, behind NULs"),
]


@cache
def content_of(kind):
    match kind:
        case "mp3 without a length":
            return without_info(written("mp3", 9000))[0]
        case "mp3 with gaps":
            frames = mpeg_frames(written("mp3", 9000))[1:]
            return b"".join(b"x" * (number % 4 == 3) + each for number, each in enumerate(frames))
        case "flac without a length":
            return with_total(written("flac", 3000), 0)
        case "wav without a length":
            return written("wav", 3000)[:40] + bytes(4) + written("wav", 3000)[44:] + bytes(600)
        case "joined, behind NULs":
            front = bytes(700) + written("wav", 100) + ODD + written("mp3", 3000)
            return front + written("flac", 300) + written("au", 100) + b"x" * 600
        case _:
            return written(kind, 3000)


class Faulty:
    """Within the block, the system answers reads from one on, counted from 1, by some functions.

    They get a file, a number of bytes, and the function that truly reads; the last one goes on.
    """

    def __init__(self, first=MOST, *answers):
        self.first, self.answers, self.count = first, answers, 0
        self._patch = mock.patch.object(plain_file._Unbuffered, "_read", self._answering())

    def _answering(self):
        real = plain_file._Unbuffered._read

        def read(file, size):
            self.count += 1
            assert self.count <= MOST, "it does not end"
            late = self.count - self.first
            if late < 0:
                return real(file, size)
            return self.answers[min(late, len(self.answers) - 1)](file, size, real)

        return read

    def __enter__(self):
        self._patch.start()
        return self

    def __exit__(self, *_):
        self._patch.stop()


def whole(file, size, read):
    return read(file, size)


def half(file, size, read):
    return read(file, max(size // 2, 1))


def nothing(file, size, read):
    return b""


def error(file, size, read):
    raise OSError(errno.EIO, "Input/output error")


FAULTS = {
    "half": [half],
    "nothing": [nothing],
    "nothing, then all": [nothing, nothing, whole],
    "an error": [error],
    "half, then nothing": [half, nothing],
    "half, nothing, error": [half, nothing, error],
}


def outcome(path):
    """All that is found out of a recording; or why it is refused."""
    try:
        timing = Clock().timing(path)
        with open_recording(path) as recording:
            samples = np.concatenate(list(recording.blocks()))
            return timing._replace(signature=None), recording.facts(), samples.tobytes()
    except RefusedError as refusal:
        return refusal.reason


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", [*ONE_OF_EACH, *MORE])
def test_a_read_that_gives_less_is_no_end_of_the_file(tmp_path, kind, fault):
    path = tmp_path / "x"
    path.write_bytes(content_of(kind))
    with Faulty() as reads:
        due = outcome(path)
    assert len(due) == 3
    assert reads.count < 200
    for first in range(1, reads.count + 1):
        with Faulty(first, *FAULTS[fault]):
            found = outcome(path)
        assert found == due or (found == "unreadable" and fault != "half"), first


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def turn_round(path):
    path.write_bytes(path.read_bytes()[::-1])


def lengthen(path):
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [cut, empty, turn_round, lengthen])
@pytest.mark.parametrize("kind", [*ONE_OF_EACH, *MORE])
def test_a_file_that_another_program_writes_to_has_changed(tmp_path, kind, change):
    content, path = content_of(kind), tmp_path / "x"
    path.write_bytes(content)
    with Faulty() as reads:
        due = outcome(path)
    seen = []

    def changing(file, size, read):
        change(path)
        return read(file, size)

    for first in range(1, reads.count + 1):
        path.write_bytes(content)
        with Faulty(first, changing, whole):
            seen.append(outcome(path))
    assert "changed" in seen
    with Faulty():
        now = outcome(path)  # if it changed before the recording was opened
    assert all(found in ("changed", now, due) for found in seen)


@pytest.mark.parametrize("kind", [*ONE_OF_EACH, *MORE])
def test_no_kind_trusts_the_length_that_it_is_told(kind):
    """A file object that ends before: whatever comes of it, it comes soon."""
    content = content_of(kind)

    class Counted(io.BytesIO):
        count = 0

        def read(self, size=-1):
            self.count += 1
            assert self.count <= MOST, "it does not end"
            return super().read(size)

    splits = [partial(headers.split, kind=name) for name in headers.LAYOUTS]
    for split in (wav.split, flac.split, ogg.split, mp3.split, *splits, kind_of):
        for size in range(50, len(content), len(content) // 7):
            split(Counted(content[:size]), size=len(content))


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_ends_where_a_read_fails(kind, monkeypatch):
    """libsndfile asks again where nothing comes, in the header of CAF for ever."""
    monkeypatch.setattr(decoder, "_READ_BYTES", 1)
    content = written(kind, 3000)
    stretch = [Stretch(0, len(content))]
    number = first = 0
    read = PieceFile._next

    def failing(file, size):
        nonlocal number
        number += 1
        if number > first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(file, size)

    monkeypatch.setattr(PieceFile, "_next", failing)
    while number >= first:
        number, first = 0, first + 1
        with suppress(OSError), decoder.Decoder(io.BytesIO(content), stretch) as opened:
            opened.read(5000)
            assert number <= first
    assert first > 2


class TestOpenFile:
    def test_only_its_end_cuts_a_read_short(self, tmp_path):
        content, path = bytes(range(200)), tmp_path / "x"
        path.write_bytes(content)
        with Faulty(1, half), open_file(path) as file:
            assert [file.read(150), file.read(150)] == [content[:150], content[150:]]
            assert file.read(9) == b""
            file.seek(20)
            assert [file.read(), file.read()] == [content[20:], b""]
            assert file.seek(500) == 500
            assert file.read(9) == b""

    def test_one_that_became_shorter_was_changed(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(bytes(200))
        with open_file(path) as file:
            os.truncate(path, 100)
            assert len(file.read(100)) == 100
            for size in (1, -1):
                with pytest.raises(ChangedError, match="changed while it was read"):
                    file.read(size)

    def test_the_system_that_gives_less_than_there_is_has_failed(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(bytes(200))
        with open_file(path) as file, Faulty(1, half, nothing):
            with pytest.raises(OSError, match="fewer bytes than the file has") as raised:
                file.read(150)
            assert raised.value.errno == errno.EIO
