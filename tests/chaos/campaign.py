"""Jobs on one output, signals to all of them, and inputs that change meanwhile.

    python -m tests.chaos.campaign --minutes 10 --seed 0

In each round jobs of every kind run at once, several on one output. Parents and workers get random
signals; recordings are written to, replaced, cut, removed and added. Meanwhile whatever can be read
has the ids of the tokenizer that its header names. Then the inputs rest: one run of each job ends
well, with the very files that it writes into an empty folder, `ulmo verify` finds nothing, and
nothing hidden is left.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np

from tests.chaos.changes import Changes
from tests.chaos.jobs import CODES, copy_recordings, make_jobs, make_place
from tests.chaos.storm import Ended, Storm
from tests.crash.campaign import in_memory
from tests.crash.forked import become
from tests.crash.jobs import main
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import hidden
from ulmo.config import UserError
from ulmo.formats.read import read_corpus, readers
from ulmo.tokenizer import load_tokenizer

# How a job may end beside 0 and 3, by its status: the last line on stderr.
LINES = {
    1: ("a worker was killed",),
    2: (
        "is being written by another job",
        "is unfinished",
        r"holds no \*\.tokens",
        "no recordings",
        "overlap",
        "is neither a (file|folder)",
    ),
    130: ("interrupted",),
}

FOLDERS = {"npy", "parquet", "csv"}
SPOILING = r"\((\S+?)\.tokens\.\w+ cannot be written: it also describes"


class Chaos:
    """A folder, the jobs in it, and what must be true of it after each round."""

    def __init__(self, folder, rng, kinds=None, recordings=6):
        self._folder, self._out, self._rng = folder, folder / "out", rng
        self._place = make_place(folder / "in", self._out, recordings)
        self._codes = {
            load_tokenizer(path).manifest.fingerprint: codes
            for path, codes in self._place.tokenizers
        }
        self._jobs, *self._beside = make_jobs(self._place)
        if kinds:
            self._jobs = [job for job in self._jobs if job.name in kinds]
        self.figures = Counter()

    def round(self, starts):
        """A storm, and then calm."""
        changes = Changes(self._place.inputs, self._rng)
        jobs = [*self._jobs, *chain(*self._beside)]
        storm = Storm(jobs, self._out, main, changes, self._look, self._rng)
        self.log = storm.log
        storm.blow(starts)
        changes.rest()
        self.figures += storm.signals
        self.figures.update({f"change {name}": n for name, n in changes.counts.items()})
        self.figures.update({"rounds": 1, "jobs": starts, "signals": storm.signals.total()})
        for end, was_hit in storm.ends:
            check_end(end, was_hit=was_hit)
            self.figures[f"status {end.status}"] += 1
        self._look()
        self._check_calm()

    def _check_calm(self):
        """One run of each job, alone, and in an order in which none needs what is not there yet."""
        fresh = self._folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        copy_recordings(self._place.beside, fresh / "beside")
        remove_orphans(self._place.beside, self._place.beside)
        first, second = self._beside
        for job in self._jobs:
            finish(job, self._out)
            for folder in FOLDERS & {job.name}:
                remove_orphans(self._out / folder, self._place.audio)
        self._take_over(first)
        for job in [*self._jobs, *first]:
            finish(job, fresh)
        found, expected = contents(self._out), contents(fresh)
        names = found.keys() | expected.keys()
        differing = {name for name in names if found.get(name) != expected.get(name)}
        assert not differing, f"{sorted(differing)} differ from a fresh run"
        self.figures["files compared"] += len(found)
        self._check_clean()
        for job in second:
            finish(job, self._out)
        self._look()
        self._check_clean()

    def _take_over(self, jobs):
        """Tokens beside recordings are those of these jobs now.

        A file is not replaced while its header is that of another format's file, which has other
        tokens: then the user is told to choose, and deletes them.
        """
        for _ in range(2):
            ends = [finish(job, self._out) for job in jobs]
            spoiling = set(re.findall(SPOILING, "".join(end.errors for end in ends)))
            for stem in spoiling:
                for path in self._place.beside.glob(f"{stem}.tokens.*"):
                    path.unlink()
            if not spoiling:
                return
        raise AssertionError(f"they are refused still: {ends}")

    def _check_clean(self):
        assert hidden(self._out) == []
        for path in sorted(self._out.iterdir()):
            end = run_alone(lambda path=path: main(["verify", path]), f"verify {path.name}")
            assert end.status == 0, end

    def _look(self):
        """Whatever can be read is what its header says."""
        end = run_alone(self._check_readable, "look")
        assert end.status == 0, end.errors
        self.figures["looks"] += 1

    def _check_readable(self):
        for folder, _, names in os.walk(self._out):  # which does not mind what vanishes
            for path in (Path(folder, name) for name in names):
                if ".tokens." in path.name and path.suffix in readers() and path.name[0] != ".":
                    with suppress(UserError, FileNotFoundError):
                        for header, ids in read_corpus(path):
                            check_ids(path, ids, header, self._codes[header.fingerprint])


def finish(job, out):
    """Run a job that nothing disturbs; how it ended."""
    end = run_alone(lambda: main(job.command(out, 1)), job.name)
    assert end.status in (0, 3), end
    assert "Traceback" not in end.errors, end
    return end


def remove_orphans(folder, recordings):
    """Delete tokens whose recording is gone, as a user does: `ulmo verify` names them."""
    names = {path.stem for path in recordings.glob("*.wav")}
    for path in folder.rglob("*.tokens.*"):
        if path.name.partition(".")[0] not in names:
            path.unlink()


def check_ids(path, ids, header, codes):
    """Every id is one that the header's tokenizer may give, or a special one."""
    wrong = set(np.unique(ids).tolist()) - {*codes, *range(CODES, header.vocabulary.size)}
    assert not wrong, f"{path}: its header names a tokenizer that gives no {wrong}"


def check_end(end, *, was_hit):
    """A job ended in a way that is foreseen, and without a traceback."""
    if end.status == -signal.SIGINT and "/ulmo/" not in end.errors:
        return  # in Python's own start
    assert "Traceback" not in end.errors, end
    if end.status in (0, 3):
        return
    if end.status < 0:
        assert was_hit, end
        return
    last = (end.errors.splitlines() or [""])[-1]
    assert any(re.search(words, last) for words in LINES.get(end.status, ())), end


def run_alone(function, name):
    """Run a function in a fork, to its end."""
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            become(function, errors)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        errors.seek(0)
        return Ended(name, status, errors.read().decode(errors="backslashreplace"))


def run(minutes, seed, starts, kinds=None, rounds=None):
    """Rounds for so many minutes, or so many rounds; their figures.

    `kinds` names the jobs with outputs of their own; all of them without it.
    """
    begun, number = time.monotonic(), 0
    with in_memory() as folder:
        chaos = Chaos(folder, random.Random(seed), kinds)
        while number < rounds if rounds else time.monotonic() - begun < 60 * minutes:
            try:
                chaos.round(starts)
            except BaseException as error:
                error.add_note("\n".join(chaos.log))
                error.add_note(f"round {number} of seed {seed}; so far {dict(chaos.figures)}")
                if kept := os.environ.get("KEEP"):
                    shutil.copytree(folder, f"{kept}/{seed}")
                raise
            number += 1
    figures = chaos.figures
    figures["kills"] = sum(count for name, count in figures.items() if name.startswith("SIGKILL"))
    return {**dict(sorted(figures.items())), "seconds": round(time.monotonic() - begun)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=40, help="jobs started in a round")
    parser.add_argument("--rounds", type=int, help="so many rounds, whatever the time")
    parser.add_argument(
        "--kinds", nargs="*", help="jobs beside those with tokens beside recordings"
    )
    print(json.dumps(run(**vars(parser.parse_args())), indent=2))
