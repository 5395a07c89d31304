"""Commands of ulmo, each in a fork of one process that has TensorFlow loaded.

A line of JSON in: the arguments, the fault, the environment, the file for stderr; out comes the
number of the process. Or that number in; out comes its exit status. Arguments that begin with -m
name a module and its arguments, as Python's own do; its output is in the file for stderr, too.
"""

import errno
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.pipelines.training import PIXEL


class Forks:
    """The process that forks, seen from a test."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipelines.train.forks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[3],
        )  # fmt: skip
        self._folder = TemporaryDirectory()
        self._started = 0
        self._last = None

    def start(self, *arguments, fault=None, **environment):
        """Run a command; the number of its process. `fault` is a name of FAULTS."""
        self._started += 1
        self._errors = Path(self._folder.name, str(self._started))
        words = [*map(str, arguments)]
        self._last = self._ask([words, fault, environment, str(self._errors)])
        return self._last

    def status(self, process=None):
        """Wait until it ends: its exit status, or the negative signal that ended it.

        That of the last command, if no process is named.
        """
        return self._ask(process or self._last)

    def _ask(self, question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def errors(self):
        """Lines that the last command wrote to stderr."""
        return self._errors.read_text().splitlines()

    def close(self):
        """End the process."""
        self._folder.cleanup()
        self._process.stdin.close()
        self._process.wait(60)


def _full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wrong(*_, **__):
    raise ValueError("$x^$y is no picture")


FAULTS = {  # places in which something fails, by the name of a fault
    "losses": {"ulmo.storage.csv_log.CsvLog._write": _full},
    "checkpoint": {"ulmo.pipelines.run_files.write_digests": _full},
    "bundle": {
        "ulmo.bundle.folder.publish": _full,
        "ulmo.pipelines.train.trainer.draw_reconstructions": _wrong,
        "ulmo.pipelines.run_files.tf.summary.scalar": _full,
    },
}


def _run(ulmo, arguments, fault, environment, errors):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    os.environ.update(environment)
    for place, failing in FAULTS[fault].items() if fault else ():
        pkgutil.resolve_name(place)  # it fails if there is nothing of that name to replace
        target, _, name = place.rpartition(".")
        setattr(pkgutil.resolve_name(target), name, failing)
    status = 99
    try:
        if arguments[0] == "-m":
            os.dup2(2, 1)
            sys.argv[1:] = arguments[2:]
            runpy.run_module(arguments[1], run_name="__main__")
            status = 0
        else:
            ulmo.main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main():
    """Fork, or wait for a fork, at each line, until there are no more."""
    from ulmo.cli.main import ulmo
    from ulmo.pipelines.loading import loading_tensorflow
    from ulmo.pipelines.train import train

    with loading_tensorflow():
        trainer = import_module("ulmo.pipelines.train.trainer")
    for name in ("sklearn.cluster", "tensorboard.summary"):
        import_module(name)  # once, not in each fork
    trainer.draw_reconstructions = train.draw_losses = lambda *_: PIXEL
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, int):
            _, status = os.waitpid(question, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            _run(ulmo, *question)
        print(child, flush=True)


if __name__ == "__main__":
    main()
