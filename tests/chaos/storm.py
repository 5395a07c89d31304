"""Jobs that run at once, and signals to them and to their workers."""

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.crash.forked import become

SIGNALS = ("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "SIGSTOP")
TARGETS = ("parent", "worker", "all")
PATIENCE = 120  # seconds in which every process must end by itself: it hangs else


class Ended(NamedTuple):
    """A job that has ended."""

    name: str
    status: int  # its exit status; the negative signal that ended it
    errors: str  # its stderr


class Running:
    """A job in a session of its own: its workers are in it too, when their parent is gone as well.

    With `cold`, it is a new interpreter, as a user starts it; else a fork of this process.
    """

    def __init__(self, job, words, main, *, cold=False):
        self.name = job.name
        self.was_hit = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it has ended
        command = [sys.executable, "-m", "ulmo", *map(str, words)]
        held = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self.pid = os.fork()
        if self.pid == 0:
            become(lambda: self._run(main, words, command if cold else None), self._errors)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    @staticmethod
    def _run(main, words, command):
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if command:
                os.execv(command[0], command)
            return main(words)
        except KeyboardInterrupt:  # before the command has begun: ulmo/cli/start.py does the same
            os.write(2, b"ulmo: interrupted\n")
            return 130

    def members(self):
        """The living processes of its session."""
        return [pid for pid, session in sessions() if session == self.pid]

    def hit(self, rng, name):
        """Send a signal to the parent, to a worker, or to all; returns how many it reached."""
        target, members = rng.choice(TARGETS), self.members()
        workers = [pid for pid in members if pid != self.pid]
        if target == "worker" and workers:
            members = [rng.choice(workers)]
        elif target == "parent":
            members = [self.pid]
        for pid in members:
            send(pid, signal.Signals[name])
        self.was_hit = True
        return Counter({f"{name} {target if workers else 'parent'}": 1})

    def ended(self):
        """How it ended; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return self._read(status) if pid else None

    def _read(self, status):
        with self._errors:
            self._errors.seek(0)
            errors = self._errors.read().decode(errors="backslashreplace")
        return Ended(self.name, os.waitstatus_to_exitcode(status), errors)


def sessions():
    """Process and session of every living process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # After the name, in brackets: state, parent, group, session.
                state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    yield int(entry.name), int(session)


def send(pid, number):
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wake(pids):
    """Let stopped processes go on."""
    for pid in pids:
        send(pid, signal.SIGCONT)


class Storm:
    """Starts jobs, sends signals, changes inputs, and looks at the outputs meanwhile."""

    def __init__(self, jobs, out, main, changes, look, rng):
        self._jobs, self._out, self._main = jobs, out, main
        self._changes, self._look, self._rng = changes, look, rng
        self._running, self._started, self._stopped = [], [], []
        self.signals, self.ends = Counter(), []
        self.log = []  # what was done, in order: for whoever looks for a cause

    def blow(self, starts, *, at_once=4, cold=0.0):
        """Start so many jobs, a few at once; returns when all of them and their workers ended."""
        begun = time.monotonic()
        while starts or self._running:
            if starts and len(self._running) < at_once:
                self._start(self._rng.choice(self._jobs), cold=self._rng.random() < cold)
                starts -= 1
            self._act()
            self._collect()
            if not starts and time.monotonic() - begun > PATIENCE:
                raise AssertionError(f"{[one.name for one in self._running]} do not end")
            begun = time.monotonic() if starts else begun
            time.sleep(self._rng.uniform(0, 0.06))
        self._await_workers()

    def _start(self, job, *, cold):
        command = job.command(self._out, self._rng.choice([1, 2]))
        job = Running(job, command, self._main, cold=cold)
        self.log.append(f"{job.pid} started: {job.name}{', cold' * cold}, {command[-1]}")
        self._running.append(job)
        self._started.append(job)

    def _act(self):
        choice = self._rng.random()
        if choice < 0.15 and self._running:
            name = self._rng.choice(SIGNALS)
            job = self._rng.choice(self._running)
            reached = job.hit(self._rng, name)
            self.signals.update(reached)
            self.log.append(f"{job.pid} hit: {[*reached]}")
            if name == "SIGSTOP":
                self._stopped.append(job)
        elif choice < 0.35:
            self.log.append(self._changes.one())
        elif choice < 0.45:
            self._look()
        if self._stopped and (choice > 0.8 or len(self._stopped) > 2):
            self._wake(self._stopped.pop(0))

    def _collect(self):
        for job in list(self._running):
            if end := job.ended():
                self.log.append(f"{job.pid} ended: {end.status}")
                self._running.remove(job)
                self.ends.append((end, job.was_hit))
        if len(self._running) == len(self._stopped):
            while self._stopped:
                self._wake(self._stopped.pop())

    def _wake(self, job):
        self.log.append(f"{job.pid} woken")
        wake(job.members())

    def _await_workers(self):
        """Workers whose parent is gone end by themselves; one that was stopped does when woken."""
        begun = time.monotonic()
        while alive := [pid for job in self._started for pid in job.members()]:
            wake(alive)
            if time.monotonic() - begun > PATIENCE:
                raise AssertionError(f"workers {alive} outlive their parents")
            time.sleep(0.02)
        self._started.clear()
