"""Completion in a shell, as click gives it: commands, options, and names from tables."""

import os
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from ulmo.cli.main import ulmo
from ulmo.cli.prep import prep
from ulmo.cli.tokenize import tokenize
from ulmo.cli.train import train
from ulmo.config import OBJECTIVE_TRAITS, QUANTIZER_TRAITS
from ulmo.formats import FORMATS
from ulmo.formats.events import EVENT_FORMATS
from ulmo.preprocessing.frontends import FRONTENDS


def completed(command, *words):
    """What the shell offers for the last word."""
    shell = ShellComplete(command, {}, "command", "_COMMAND_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("command", "words", "offered"),
    [
        (ulmo, ["ver"], ["verify"]),
        (ulmo, ["tokenize", "--qui"], ["--quiet"]),
        (prep, ["--frontend", ""], list(FRONTENDS)),
        (ulmo, ["show", "x.wav", "--frontend", "a"], ["all"]),
        (tokenize, ["--format", ""], list(FORMATS)),
        (ulmo, ["regions", "--format", ""], list(EVENT_FORMATS)),
        (ulmo, ["repeats", "--format", "ra"], ["raven"]),
        (tokenize, ["--device", "cu"], ["cuda"]),
        (train, ["--quantizer", ""], list(QUANTIZER_TRAITS)),
        (train, ["--objective", ""], list(OBJECTIVE_TRAITS)),
        (train, ["--objective", "reconstruct=1,sim"], ["reconstruct=1,simclr"]),
    ],
)
def test_what_is_offered(command, words, offered):
    assert completed(command, *words) == offered


COMMAND = """#!{python}
from ulmo.cli.main import ulmo
ulmo()
"""
SCRIPT = """
eval "$(_ULMO_COMPLETE=bash_source ulmo)"
COMP_WORDS=(ulmo ins)
COMP_CWORD=1
_ulmo_completion ulmo
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_in_bash_itself(tmp_path):
    """The function that `_ULMO_COMPLETE=bash_source ulmo` prints, called as bash calls it."""
    script = tmp_path / "ulmo"
    script.write_text(COMMAND.format(python=sys.executable))
    script.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "inspect\n", done.stderr
