import os
import subprocess
import sys

import pytest

from ulmo.storage.atomic import is_temporary, publish, remove_temporaries, sync_folder


def write_and_raise(path, error):
    with publish(path) as file:
        file.write(b"new")
        raise error


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "x.bin"
    with publish(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert is_temporary(temporary)
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]
    assert not is_temporary(path)


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, old, error):
    path = tmp_path / "x.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error):
        write_and_raise(path, error)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_failed_move_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"), publish(path) as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with publish(path) as file:
            file.write(b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_folder_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError), publish(tmp_path / "none" / "x.bin"):
        pass
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")


def test_what_a_living_process_writes_is_spared(tmp_path):
    """Another job beside this one, and what a killed one left whose number was given anew."""
    code = (
        "import sys; from pathlib import Path; from ulmo.storage.atomic import publish\n"
        "with publish(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        job.stdout.readline()
        live = tmp_path / f".x.{job.pid}.tmp"
        stale = tmp_path / f".y.{job.pid}.tmp"
        stale.touch()
        remove_temporaries(tmp_path, lambda name: True)
        assert live.exists()
        assert not stale.exists()
        live.with_name(".x.0.tmp").touch()
        job.communicate(b"")
    killed = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / f".z.{killed.pid}.tmp").touch()
    remove_temporaries(tmp_path, lambda name: True)
    killed.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
