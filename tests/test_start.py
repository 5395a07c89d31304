"""Ctrl-C in the first second, and limits of the shell: one line, and nothing half done."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.recordings import noise, write
from tests.pipelines.tokenizing import tokenize
from tests.storage.trees import failing
from ulmo.cli import exits
from ulmo.jobs.inputs import input_file
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.storage.walk import walk

ROOT = Path(__file__).parents[1]
INTERRUPTED_AT = """
import os, runpy, signal, sys

class Finder:
    def find_spec(name, *_):
        if name == {module!r}:
            sys.meta_path.remove(Finder)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
runpy.run_module("ulmo", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["click", "ulmo.pipelines.tokenize.tokenize"])
def test_ctrl_c_while_modules_are_imported(module, tmp_path):
    write(tmp_path / "x.wav", noise(600, 0))
    script = INTERRUPTED_AT.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", script, "tokenize", "x.wav", "--out-dir", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (exits.INTERRUPTED, "ulmo: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_an_error_of_the_process_is_none_of_a_recording(
    number, tokenizer_of, tmp_path, monkeypatch
):
    """Too many open files: the job ends and can go on, and no recording is refused for it."""
    write(tmp_path / "in" / "x.wav", noise(600, 0))
    monkeypatch.setattr("ulmo.storage.plain_file.os.open", failing(number))
    monkeypatch.setattr("ulmo.storage.walk.os.scandir", failing(number))

    def open_it():
        with open_recording(tmp_path / "in" / "x.wav"):
            pass

    for read in (lambda: input_file(tmp_path / "in" / "x.wav"), open_it):
        with pytest.raises(OSError, match=os.strerror(number)):
            read()
    with pytest.raises(OSError, match=os.strerror(number)):
        walk(tmp_path / "in")
    monkeypatch.undo()
    assert tokenize(tokenizer_of(), tmp_path / "in")[0].outcome.status == "ok"


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EMFILE, "ulimit -n"), (errno.EFBIG, "ulimit -f")]
)
def test_limits_of_the_shell_have_a_remedy(number, remedy, capsys):
    with pytest.raises(SystemExit) as ended:
        exits.guarded(failing(number))()
    assert ended.value.code == exits.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert remedy in line
