import errno
import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

import ulmo
from ulmo.config import UserError
from ulmo.storage import plain_file
from ulmo.storage.plain_file import (
    _Unbuffered,
    check_length,
    lexists,
    open_plain,
    read_bounded,
    read_hashed,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def read(path, content=b"content"):
    return read_hashed(path, len(content), sha256(content).hexdigest(), remedy="copy")


@pytest.mark.parametrize("content", [b"content", b"", bytes(range(100))])
def test_what_is_there_is_read(path, content, monkeypatch):
    monkeypatch.setattr(plain_file, "_BLOCK", 3)
    path.write_bytes(content)
    assert read_bounded(path, len(content), remedy="copy") == read(path, content) == content
    check_length(path, len(content), remedy="copy")


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (lambda path: read_bounded(path, 6, remedy="copy"), "is larger than 6 bytes: copy"),
        (lambda path: check_length(path, 6, remedy="copy"), "has 7 bytes, not 6: copy"),
        (lambda path: read(path, b"Content"), "is not the file .*: copy"),
        (lambda path: read(path, b"conten"), "has 7 bytes, not 6: copy"),
        (lambda path: read(path, b"content."), "has 7 bytes, not 8: copy"),
        (lambda path: read(path.with_name("other")), "other is missing: copy"),
        (lambda path: read(path / "below"), r"cannot be read \(Not a directory\): copy"),
        (lambda path: read(path.parent), "is no plain file: copy"),
    ],
)
def test_what_is_refused(attempt, text, path):
    with pytest.raises(UserError, match=text):
        attempt(path)


def test_a_pipe_with_a_writer_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    timer = threading.Timer(60, os._exit, (1,))
    timer.start()
    with pytest.raises(UserError, match="no plain file"):
        read(tmp_path / "pipe")
    timer.cancel()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_takes_the_files_place_meanwhile_is_refused(kind, path, monkeypatch):
    """Between the look and the opening."""
    original, before = os.lstat, os.lstat(path)
    other = path.rename(path.with_name("other"))
    path.symlink_to(other) if kind == "link" else os.mkfifo(path)
    monkeypatch.setattr(os, "lstat", lambda name: before if name == path else original(name))
    with (
        pytest.raises(UserError, match=r"cannot be read|no plain file"),
        open_plain(path, remedy="copy"),
    ):
        pass


def test_a_file_that_has_nothing_to_give_yet_is_an_error_and_no_none():
    """As /proc/kmsg, which is a plain file by its mode: Python's own reader gives None."""
    end, other = os.pipe()
    os.set_blocking(end, False)
    with _Unbuffered(end) as file:
        os.write(other, b"ab")
        assert file.read(1) == b"a"
        assert file.read() == b"b"
        for size in (-1, 1, None):
            with pytest.raises(BlockingIOError, match="belongs to the kernel"):
                file.read(size)
    os.close(other)


@pytest.mark.parametrize("name", ["nothing", "x/below", "n" * 300, "a\0b"])
def test_nothing_is_there(name, tmp_path):
    (tmp_path / "x").touch()
    assert not lexists(tmp_path / name)


def test_a_link_is_there_wherever_it_leads(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert lexists(tmp_path / "link")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_what_cannot_be_looked_at_may_be_there(number, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        lexists(tmp_path / "x")


def test_no_other_function_says_whether_something_is_there():
    """`os.path.lexists` is False for any error."""
    sources = Path(ulmo.__file__).parent.rglob("*.py")
    calls = [path.name for path in sources if "os.path.lexists(" in path.read_text("utf-8")]
    assert calls == []
