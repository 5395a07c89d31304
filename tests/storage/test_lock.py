"""Two jobs on one output, and what a killed one leaves."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.trees import failing
from ulmo.config import UserError
from ulmo.storage import lock
from ulmo.storage.lock import lock_path, locked, refuse_held

OUT = Path("out")
HOLDER = """
import errno, sys, time
from pathlib import Path
from ulmo.storage import lock

def refuse(*_, **__):
    raise OSError(errno.ENOLCK, "No locks available")

if sys.argv[2] == "soft":
    lock.lock_descriptor = refuse
with lock.locked(Path(sys.argv[1]), Path("out")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lock"


@pytest.fixture
def start(path):
    """Start a process that holds the lock."""
    started = []

    def start(kind="kernel"):
        command = [sys.executable, "-c", HOLDER, path, kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(params=["kernel", "soft"])
def kind(request, monkeypatch):
    """A file system that locks files, and one that does not."""
    if request.param == "soft":
        monkeypatch.setattr(lock, "lock_descriptor", failing(errno.ENOLCK))
    return request.param


def refused(path, text):
    """`locked` raises UserError with one line of this text, within a moment."""
    began = time.monotonic()
    with pytest.raises(UserError, match=text) as refusal, locked(path, OUT):
        pass
    assert time.monotonic() - began < 2
    assert "\n" not in str(refusal.value)


class TestEither:
    def test_the_second_job_says_who_holds_it_and_changes_nothing(self, path, kind, start):
        refuse_held(path, OUT)
        assert not path.exists()
        holder = start(kind)
        text = rf"^out is being written by another job \(process {holder.pid}"
        before = (path.read_bytes(), path.stat())
        with pytest.raises(UserError, match=text):
            refuse_held(path, OUT)
        assert (path.read_bytes(), path.stat()) == before
        refused(path, text)
        assert path.read_bytes() == before[0]

    def test_what_a_killed_job_left_is_no_lock(self, path, kind, start):
        holder = start(kind)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert path.exists()
        with locked(path, path):
            assert str(os.getpid()) in path.read_text()
        assert not path.exists()

    def test_it_is_gone_in_the_end_whatever_came(self, path, kind):
        with pytest.raises(ZeroDivisionError), locked(path, path):
            _ = 1 / 0
        with locked(path, path):
            assert path.exists()
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("none")])
    def test_what_is_no_file_is_in_the_way(self, path, kind, make):
        make(path)
        refused(path, "is in the way, and is not a lock of ulmo: remove it")
        assert not path.with_name("none").exists()


def test_the_holder_is_named_with_its_time_and_its_machine(path, start, monkeypatch):
    holder = start()
    with pytest.raises(UserError, match=rf"{holder.pid}, since 20\d\d-.* UTC\): wait for its"):
        refuse_held(path, path)
    assert json.loads(path.read_text())["pid"] == holder.pid
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(UserError, match=r"process \d+ on '.*', since .* job is gone, remove"):
        refuse_held(path, path)


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b' {"host":"a","pid":'])
def test_what_a_killed_job_has_half_written_is_no_lock(path, content):
    path.write_bytes(content)
    refuse_held(path, path)
    with locked(path, path):
        path.write_bytes(content)
        with pytest.raises(UserError, match="written by another job: wait for its end, or choose"):
            refuse_held(path, path)


def test_a_soft_lock_of_another_machine_is_believed(path, start, monkeypatch):
    start("soft").kill()
    time.sleep(0.1)
    path.write_text(path.read_text().replace("host=", "host=not-"))
    monkeypatch.setattr(lock, "lock_descriptor", failing(errno.ENOSYS))
    refused(path, "if that job is gone, remove")


def test_a_lock_that_was_just_removed_is_not_taken_for_one(path, monkeypatch):
    """Its holder removes the file between the second job's opening and its locking."""
    real, opened = fcntl.flock, []

    def flock(descriptor, how):
        if path.exists():
            opened.append(os.fstat(descriptor).st_ino)
        if len(opened) == 1:
            path.unlink()
            path.touch()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, path):
        assert path.stat().st_ino == opened[1] != opened[0]


def test_errors_of_the_disk_are_not_locks(path, monkeypatch):
    monkeypatch.setattr(lock, "lock_descriptor", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), locked(path, path):
        pass
    path.touch()
    refuse_held(path, path)
    monkeypatch.setattr(lock, "TemporaryFile", failing(errno.EACCES))
    refused(path, "let yourself write there")


def test_the_lock_of_a_file_lies_hidden_beside_it(tmp_path):
    assert lock_path(tmp_path / "t.tokens.npy") == tmp_path / ".t.tokens.npy.lock"


JOB = """
import sys, time
from pathlib import Path
from ulmo.jobs.spread import Spread
from ulmo.storage.lock import locked
if __name__ == "__main__":
    with locked(Path(sys.argv[1]), Path("out")), Spread(2).open(2, lambda *_: None) as pool:
        assert dict(pool.each(len, ["a", "b"])) == {"a": 1, "b": 1}
        print("held", *(worker._process.pid for worker in pool._alive), flush=True)
        time.sleep(600)
"""


def lives(pid):
    """Whether a process is there, and has not ended."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_workers_do_not_keep_it(path):
    """A job with workers is killed; its lock is free though a worker may live on for a moment.

    On Linux the kernel ends them, though they are stopped: none goes on when it is woken.
    """
    file = path.with_name("job.py")
    file.write_text(JOB)
    process = subprocess.Popen([sys.executable, file, path], stdout=subprocess.PIPE)
    workers = [int(pid) for pid in process.stdout.readline().split()[1:]]
    assert len(workers) >= 1
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # so that they cannot end with their parent
    process.kill()
    process.wait()
    try:
        with locked(path, path):
            pass
        limit = time.monotonic() + 20
        while sys.platform == "linux" and any(map(lives, workers)):
            assert time.monotonic() < limit, f"{workers} outlive their parent"
            time.sleep(0.01)
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
