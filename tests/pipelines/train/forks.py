"""Commands of ulmo, each in a fork of one process that has TensorFlow loaded.

A line of JSON in: the arguments. Two lines out: the number of the process, and its exit status.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

from tests.pipelines.training import PIXEL


class Forks:
    """The process that forks, seen from a test."""

    def __init__(self):
        environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipelines.train.forks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=Path(__file__).parents[3],
        )  # fmt: skip

    def start(self, *arguments):
        """Run a command; the number of its process."""
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def status(self):
        """Wait until it ends: its exit status, or the negative signal that ended it."""
        return int(self._process.stdout.readline())

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(60)


def _run(ulmo, arguments):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    status = 99
    try:
        ulmo.main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    finally:
        os._exit(status)


def main():
    """Fork for each line, until there are no more."""
    from ulmo.cli.main import ulmo
    from ulmo.pipelines.train.train import loading_tensorflow

    with loading_tensorflow():
        import_module("ulmo.pipelines.train.trainer")
    Figure.savefig = lambda figure, file, **_: file.write(PIXEL)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(ulmo, json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
