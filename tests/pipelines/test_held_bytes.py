"""What a job holds of a recording: under 200 bytes, however many there are.

The files hold no sound, and `tokenize` does not try to read them: the rest of a job is as always.
"""

import gc
import sys
import tracemalloc
from contextlib import contextmanager
from functools import partial

import pytest

from tests.pipelines.recordings import TINY
from ulmo.jobs.inputs import input_file
from ulmo.jobs.outcome import Tokenized
from ulmo.jobs.spread import HERE
from ulmo.pipelines.prep import job
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize import batch
from ulmo.pipelines.tokenize import tokenize as tokenizing
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files
from ulmo.storage import ledger, packed, tables
from ulmo.storage.names import portable

WARM, FEW, MANY = 100, 750, 1_750  # so many that all that has a bound has reached it
BYTES = 200  # of a recording


@pytest.fixture
def small(monkeypatch):
    """What is held up to some number is held of a few recordings."""
    monkeypatch.setattr(packed, "_PLAIN", 64)
    monkeypatch.setattr(packed, "_BLOCK", 64)
    monkeypatch.setattr(packed, "_IN_MEMORY", 1 << 12)
    for module in (ledger, tables):
        monkeypatch.setattr(module, "BATCH_ROWS", 64)
    for module in (job, batch):
        monkeypatch.setattr(module, "_TOGETHER", 1)
    # Python's table of the names in paths grows by megabytes now and then, whatever it holds.
    monkeypatch.setattr(sys, "intern", str)


@pytest.fixture
def audio(tmp_path):
    """A function that makes a folder of so many files."""

    def make(count):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"site_{number % 7}_clip_{number:06}.wav").write_text(f"none {number}")
        return folder

    return make


@contextmanager
def soon_collected():
    """Garbage in cycles is collected soon, however much the tests before left in this process.

    Python collects old garbage only where it is a quarter of all that is old. What is frozen is not
    old, and the number of it is known after a collection.
    """
    gc.freeze()
    gc.collect()
    thresholds = gc.get_threshold()
    gc.set_threshold(100, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def peak(function, count):
    """The most bytes that Python held, garbage not counted, while so many recordings were done."""
    tracemalloc.start()
    try:
        with soon_collected():
            assert function() == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(tokenizer, options, planned, turn):
    file = input_file(planned.source)
    values = {"path": portable(planned.name), "bytes": file.size, "ends_crc32c": file.ends}
    row = Tokenized(**values, status="refused", reason="not_audio", key=planned.key_of(file))
    return Result(planned.source, [], row)


@pytest.mark.parametrize("command", ["prep", "tokenize"])
def test_a_job_and_the_next_one_hold_little_of_a_recording(
    command, audio, small, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(tokenizing, "tokenize_recording", refused)

    def run(folder, out):
        if command == "prep":
            return prepare(folder, out, TINY).recordings
        nobody = Listener(lambda size: lambda *_: None, lambda result: None)
        options = TokenizeOptions()
        made = tokenize_files(tokenizer, [folder], options, out=out, spread=HERE, listener=nobody)
        return len(made)

    folders = {count: audio(count) for count in (WARM, FEW, MANY)}
    run(folders[WARM], tmp_path / "first")  # what is imported, and kept once
    few, many = (
        [
            peak(partial(run, folders[count], tmp_path / f"out{count}"), count)
            for _ in ("new", "again")
        ]
        for count in (FEW, MANY)
    )
    grown = [(each - less) / (MANY - FEW) for less, each in zip(few, many, strict=True)]
    assert max(grown) < BYTES, grown
