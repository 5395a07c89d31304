"""ulmo where Python lacks what Windows lacks: in every process, its workers too."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from tests.pipelines.recordings import HOP, RATE, SIZE, noise, write
from ulmo.config import PrepSettings

# Python imports this module at its start, and so does every worker.
SITE = """
import os, signal, sys

sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["termios"] = None
for name in (
    *("kill", "killpg", "getpgid", "getuid", "geteuid", "fchmod", "pread", "pwrite", "mkfifo"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_DIRECTORY"),
):
    delattr(os, name)
del signal.pthread_sigmask
"""
EVERYTHING = """
import importlib, pkgutil, sys
import ulmo
names = [each.name for each in pkgutil.walk_packages(ulmo.__path__, "ulmo.")]
for name in names:
    if name != "ulmo.__main__":
        importlib.import_module(name)
assert len(names) > 100 and "ulmo.storage.lock" in names
"""
COMMANDS = """
import json, sys
from ulmo.cli.main import ulmo

if __name__ == "__main__":
    for arguments in json.loads(sys.argv[1]) or [[name, "--help"] for name in ulmo.commands]:
        try:
            ulmo.main(arguments)
        except SystemExit as ended:
            assert ended.code == 0, (arguments, ended.code)
        print("ended", arguments[0])
"""


@pytest.fixture
def run(tmp_path):
    """Run a script in such a Python, and return its output."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join([str(site), str(Path(__file__).parents[1])])

    def run(script, *arguments):
        (site / "script.py").write_text(script)
        command = [sys.executable, "-W", "ignore:only soft", site / "script.py", *arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_module_is_imported(tmp_path):
    """In a fork, in which other packages are loaded already: TensorFlow takes seconds."""
    errors = tmp_path / "errors"
    if (child := os.fork()) == 0:
        try:
            exec(SITE)
            for name in [name for name in sys.modules if name.partition(".")[0] == "ulmo"]:
                del sys.modules[name]
            exec(EVERYTHING, {})
        except BaseException:
            errors.write_text(traceback.format_exc())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert not errors.exists(), errors.read_text()


def test_every_command_has_its_help(run):
    output = run(COMMANDS, "[]")
    assert output.count("Usage: ") == output.count("ended ") > 7


def test_recordings_become_tiles_and_tokens(run, make_bundle, tmp_path):
    plan = {"frontend": "stft", "tile_size": SIZE, "sample_rate": RATE, "hop_length": HOP}
    bundle = make_bundle(tmp_path / "bundle", PrepSettings(**plan, normalization="tile"))
    for seed in range(3):
        write(tmp_path / "audio" / f"{seed}.wav", noise(RATE, seed))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in plan.items()]
    audio, tiles, tokens, out = (str(tmp_path / name) for name in ("audio", "tiles", "tokens", "c"))
    commands = [
        ["prep", audio, tiles, *flags, "--workers", "2"],
        ["tokenize", audio, "--out-dir", tokens, "--tokenizer", str(bundle), "--workers", "2"],
        ["convert", tokens, "--format", "raven", "--out", out],
        *(["verify", place] for place in (tiles, tokens, str(bundle))),
    ]
    output = run(COMMANDS, json.dumps(commands))
    assert [line.split()[1] for line in output.splitlines() if line.startswith("ended ")] == [
        *("prep", "tokenize", "convert", "verify", "verify", "verify")
    ]
    assert output.count("all is well") == 3
    assert not list(tmp_path.rglob("*.lock"))
    assert not list(tmp_path.rglob("*.tmp"))
