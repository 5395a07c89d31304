import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.moves import at_moves
from tests.storage.trees import failing
from ulmo.config import UserError
from ulmo.storage import atomic
from ulmo.storage.atomic import (
    is_left,
    is_of_one_file,
    is_temporary,
    make_folder,
    owner_of,
    publish,
    remove_temporaries,
    short_name,
    sync_folder,
)
from ulmo.storage.lock import lock_path, locked


@pytest.mark.parametrize("old", [b"old", None])
def test_a_file_appears_whole(tmp_path, old):
    """Whoever reads the old file goes on reading it."""
    path, reader = tmp_path / "x.bin", io.BytesIO(b"old")
    if old is not None:
        path.write_bytes(old)
        reader = path.open("rb")
    with publish(path) as file:
        file.write(b"half")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == old
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert is_temporary(temporary)
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]
    assert not is_temporary(path)
    with reader:
        assert reader.read() == b"old"


def fail_after(file, error):
    file.write(b"new")
    raise error


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, old, error):
    path = tmp_path / "x.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), publish(path) as file:
        fail_after(file, error)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_folder_is_needed_and_none_in_the_place_of_the_file(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"), publish(path) as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), publish(tmp_path / "none" / "x.bin"):
        pass
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")


WRITER = """
import sys
from pathlib import Path
from ulmo.storage.atomic import publish
with publish(Path(sys.argv[1])) as file:
    file.write(b"whole")
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that is writing x, until its stdin is closed."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "x")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout.readline() == b"open\n"
        yield job
        job.kill()


def remove_all(folder):
    remove_temporaries(folder, lambda _: True)


def test_what_a_living_process_writes_is_spared(tmp_path, writer):
    (temporary,) = tmp_path.iterdir()
    (tmp_path / ".x.0123.tmp").touch()
    assert not is_left(temporary)
    remove_all(tmp_path)
    assert list(tmp_path.iterdir()) == [temporary]
    writer.communicate(b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x": b"whole"}


def test_what_a_killed_process_wrote_is_removed(tmp_path, writer):
    (temporary,) = tmp_path.iterdir()
    writer.kill()
    writer.wait()
    assert is_left(temporary)
    remove_temporaries(tmp_path, lambda name: name == "y")
    assert temporary.exists()
    remove_temporaries(tmp_path, lambda name: name == "x")
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another job's `remove_temporaries` comes between the opening and the locking."""
    lock, places = atomic.try_lock, []

    def slow(descriptor):
        places.extend(tmp_path.iterdir())
        if len(places) == 1:
            monkeypatch.setattr(atomic, "try_lock", lock)
            remove_all(tmp_path)
            monkeypatch.setattr(atomic, "try_lock", slow)
        return lock(descriptor)

    monkeypatch.setattr(atomic, "try_lock", slow)
    with publish(tmp_path / "x") as file:
        file.write(b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert len(set(places)) == 2


class TestWithoutLocks:
    """A file system that locks no files."""

    @pytest.fixture(autouse=True)
    def refuse(self, monkeypatch):
        monkeypatch.setattr(atomic, "lock_descriptor", failing(errno.ENOLCK))

    def test_a_file_appears_whole(self, tmp_path):
        with publish(tmp_path / "x") as file:
            file.write(b"whole")
            (temporary,) = tmp_path.iterdir()
            remove_all(tmp_path)
        assert not temporary.exists()
        assert (tmp_path / "x").read_bytes() == b"whole"

    def test_what_is_a_day_old_is_removed(self, tmp_path):
        new, old = tmp_path / ".x.1.tmp", tmp_path / ".x.2.tmp"
        new.touch()
        old.touch()
        os.utime(old, (0, 0))
        remove_all(tmp_path)
        assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize("name", ["x", "x" * 255, "\u00e4" * 127, "x" * 240 + ".tokens.npy"])
def test_no_name_is_too_long_and_nobody_guesses_it(tmp_path, name):
    """A link that somebody else put there would lead elsewhere."""
    seen = set()
    for _ in range(2):
        with publish(tmp_path / name) as file:
            temporary = Path(file.name).name
            assert owner_of(temporary) == short_name(name)
            seen.add(temporary.split(".")[-2])
            file.write(b"whole")
        assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(seen) == 2
    assert all(re.fullmatch("[0-9a-f]{24}", token) for token in seen)
    assert len({token[:8] for token in seen}) == 1  # stands for this machine
    assert len({token[8:] for token in seen}) == 2
    with locked(lock_path(tmp_path / name), tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_files_are_closed_before_they_are_moved_on_windows(tmp_path, monkeypatch):
    seen = []

    def watched(move, source, target):
        seen.append(file.closed)
        move()

    monkeypatch.setattr(atomic, "IS_POSIX", False)
    at_moves(monkeypatch, watched)
    with publish(tmp_path / "x") as file:
        file.write(b"whole")
    (tmp_path / ".y.0.tmp").touch()
    remove_all(tmp_path)
    assert seen == [True]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


class TestMakeFolder:
    def test_it_is_made_with_those_above_it(self, tmp_path):
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    def test_a_file_in_its_place_is_one_line(self, tmp_path):
        (tmp_path / "a").touch()
        for folder in (tmp_path / "a", tmp_path / "a" / "b"):
            with pytest.raises(UserError, match=r"cannot make the folder .*: choose another"):
                make_folder(folder, "choose another")

    def test_a_full_disk_is_not_the_users_mistake(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Path, "mkdir", failing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            make_folder(tmp_path / "a")


def test_a_limit_of_the_process_says_something_of_the_next_file():
    """The same error of a disk that takes no such file is of that file alone."""
    resource = pytest.importorskip("resource")
    too_large = OSError(errno.EFBIG, "File too large")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert is_of_one_file(too_large) == (limits[0] == resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, limits[1]))
        assert not is_of_one_file(too_large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
