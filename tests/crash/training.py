"""Kills and full disks in ulmo-train: in a save, and anywhere in a run.

    python -m tests.crash.training saves 200
    python -m tests.crash.training kill 40
    python -m tests.crash.training full 40

TensorFlow is imported once and used in forked processes alone.
"""

import contextlib
import errno
import io
import json
import mmap
import os
import re
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.crash.campaign import MEMORY, contents, hidden, said, spread
from tests.crash.faults import COUNT, FAIL, KILL, KILLED, TEAR, Faults
from tests.crash.jobs import run_quietly
from tests.pipelines.recordings import noise, write
from ulmo.cli.main import ulmo
from ulmo.pipelines.train.train import loading_tensorflow

with loading_tensorflow():
    import tensorflow as tf

    from ulmo.pipelines.train import trainer
    from ulmo.pipelines.train.run_files import Checkpoints

assert trainer.Checkpoints is Checkpoints  # all is imported before the first process is forked
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # joblib starts no process to count the cores

FLAGS = [
    *("-E", "1", "-D", "1", "--EMB", "2", "--CB", "4", "--width", "2"),
    *("--frequency-stride", "4", "--time-stride", "4", "--epochs", "2", "--batch-size", "8"),
    *("--threads", "1", "--checkpoint-minutes", "1e-6", "--validation-fraction", "0.3"),
]
VARIABLES = 12


class Saves:
    """One folder of checkpoints, in which save after save is killed."""

    def __init__(self, folder):
        self._folder = folder
        self._faults = Faults()
        self._shared = mmap.mmap(-1, 16)

    def run(self, count):
        """Kill so many saves, at each of their calls in turn; how many were not restored."""
        calls = self._faults.calls(self._save, self._folder)
        points = [(at, KILL) for at in range(1, len(calls) + 1)]
        points += [(at, TEAR) for at, call in enumerate(calls, 1) if call.what == "write"]
        least, lost, saved = 1, 0, 0
        for at, mode in [*spread(points, count), (0, COUNT)]:
            self._shared[:] = bytes(16)
            outcome = self._faults.run(self._save, self._folder, at=at, mode=mode)
            assert outcome.status in (0, KILLED), outcome.told.decode()
            found, is_one = struct.unpack("qq", self._shared[:])
            lost += not is_one or found not in (least, least + 1)
            saved += found > least
            least = found + (outcome.status == 0)
        return {"kills": count, "points": len(points), "lost": lost, "saved all the same": saved}

    def _save(self):
        """Restore what is there, see that it is one state, and save the next."""
        values = [tf.Variable(tf.zeros(1000, tf.int64)) for _ in range(VARIABLES)]
        kept = Checkpoints(self._folder, keep=2, **{f"v{i}": v for i, v in enumerate(values)})
        if kept.numbers:
            kept.restore()
        found = {int(number) for value in values for number in value.numpy()}
        self._shared[:] = struct.pack("qq", min(found), len(found) == 1)
        for value in values:
            value.assign_add(tf.ones_like(value))
        kept.save()


class Runs:
    """A training run of seconds, and every call that changes its folder."""

    def __init__(self, folder):
        self._tiles, self._out = folder / "tiles", folder / "run"
        for seed, name in enumerate("abcdef"):
            write(folder / "audio" / f"{name}.wav", noise(4000, seed))
        plan = ["--frontend", "stft", "-M", "16", "--sample-rate", "4000", "--hop-length", "32"]
        run_quietly(["prep", folder / "audio", self._tiles, *plan, "--workers", "1"])
        self._faults = Faults()
        self.calls = self._faults.calls(self._train, self._out)
        self._expected = self._results()

    def points(self, modes):
        """All points of some modes."""
        return [
            (at, mode)
            for at, call in enumerate(self.calls, 1)
            for mode in modes
            if mode != TEAR or call.what == "write"
        ]

    def kill(self, at, mode):
        """Kill a run, and go on with it."""
        self._clear()
        outcome = self._faults.run(self._train, self._out, at=at, mode=mode)
        assert outcome.status in (KILLED, 0), outcome.told.decode()
        self._check_resumed()

    def fill(self, at):
        """The disk is full from some call on; there is room, and the run goes on."""
        self._clear()
        outcome = self._faults.run(self._train, self._out, at=at, mode=FAIL, error=errno.ENOSPC)
        told = [line for line in said(outcome) if line != "loading TensorFlow ..."]
        if outcome.status:
            assert outcome.status == 1, outcome.told.decode()
            assert len(told) == 1, told
            assert re.fullmatch("ulmo: .*[Nn]o space left.*", told[0]), told
        self._check_resumed()

    def _train(self):
        more = ["--resume"] if (self._out / "train.json").exists() else FLAGS
        with contextlib.redirect_stdout(io.StringIO()):
            ulmo.main([str(a) for a in ("train", self._tiles, self._out, *more)])

    def _clear(self):
        shutil.rmtree(self._out, ignore_errors=True)

    def _check_resumed(self):
        outcome = self._faults.run(self._train)
        assert outcome.status == 0, outcome.told.decode()
        found = self._results()
        assert found.keys() == self._expected.keys(), found.keys() ^ self._expected.keys()
        differing = [name for name in found if found[name] != self._expected[name]]
        assert differing == [], f"{differing} differ"
        left = [path.name for path in hidden(self._out)]
        assert left == [], f"{left} are left"
        for folder, count in (("checkpoints", 2), ("checkpoints/best", 1)):
            found = list((self._out / folder).glob("ckpt-*"))
            assert len(found) == 3 * count, found

    def _results(self):
        """All files that are the same in every run: not the times in checkpoints and events."""
        found = contents(self._out)
        return {
            name: content
            for name, content in found.items()
            if not name.startswith(("checkpoints/", "tensorboard/"))
        }


def run(what, count):
    """A campaign; its figures."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        if what == "saves":
            return Saves(Path(folder) / "checkpoints").run(count)
        runs, done = Runs(Path(folder)), Counter()
        points = runs.points([KILL, TEAR] if what == "kill" else [FAIL])
        for at, mode in spread(points, count):
            call = runs.calls[at - 1]
            try:
                runs.kill(at, mode) if what == "kill" else runs.fill(at)
            except AssertionError as error:
                raise AssertionError(f"{what} at {at}, {mode}, {call}: {error}") from None
            done[call.what] += 1
    seconds = round(time.monotonic() - began, 1)
    return {"points": count, "of": len(points), "calls": dict(done), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2])), indent=2))
