"""Kills and full disks in ulmo-train: in a save, and anywhere in a run.

    python -m tests.crash.training saves 200
    python -m tests.crash.training kill 40
    python -m tests.crash.training full 40
    python -m tests.crash.training stops 8

`stops` kills one run of two threads so often, at any time, and resumes it. TensorFlow is imported
once and used in forked processes alone.
"""

import json
import mmap
import os
import random
import signal
import struct
import sys
import time

from tests.commands import run
from tests.crash import campaign
from tests.crash.campaign import Campaign, in_memory, spread
from tests.crash.faults import COUNT, KILL, KILLED, TEAR, Faults
from tests.crash.jobs import Job
from tests.pipelines.recordings import contents, noise, write
from tests.pipelines.train.forks import Forks
from tests.pipelines.training import BUNDLE
from ulmo.cli.main import ulmo
from ulmo.pipelines.loading import loading_tensorflow

with loading_tensorflow():
    import tensorflow as tf

    from ulmo.pipelines import run_loop
    from ulmo.pipelines.run_files import Checkpoints
    from ulmo.pipelines.train import trainer

assert issubclass(trainer.Trainer, run_loop.RunLoop)
assert run_loop.Checkpoints is Checkpoints  # all is imported before the first process is forked
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # joblib starts no process to count the cores

FLAGS = [
    *("-E", "1", "-D", "1", "--EMB", "2", "--CB", "4", "--width", "2"),
    *("--frequency-stride", "4", "--time-stride", "4", "--epochs", "2", "--batch-size", "8"),
    *("--threads", "1", "--checkpoint-minutes", "1e-6", "--validation-fraction", "0.3"),
]
VARIABLES = 12
KEPT = 2
FILLED = KEPT + 1


class Saves:
    """One folder of checkpoints, in which save after save is killed."""

    def __init__(self, folder):
        self._folder = folder
        self._faults = Faults()
        self._shared = mmap.mmap(-1, 16)

    def run(self, count):
        """Kill so many saves, at each of their calls in turn; how many were not restored."""
        for _ in range(FILLED):  # from then on, a save removes an older one
            calls = self._faults.calls(self._save, self._folder)
        points = [(at, KILL) for at in range(1, len(calls) + 1)]
        points += [(at, TEAR) for at, call in enumerate(calls, 1) if call.what == "write"]
        least, lost, saved = FILLED, 0, 0
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
        kept = Checkpoints(self._folder, keep=KEPT, **{f"v{i}": v for i, v in enumerate(values)})
        if kept.numbers:
            kept.restore()
        found = {int(number) for value in values for number in value.numpy()}
        self._shared[:] = struct.pack("qq", min(found), len(found) == 1)
        for value in values:
            value.assign_add(tf.ones_like(value))
        kept.save()


class Run(Job):
    """A training run of seconds. Its files grow, so only a finished run is compared."""

    def results(self, out):
        """All files but checkpoints and events, which have times; of checkpoints, how many."""
        found = {
            name: content
            for name, content in contents(out).items()
            if not name.startswith(("checkpoints/", "tensorboard/"))
        }
        folders = (out / "checkpoints", out / "checkpoints" / "best")
        return found | {folder.name: len(list(folder.glob("ckpt-*"))) for folder in folders}


def make_tiles(folder):
    """Tiles to train on."""
    tiles = folder / "tiles"
    for seed, name in enumerate("abcdef"):
        write(folder / "audio" / f"{name}.wav", noise(4000, seed))
    plan = ["--frontend", "stft", "-M", "16", "--sample-rate", "4000", "--hop-length", "32"]
    run(ulmo, "prep", folder / "audio", tiles, *plan, "--workers", "1")
    return tiles


def make_job(folder):
    """Tiles, and a run over them."""
    tiles = make_tiles(folder)

    def arguments(out):
        return ["train", tiles, out, *(["--resume"] if (out / "train.json").exists() else FLAGS)]

    return [Run("train", arguments, is_finished=None)]


def stops(folder, count):
    """Kill one run so often; whether it ends in the bytes of a run that was never stopped."""
    tiles, forks = make_tiles(folder), Forks()
    flags = [*FLAGS, "--threads", "2", "--epochs", str(2 * count)]
    forks.start("train", tiles, folder / "whole", *flags)
    assert forks.status() == 0, forks.errors()
    rows, run_dir, steps = 0, folder / "run", []
    for number in range(count):
        process = forks.start("train", tiles, run_dir, *(["--resume"] if number else flags))
        rows, deadline = rows + random.randint(1, 3), time.monotonic() + 120
        log = run_dir / "losses.csv"
        while not log.exists() or log.read_bytes().count(b"\n") <= rows:
            assert time.monotonic() < deadline, forks.errors()
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        assert forks.status() == KILLED
        rows = log.read_bytes().count(b"\n")
        steps.append(rows - 1)
    forks.start("train", tiles, run_dir, "--resume")
    assert forks.status() == 0, forks.errors()
    forks.close()
    names = [f"tokenizer/{name}" for name in BUNDLE] + ["losses.csv", "epochs.csv"]
    same = [
        (run_dir / name).read_bytes() == (folder / "whole" / name).read_bytes() for name in names
    ]
    assert all(same), dict(zip(names, same, strict=True))
    return {"kills": count, "after rows": steps}


def main(what, count):
    """Run a campaign, and print its figures as JSON."""
    with in_memory() as folder:
        if what == "saves":
            figures = Saves(folder / "checkpoints").run(count)
        elif what == "stops":
            figures = stops(folder, count)
        else:
            figures = campaign.run(Campaign(folder, make_job), what, count)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
