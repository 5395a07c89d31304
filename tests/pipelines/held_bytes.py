"""Prints the most bytes that Python held in a job of few and of many recordings, and in the next.

    python -m tests.pipelines.held_bytes prep FOLDER

A process of its own: what others did before in a process changes what a job holds there. The files
hold no sound, and `tokenize` does not try to read them: the rest of a job is as always.
"""

import gc
import json
import sys
import tracemalloc
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

from tests.crash.jobs import make_bundle
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
from ulmo.tokenizer import load_tokenizer

WARM, FEW, MANY = 100, 750, 3_000  # so many that all that has a bound has reached it
# What is held up to some number is held of a few recordings.
SMALL = [
    *((packed, "_PLAIN", 64), (packed, "_BLOCK", 64), (packed, "_IN_MEMORY", 1 << 12)),
    *((ledger, "BATCH_ROWS", 64), (tables, "BATCH_ROWS", 64)),
    *((job, "_TOGETHER", 1), (batch, "_TOGETHER", 1)),
    # Python's table of the names in paths grows by megabytes now and then, whatever it holds.
    (sys, "intern", str),
]


def write_files(folder, count):
    """A new folder of so many files."""
    folder.mkdir()
    for number in range(count):
        (folder / f"site_{number % 7}_clip_{number:06}.wav").write_text(f"none {number}")
    return folder


def refused(tokenizer, options, planned, turn):
    """The result of a recording, which is not read."""
    file = input_file(planned.source)
    values = {"path": portable(planned.name), "bytes": file.size, "ends_crc32c": file.ends}
    row = Tokenized(**values, status="refused", reason="not_audio", key=planned.key_of(file))
    return Result(planned.source, [], row)


def peak(function):
    """The most bytes that Python held while a function was called; garbage is collected soon."""
    gc.collect()
    tracemalloc.start()
    function()
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


def main(command, work):
    """Print a list for few recordings, and one for many: bytes of a new job, and of it again."""
    tokenizer = load_tokenizer(make_bundle(work / "bundle"))

    def run(count):
        folder, out = work / str(count), work / f"out{count}"
        if command == "prep":
            assert prepare(folder, out, TINY).recordings == count
            return
        nobody = Listener(lambda size: lambda *_: None, lambda result: None)
        options = TokenizeOptions()
        made = tokenize_files(tokenizer, [folder], options, out=out, spread=HERE, listener=nobody)
        assert len(made) == count

    for count in (WARM, FEW, MANY):
        write_files(work / str(count), count)
    run(WARM)  # what is imported, and kept once
    print(json.dumps([[peak(partial(run, count)) for _ in range(2)] for count in (FEW, MANY)]))


if __name__ == "__main__":
    with ExitStack() as stack:
        for module, name, value in (*SMALL, (tokenizing, "tokenize_recording", refused)):
            stack.enter_context(patch.object(module, name, value))
        gc.set_threshold(100, 2, 2)
        main(sys.argv[1], Path(sys.argv[2]))
