"""A process that is killed, or whose disk is full, at the n-th call that changes a folder.

fault.c says how. It needs a C compiler, and Linux on a processor that it knows.
"""

import ctypes
import gc
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.crash.forked import become

SOURCE = Path(__file__).with_name("fault.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
WHY_NOT = "needs a C compiler, and Linux with seccomp"
COUNT, KILL, TEAR, FAIL, READ = range(5)
KILLED = -signal.SIGKILL


class Plan(ctypes.Structure):
    """Shared with the process that it happens to."""

    _fields_ = (
        ("count", ctypes.c_long),
        ("at", ctypes.c_long),
        ("mode", ctypes.c_long),
        ("error", ctypes.c_long),
        ("log", ctypes.c_long),
        ("folder", ctypes.c_char * 4000),
    )


class Outcome(NamedTuple):
    """What became of a process."""

    status: int  # its exit status; the negative signal that ended it
    calls: int  # that changed the folder
    told: bytes  # its stderr


class Call(NamedTuple):
    """One call that changes a folder, or a file in it."""

    what: str
    path: Path
    before: Path  # its name before a rename


def build(folder):
    """Compile fault.c into a folder."""
    library = folder / "fault.so"
    command = [COMPILER, "-O2", "-shared", "-fPIC", "-o", library, SOURCE]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(library))


class Faults:
    """Runs functions in processes that are forked from this one."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            self._library = build(Path(folder))
        self._shared = mmap.mmap(-1, ctypes.sizeof(Plan))
        self._plan = Plan.from_buffer(self._shared)

    def run(self, function, folder=None, *, at=0, mode=COUNT, error=0, log=-1):
        """Run a function; with a folder, count what changes it, and let call `at` go wrong.

        With READ, count what reads it.
        """
        plan = self._plan
        plan.count, plan.at, plan.mode, plan.error, plan.log = 0, at, mode, error, log
        plan.folder = os.fsencode(folder or "")
        with tempfile.TemporaryFile() as errors:
            gc.freeze()
            child = os.fork()
            if child == 0:
                gc.disable()  # so that fewer pages are copied
                self._child(function, folder, errors)
            _, status = os.waitpid(child, 0)
            errors.seek(0)
            return Outcome(os.waitstatus_to_exitcode(status), plan.count, errors.read())

    def calls(self, function, folder, status=0):
        """Run a function undisturbed to its exit status, and list its calls."""
        with tempfile.TemporaryFile() as log:
            outcome = self.run(function, folder, log=log.fileno())
            assert outcome.status == status, outcome.told.decode()
            log.seek(0)
            lines = (os.fsdecode(line).split("\t") for line in log.read().splitlines())
            return [Call(what, Path(path), Path(before)) for what, path, before in lines]

    def _child(self, function, folder, errors):
        def disturbed():
            if folder is not None:
                assert self._library.install(ctypes.byref(self._plan)) == 0
            return function()

        become(disturbed, errors)


def can_run():
    """True where processes can be disturbed in this way."""
    if COMPILER is None or sys.platform != "linux":
        return False
    try:
        return Faults().run(lambda: 0, "/nowhere").status == 0
    except (OSError, subprocess.CalledProcessError):
        return False
