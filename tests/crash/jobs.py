"""Small jobs of every command that can go on after a kill: what they write, and what it costs."""

import contextlib
import json
import mmap
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tests.bundles import write_small_bundle
from tests.commands import run
from tests.pipelines.recordings import HOP, PLAN, RATE, SIZE, contents, noise, write
from ulmo.cli.main import ulmo
from ulmo.config import PrepSettings
from ulmo.jobs import executor as pool
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.tokenize import tokenize
from ulmo.preprocessing import store

PREP = [
    *("--frontend", "stft", "-M", str(SIZE), "--sample-rate", str(RATE), "--hop-length", str(HOP)),
    *("--workers", "1"),
]
ONE = ("--workers", "1", "--threads", "1")


class Job(NamedTuple):
    """A command that writes an output."""

    name: str
    arguments: Callable[[Path], list]  # of the command, for a folder that it writes to or into
    # What a reader would take for finished, seen from the files; None if files grow in place.
    is_finished: Callable[[Path], bool] | None
    shard_tiles: int = 256
    status: int = 0  # of an undisturbed run
    once_more: int = 1  # units of work that a kill may have done twice: a few recordings, or one

    def run(self, out):
        """Run the command in this process, which ends with its exit status."""
        store.SHARD_TILES, prep_job._JOB_FILES = self.shard_tiles, 2
        main(self.arguments(out))

    def results(self, out):
        """What every run leaves in the end, the same to the byte."""
        return contents(out)


class Work:
    """Counts units of work in the processes that are forked after it was made, for good."""

    def __init__(self):
        self._shared = mmap.mmap(-1, 8)
        pool.threadpool_limits = contextlib.nullcontext  # 20 ms a run, and nothing to do with files
        prep_job.build_frontend = self._counted(prep_job.build_frontend)
        tokenize.tokenize_recording = self._counted(tokenize.tokenize_recording)

    def done(self):
        return struct.unpack("q", self._shared[:])[0]

    def _counted(self, function):
        def counted(*arguments):
            self._shared[:] = struct.pack("q", self.done() + 1)
            return function(*arguments)

        return counted


def make_inputs(folder):
    """Recordings, a bundle and tokens; the jobs over them."""
    for seed, name in enumerate(["a.wav", "b/a.wav", "d.wav"]):
        write(folder / "audio" / name, noise(1500 + 1700 * seed, seed))
    (folder / "audio" / "b" / "empty.wav").touch()
    write(folder / "few" / "a.wav", noise(1500, 1))
    write(folder / "few" / "b" / "stereo.wav", noise(1500, 2, channels=2))
    write(folder / "few" / "c.wav", noise(2500, 3))
    for seconds in (0, 2, 5):
        time = datetime(2023, 5, 1) + timedelta(seconds=seconds)
        write(folder / "line" / f"R_{time:%Y%m%d_%H%M%S}.wav", noise(RATE, seconds))
    bundle = make_bundle(folder / "bundle")
    tokens = folder / "tokens"
    run(ulmo, "tokenize", folder / "few", "--out-dir", tokens, "--tokenizer", bundle)
    return [*_prep(folder / "audio"), *_tokenize(folder, bundle), *_convert(tokens)]


def main(arguments):
    """Run a command in this process, which ends with its exit status."""
    ulmo.main([str(argument) for argument in arguments])


def make_bundle(folder, seed=0):
    """A tokenizer of random weights."""
    return write_small_bundle(folder, PrepSettings(**PLAN, normalization="tile"), seed=seed)


def is_complete(pattern):
    """Whether a manifest says that its job is complete, for a folder."""
    return lambda out: any(json.loads(path.read_text())["complete"] for path in out.glob(pattern))


def _prep(audio):
    def job(name, *more, shard_tiles):
        def arguments(out):
            return ["prep", audio, out, *PREP, *more]

        return Job(name, arguments, is_complete("prep.json"), shard_tiles, status=3, once_more=2)

    small = ("--normalization", "tile", "--views", "2", "--n-fft", "256")
    return [
        job("prep", "--normalization", "corpus", shard_tiles=256),
        job("prep, small shards", *small, shard_tiles=2),
    ]


def _tokenize(folder, bundle):
    def each(name, *more):
        def arguments(out):
            few = ["tokenize", folder / "few", "--out-dir", out]
            return [*few, "--tokenizer", bundle, *ONE, *more]

        return Job(f"tokenize {name}", arguments, is_complete("tokenize.json"))

    def timeline(name, file, *more):
        def arguments(out):
            line = ["tokenize", folder / "line", "--timeline", "--out", out / file]
            return [*line, "--tokenizer", bundle, *ONE, *more]

        return Job(f"timeline {name}", arguments, is_complete("t.*.tokenize.json"))

    formats = ["megatron", "parquet", "bin", "csv", "jsonl", "raven", "audacity"]
    return [
        each("npy", "--channels", "each"),
        *(each(name, "--format", name) for name in formats),
        timeline("npy", "t.tokens.npy"),
        timeline("megatron", "t.tokens.bin", "--format", "megatron"),
    ]


def _convert(tokens):
    def job(name, file):
        def arguments(out):
            return ["convert", tokens, "--format", name, "--out", out / file]

        return Job(f"convert {name}", arguments, lambda out: (out / "c.tokens.json").exists())

    files = {"megatron": "c.tokens.bin", "parquet": "c.tokens.parquet", "raven": "labels"}
    return [job(name, file) for name, file in files.items()]
