"""Kills of drivers, workers and schedulers of Dask at random moments, so many of them.

    python -m tests.crash.cluster 1000

`prep` and `tokenize` write to a folder, and to a store (an S3 server of this process), by the
workers of a cluster. Each is killed in some runs; then the same command ends well, with the bytes
of a run without Dask and nothing besides. A kill counts if the command was at work.
"""

import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

from tests.commands import TINY, run
from tests.crash.campaign import in_memory
from tests.crash.jobs import make_bundle
from tests.jobs.clusters import ROOT, running
from tests.pipelines.recordings import RATE, contents, noise, write
from tests.stores import open_store, s3_server
from ulmo.cli.main import ulmo
from ulmo.pipelines.prep import job as prep_job
from ulmo.storage.remote_output import STAGING

RECORDINGS = 12
FILES = 2  # of a job of prep
RUNS = 3  # of a command in which something is killed
PARTIAL = 3  # the status of all runs: one of the files is no recording
SECONDS = 300  # that a command may take
# What is killed in a run, in this order. A recording that is lost with three workers is refused.
PLANS = [
    *(["driver"], ["scheduler"], ["worker", "driver"], ["both workers", "driver"]),
    *(["worker", "both workers"], ["worker", "worker", "driver"], ["both workers", "scheduler"]),
]
# A command with jobs so small that there are several.
COMMAND = f"""
from ulmo.cli.main import ulmo
from ulmo.pipelines.prep import job
job._JOB_FILES = {FILES}
ulmo()
"""


class Job(NamedTuple):
    """A command over the recordings, and what it writes."""

    words: list[str]
    record: str  # that says whether all is there
    in_store: bool
    expected: dict[str, bytes]

    @property
    def name(self):
        return f"{self.words[0]}, {'store' if self.in_store else 'folder'}"


class Place:
    """Where the command of a round writes: in a folder or in a store, by way of `staging`."""

    def __init__(self, folder, store, job):
        self._folder, self._store = folder, store
        self._in_store = job.in_store
        self.staging = folder / "staging"
        self.out = str(store.at(folder.name)) if job.in_store else str(folder / "out")

    def found(self):
        return self._store.contents(self._folder.name) if self._in_store else self._files("out")

    def _files(self, name):
        return contents(self._folder / name)

    def left(self):
        """What is in the staging folder."""
        return self._files("staging")

    def remove(self):
        """Remove the folder of the round."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def arrays(self):
        """The number of files of tokens or tiles on this machine, while they come and go."""
        return sum(name.endswith(".npy") for *_, names in os.walk(self._folder) for name in names)


class Kills:
    """Rounds of one command each, on one cluster."""

    def __init__(self, folder, cluster, store, seed=0):
        self._folder, self._cluster, self._store = folder, cluster, store
        self._rng = random.Random(seed)
        self._jobs = make_jobs(folder)
        self.kills, self.rounds, self.statuses = Counter(), Counter(), Counter()

    def round(self):
        """Kill what one command needs, in several runs of it; then let it end."""
        number = self.rounds.total()
        job = self._jobs[number % len(self._jobs)]
        place = Place(self._folder / f"round {number}", self._store, job)
        for _ in range(RUNS):
            self._disturb(job, place)
            found = place.found()
            complete = json.loads(found.get(job.record, b"{}")).get("complete")
            assert not complete or found.items() >= job.expected.items(), "it only says complete"
        process = self._start(job, place)
        said = ended(process)
        assert process.returncode == PARTIAL, said
        assert differing(place.found(), job.expected) == []
        assert place.left() == {}
        self.rounds[job.name] += 1
        place.remove()

    def _start(self, job, place):
        command = [sys.executable, "-c", COMMAND, *job.words, place.out]
        more = {"PYTHONPATH": str(ROOT), "DASK_SCHEDULER_ADDRESS": self._cluster.address}
        more[STAGING] = str(place.staging)
        return subprocess.Popen(
            command,
            env={**os.environ, **more},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _disturb(self, job, place):
        """One run, and up to three kills in it: fewer than make a recording a hopeless one."""
        rng, killed = self._rng, set()
        process = self._start(job, place)
        wanted = place.arrays() + rng.randrange(RECORDINGS // 2)
        until = time.monotonic() + 10
        while process.poll() is None and place.arrays() < wanted and time.monotonic() < until:
            time.sleep(0.002)
        for victim in rng.choice(PLANS):
            time.sleep(rng.random() / 5)
            if process.poll() is None:
                self.kills[victim] += 1
                killed.add(victim)
                self._kill(victim, process)
        said = ended(process)
        allowed = {PARTIAL} | ({-9} if "driver" in killed else set())
        allowed |= {1, 2} if "scheduler" in killed else set()
        assert process.returncode in allowed, (killed, process.returncode, said)
        assert "Traceback" not in said, said
        self.statuses[process.returncode] += 1

    def _kill(self, victim, process):
        if victim == "driver":
            process.kill()
        elif victim == "scheduler":
            self._cluster.restart()
        else:
            for _ in range(1 if victim == "worker" else 2):
                self._cluster.kill_worker()
                self._cluster.start_worker()


def ended(process):
    """What a command said until it ended; TimeoutExpired if that takes too long."""
    try:
        return process.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def differing(found, expected):
    """The names of files that are in one of them alone, or differ."""
    names = found.keys() | expected.keys()
    return sorted(name for name in names if found.get(name) != expected.get(name))


def make_jobs(folder):
    """Recordings, and the commands with what each writes by a run in this process."""
    audio = folder / "audio"
    for number in range(RECORDINGS):
        write(audio / f"{number:02}.wav", noise(RATE * 10, number))
    (audio / "text.wav").write_text("this is no sound")
    tokenizer = str(make_bundle(folder / "bundle"))
    tokenize = ["tokenize", str(audio), "--tokenizer", tokenizer, "--out-dir"]
    commands = {"tokenize.json": tokenize, "prep.json": ["prep", *TINY[:-2], str(audio)]}
    jobs = []
    for record, words in commands.items():
        out = folder / "expected" / words[0]
        with patch.object(prep_job, "_JOB_FILES", FILES):
            assert run(ulmo, *words, out, "--workers", 1).exit_code == PARTIAL
        jobs += [Job(words, record, in_store, contents(out)) for in_store in (False, True)]
    return jobs


@contextmanager
def kills(seed=0):
    """Kills on a cluster of two workers."""
    with in_memory() as folder, s3_server():
        (folder / "cluster").mkdir()
        with running(folder / "cluster") as cluster:
            yield Kills(folder, cluster, open_store("s3"), seed)


def main(count, seed=0):
    """Kill so often, or a few times more, and print the figures as JSON."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the store's log of requests
    began = time.monotonic()
    with kills(seed) as campaign:
        while campaign.kills.total() < count:
            campaign.round()
    figures = {
        "kills": campaign.kills.total(),
        "of": campaign.kills,
        "rounds": campaign.rounds,
        "statuses": {str(status): number for status, number in campaign.statuses.items()},
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
