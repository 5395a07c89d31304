"""Commands of ulmo, each in a fork of one process that has TensorFlow loaded.

A line of JSON in: the arguments, the fault, the file for stderr. Two lines out: the number of the
process, and its exit status.
"""

import errno
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

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
        descriptor, self._errors = tempfile.mkstemp()
        os.close(descriptor)

    def start(self, *arguments, fault=None):
        """Run a command; the number of its process. `fault` is a name of FAULTS."""
        line = json.dumps([[*map(str, arguments)], fault, self._errors])
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def status(self):
        """Wait until it ends: its exit status, or the negative signal that ended it."""
        return int(self._process.stdout.readline())

    def errors(self):
        """Lines that the last command wrote to stderr."""
        return Path(self._errors).read_text().splitlines()

    def close(self):
        """End the process."""
        Path(self._errors).unlink()
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
        "ulmo.bundle.place.publish": _full,
        "ulmo.pipelines.train.trainer.draw_reconstructions": _wrong,
        "ulmo.pipelines.run_files.tf.summary.scalar": _full,
    },
}


def _run(ulmo, arguments, fault, errors):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_TRUNC), 2)
    for place, failing in FAULTS[fault].items() if fault else ():
        target, _, name = place.rpartition(".")
        setattr(pkgutil.resolve_name(target), name, failing)
    status = 99
    try:
        ulmo.main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main():
    """Fork for each line, until there are no more."""
    from ulmo.cli.main import ulmo
    from ulmo.pipelines.loading import loading_tensorflow
    from ulmo.pipelines.train import train

    with loading_tensorflow():
        trainer = import_module("ulmo.pipelines.train.trainer")
    trainer.draw_reconstructions = train.draw_losses = lambda *_: PIXEL
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(ulmo, *json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
