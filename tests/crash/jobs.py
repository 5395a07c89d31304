"""Small jobs of every command that can go on after a kill: what they write, and what it costs."""

import contextlib
import io
import json
import mmap
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tests.bundles import write_small_bundle
from tests.pipelines.recordings import HOP, PLAN, RATE, SIZE, noise, write
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


class Job(NamedTuple):
    """A command that writes an output."""

    name: str
    arguments: Callable[[Path], list[str]]
    """Of the command, for a folder that it writes to or into."""
    is_finished: Callable[[Path], bool]
    """What a reader would take for finished, seen from the files alone."""
    shard_tiles: int = 256
    status: int = 0
    """Of an undisturbed run."""
    once_more: int = 1
    """Units of work that a kill may have done twice: jobs of a few recordings, or recordings."""

    def run(self, out):
        """Run the command in this process, which ends with its exit status."""
        store.SHARD_TILES, prep_job._JOB_FILES = self.shard_tiles, 2
        ulmo.main([str(argument) for argument in self.arguments(out)])


class Work:
    """Counts units of work in the processes that are forked after it was made, for good."""

    def __init__(self):
        self._shared = mmap.mmap(-1, 8)
        pool.threadpool_limits = contextlib.nullcontext  # 20 ms a run, and nothing to do with files
        prep_job.build_frontend = self._counted(prep_job.build_frontend)
        tokenize.tokenize_recording = self._counted(tokenize.tokenize_recording)

    @property
    def done(self):
        return struct.unpack("q", self._shared[:])[0]

    def _counted(self, function):
        def counted(*arguments):
            self._shared[:] = struct.pack("q", self.done + 1)
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
    run_quietly(["tokenize", folder / "few", "--out-dir", tokens, "--tokenizer", bundle])
    return [*_prep(folder / "audio"), *_tokenize(folder, bundle), *_convert(tokens)]


def run_quietly(arguments):
    """Run a command in this process, to its end."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        ulmo.main([str(argument) for argument in arguments])


def make_bundle(folder):
    """A tokenizer of random weights."""
    return write_small_bundle(folder, PrepSettings(**PLAN, normalization="tile"))


def is_complete(pattern):
    """Whether a manifest says that its job is complete, for a folder."""
    return lambda out: any(json.loads(path.read_text())["complete"] for path in out.glob(pattern))


def _prep(audio):
    def arguments(*more):
        return lambda out: ["prep", audio, out, *PREP, *more]

    return [
        Job(
            "prep",
            arguments("--normalization", "corpus"),
            is_complete("prep.json"),
            status=3,
            once_more=2,
        ),
        Job(
            "prep, small shards",
            arguments("--normalization", "tile", "--views", "2", "--n-fft", "256"),
            is_complete("prep.json"),
            shard_tiles=2,
            status=3,
            once_more=2,
        ),
    ]


def _tokenize(folder, bundle):
    def arguments(*more):
        return lambda out: [
            *("tokenize", folder / "few", "--out-dir", out, "--tokenizer", bundle),
            *("--workers", "1", "--threads", "1", *more),
        ]

    def timeline(name, *more):
        return lambda out: [
            *("tokenize", folder / "line", "--timeline", "--out", out / name),
            *("--tokenizer", bundle, "--workers", "1", "--threads", "1", *more),
        ]

    has_table, has_line_table = is_complete("tokenize.json"), is_complete("t.*.tokenize.json")
    formats = ["megatron", "parquet", "bin", "csv", "jsonl", "raven", "audacity"]
    return [
        Job("tokenize npy", arguments("--channels", "each"), has_table),
        *(Job(f"tokenize {name}", arguments("--format", name), has_table) for name in formats),
        Job("timeline npy", timeline("t.tokens.npy"), has_line_table),
        Job(
            "timeline megatron",
            timeline("t.tokens.bin", "--format", "megatron"),
            has_line_table,
        ),
    ]


def _convert(tokens):
    def arguments(name, file_format):
        return lambda out: ["convert", tokens, "--format", file_format, "--out", out / name]

    def has_header(out):
        return (out / "c.tokens.json").exists()

    def never(_):
        return False

    return [
        Job("convert megatron", arguments("c.tokens.bin", "megatron"), has_header),
        Job("convert parquet", arguments("c.tokens.parquet", "parquet"), has_header),
        Job("convert raven", arguments("labels", "raven"), never),
    ]
