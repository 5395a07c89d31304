"""Two jobs on one output, and what a killed one leaves."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ulmo.config import UserError
from ulmo.storage import lock
from ulmo.storage.lock import Owner, lock_path, locked, refuse_held

HOLDER = """
import sys, time
from pathlib import Path
from ulmo.pipelines.lock import locked
with locked(Path(sys.argv[1]), Path("out")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lock"


@pytest.fixture
def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=[False, True], ids=["flock", "no flock"])
def mode(request, monkeypatch):
    """A file system with flock, and one without."""
    if request.param:

        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)


def owned(path, **changes):
    path.write_text(Owner.me().model_copy(update=changes).model_dump_json())


@pytest.mark.usefixtures("mode")
class TestEither:
    def test_the_second_is_told_in_one_line_who_holds_it(self, path, holder):
        began = time.monotonic()
        with (
            pytest.raises(UserError, match="written by another job") as refusal,
            locked(path, path),
        ):
            pass
        assert str(refusal.value).startswith(f"{path} is being")
        assert time.monotonic() - began < 1
        assert f"(process {holder.pid}, since 20" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert json.loads(path.read_text())["pid"] == holder.pid

    def test_what_a_killed_job_left_is_no_lock(self, path, holder):
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert path.exists()
        with locked(path, path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
        assert not path.exists()

    def test_it_is_gone_in_the_end_whatever_came(self, path):
        with pytest.raises(ZeroDivisionError), locked(path, path):
            _ = 1 / 0
        with locked(path, path):
            assert path.exists()
        assert not path.exists()

    def test_a_link_in_its_place_is_not_followed(self, path, tmp_path):
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UserError, match="in the way of the lock"), locked(path, path):
            pass
        assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_was_just_removed_is_not_taken_for_one(path, monkeypatch):
    """Its holder removes the file between the second job's opening and its locking."""
    real, opened = fcntl.flock, []

    def flock(descriptor, how):
        opened.append(os.fstat(descriptor).st_ino)
        if len(opened) == 1:
            path.unlink()
            path.touch()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, path):
        assert path.stat().st_ino == opened[1] != opened[0]


class TestWithoutFlock:
    @pytest.fixture(autouse=True)
    def refuse(self, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", refuse)

    @pytest.mark.parametrize(
        "changes",
        [{"boot": "another"}, {"started": "1"}, {"pid": 2**22 + 1, "started": ""}],
        ids=["machine started anew", "number given again", "process gone"],
    )
    def test_stale(self, path, changes):
        owned(path, **changes)
        with locked(path, path):
            pass
        assert not path.exists()

    def test_another_machine_cannot_be_asked(self, path):
        owned(path, host="elsewhere", pid=2**22 + 1)
        before = path.read_bytes()
        words = r"on 'elsewhere', since .* job is gone, remove"
        with pytest.raises(UserError, match=words), locked(path, path):
            pass
        assert path.read_bytes() == before

    def test_a_file_without_an_owner_is_believed_for_a_minute(self, path):
        path.touch()
        with pytest.raises(UserError, match="written by another job: wait"), locked(path, path):
            pass
        os.utime(path, (time.time() - 2 * lock.UNSIGNED_SECONDS,) * 2)
        with locked(path, path):
            pass


def test_an_error_that_is_no_lock_is_told(path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"), locked(path, path):
        pass


def test_the_lock_of_a_file_lies_hidden_beside_it(tmp_path):
    assert lock_path(tmp_path / "t.tokens.npy") == tmp_path / ".t.tokens.npy.lock"


def test_workers_do_not_keep_it(path):
    """A job with workers is killed; its lock is free though a worker may live on for a moment."""
    script = HOLDER.replace(
        'print("held", flush=True)\n    time.sleep(600)',
        "from ulmo.jobs.executor import Pool\n"
        "    with Pool(2, lambda *_: None) as pool:\n"
        "        for pids in pool.map(len, ['a', 'b']): pass\n"
        '        print("held", *pool._executor._processes, flush=True)\n'
        "        time.sleep(600)",
    )
    file = path.with_name("job.py")
    head, _, body = script.partition("with locked")
    lines = ("with locked" + body).splitlines()
    file.write_text(head + 'if __name__ == "__main__":\n' + "".join(f"    {x}\n" for x in lines))
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
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("none")])
def test_what_is_no_file_is_in_the_way(path, make):
    make(path)
    with (
        pytest.raises(UserError, match="is in the way of the lock, and no file: remove it"),
        locked(path, Path("out")),
    ):
        pass


def test_who_holds_it_is_told_and_nothing_is_made(path, holder):
    with pytest.raises(UserError, match=rf"out is being written by .*process {holder.pid},"):
        refuse_held(path, Path("out"))
    assert path.exists()


def test_where_nobody_holds_it(path):
    refuse_held(path, Path("out"))
    assert not path.exists()
    path.touch()
    refuse_held(path, Path("out"))


def test_where_nothing_can_be_written_is_one_line(path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UserError, match="let yourself write there"), locked(path, path):
        pass
