"""Kills, and full disks, at every call that changes an output.

    python -m tests.crash.campaign kill 500 full 100

After each: nothing that is there under its own name is half or another than it should be; the same
command again ends well, with the very files of an undisturbed run and nothing besides; and no more
work was done twice than is allowed. One process, all imported, forks the others.
"""

import contextlib
import errno
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.crash.faults import FAIL, KILL, KILLED, TEAR, Faults
from tests.crash.jobs import Work, make_inputs
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import hidden


class Point(NamedTuple):
    """Where a run is disturbed."""

    job: int
    at: int
    mode: int


@contextlib.contextmanager
def in_memory():
    """A temporary folder, in memory if the system has such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


class Campaign:
    """Jobs, what each writes undisturbed, and the points at which each can be disturbed."""

    def __init__(self, folder, make_jobs, done=lambda: 0):
        """`done` gives the units of work that were done, in all processes."""
        self._out = folder / "out"
        self._done = done
        self._faults = Faults()
        self.jobs = make_jobs(folder / "in")
        self._expected, self._units, self.calls = [], [], []
        for job in self.jobs:
            self._clear()
            before, run = self._done(), partial(job.run, self._out)
            self.calls.append(self._faults.calls(run, self._out, job.status))
            if job.is_finished:
                check_order(self.calls[-1])
            self._units.append(self._done() - before)
            self._expected.append(job.results(self._out))

    def points(self, modes):
        """All of them: a write can be torn as well."""
        return [
            Point(number, at, mode)
            for number, calls in enumerate(self.calls)
            for at, call in enumerate(calls, 1)
            for mode in modes
            if mode != TEAR or call.what == "write"
        ]

    def kill(self, point, again=0):
        """Kill at a point, and perhaps at some call of each of the next runs; then go on."""
        job = self.jobs[point.job]
        self._clear()
        before = self._done()
        outcome = self._disturb(point)
        # Two threads write: the last few calls may be one fewer than were listed.
        assert outcome.status in (KILLED, job.status), outcome.told.decode()
        self._check_unfinished(point.job)
        for _ in range(again):
            at = random.randrange(1, len(self.calls[point.job]))
            self._disturb(Point(point.job, at, KILL))
            self._check_unfinished(point.job)
        self._check_resumed(point.job)
        twice = self._done() - before - self._units[point.job]
        assert twice <= job.once_more * (1 + again), f"{twice} units of work were done twice"
        return twice

    def fill(self, point):
        """The disk is full from a point on; there is room, and the job goes on."""
        job = self.jobs[point.job]
        self._clear()
        outcome = self._disturb(point, errno.ENOSPC)
        told = said(outcome)
        *others, last = told or [""]
        assert (outcome.status, bool(last)) in ((1, True), (job.status, False)), outcome
        assert all(re.fullmatch(".* is left out: .*[Nn]o space left.*", line) for line in others)
        if outcome.status == 1:
            assert re.fullmatch("ulmo: .*[Nn]o space left.*", last), told
            left = [path.name for path in hidden(self._out) if path.suffix == ".tmp"]
            assert left == [], f"a clean exit leaves no {left}"
        self._check_unfinished(point.job)
        self._check_resumed(point.job)

    def _disturb(self, point, error=0):
        job, at, mode = point
        run = partial(self.jobs[job].run, self._out)
        return self._faults.run(run, self._out, at=at, mode=mode, error=error)

    def _clear(self):
        shutil.rmtree(self._out, ignore_errors=True)

    def _check_unfinished(self, number):
        """What is there under its own name is what it should be in the end."""
        job, expected = self.jobs[number], self._expected[number]
        if job.is_finished is None:
            return
        found = contents(self._out)
        if self._out.exists() and job.is_finished(self._out):
            missing = expected.keys() - found.keys()
            assert not missing, f"it passes for finished without {missing}"
        for name, content in found.items():
            if any(part.startswith(".") for part in Path(name).parts):
                continue
            is_manifest = name.endswith(("prep.json", "tokenize.json"))
            if is_manifest and not json.loads(content)["complete"]:
                continue
            assert content == expected[name], f"{name} is not what it will be"

    def _check_resumed(self, number):
        job = self.jobs[number]
        outcome = self._faults.run(partial(job.run, self._out))
        assert outcome.status == job.status, outcome.told.decode()
        found, expected = job.results(self._out), self._expected[number]
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        differing = [name for name in found if found[name] != expected[name]]
        assert differing == [], f"{differing} differ"
        folders = {path.name for path in hidden(self._out)}
        assert folders == set(), f"{folders} are left"


def said(outcome):
    """Lines on stderr, without the progress bar and the line of a slow start."""
    lines = outcome.told.decode().split("\n")
    return [line for line in lines if line and not line.startswith(("\r", "loading TensorFlow"))]


def spread(points, count):
    """So many of the points, evenly spread; where there are fewer, all, again and again."""
    if count <= len(points):
        return [points[index * len(points) // count] for index in range(count)]
    return [points[index % len(points)] for index in range(count)]


def check_order(calls):
    """No power cut undoes half of what was done: data, then name, then what speaks of them.

    A file is on the disk before it is moved, and so is each move before a file is moved that says
    that others are complete (JSON, and the tables).
    """
    unsynced, moved = set(), set()
    for call in calls:
        if call.what == "write":
            unsynced.add(call.path)
        elif call.what == "fsync":
            unsynced.discard(call.path)
            moved = {path for path in moved if path.parent != call.path}
        elif call.what == "rename":
            assert call.before not in unsynced, f"{call.before} is moved before it is on the disk"
            if call.path.suffix in (".json", ".parquet"):
                assert not moved, (
                    f"{call.path} is moved before the moves of {moved} are on the disk"
                )
            moved.add(call.path)
        elif call.what in ("unlink", "rmdir"):
            moved.discard(call.path)
    assert not moved, f"the moves of {moved} are not synced"


def run(campaign, what, count):
    """A campaign; its figures. AssertionError, with the point, at the first that goes wrong."""
    random.seed(0)
    began = time.monotonic()
    points = campaign.points([KILL, TEAR] if what == "kill" else [FAIL])
    done, twice = Counter(), Counter()
    for index, point in enumerate(spread(points, count)):
        job = campaign.jobs[point.job].name
        try:
            if what == "kill":
                # Once each was alone, the runs after it are killed as well.
                twice[campaign.kill(point, again=2 * (index >= len(points)))] += 1
            else:
                campaign.fill(point)
        except AssertionError as error:
            call = campaign.calls[point.job][point.at - 1]
            raise AssertionError(f"{job}, {point}, {call}: {error}") from None
        done[job] += 1
    return {
        "points": sum(done.values()),
        "of": len(points),
        "jobs": dict(done),
        "twice": {str(units): number for units, number in sorted(twice.items())},
        "seconds": round(time.monotonic() - began, 1),
    }


def main(*words):
    """Run campaigns, each a kind and a count, and print their figures as JSON."""
    with in_memory() as folder:
        campaign = Campaign(folder, make_inputs, Work().done)
        counts = zip(words[::2], map(int, words[1::2]), strict=True)
        figures = {what: run(campaign, what, count) for what, count in counts}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
