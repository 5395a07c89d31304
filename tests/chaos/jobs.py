"""Recordings, and jobs over them: each writes its own output, but for those beside recordings."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.bundles import write_small_bundle
from tests.crash.jobs import PREP
from tests.pipelines.recordings import PLAN, noise, write
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings, PrepSettings

CODES, EACH = 16, 8  # of a tokenizer, and how many of them it uses
ONE = ("--threads", "1")
SECONDS_APART = 10


class Job(NamedTuple):
    """A command."""

    name: str
    words: Callable[[Path], list]  # of the command, for the folder of all outputs
    has_workers: bool = True

    def command(self, out, workers):
        """The words of the command with a number of worker processes; 1: none."""
        return [*self.words(out), *(["--workers", workers] if self.has_workers else [])]


class Tokenizer(NamedTuple):
    """A bundle, and the codes that its tokens may have."""

    path: Path
    codes: range


class Place(NamedTuple):
    """What the jobs read."""

    audio: Path  # recordings
    beside: Path  # more of them; their tokens come beside them
    tokenizers: tuple[Tokenizer, Tokenizer]  # no code of one is a code of the other

    @property
    def inputs(self):
        """The folders whose recordings may change."""
        return self.audio, self.beside


def name_of(number):
    """Name of a recording that begins so many times ten seconds after midnight."""
    time = datetime(2023, 5, 1) + timedelta(seconds=SECONDS_APART * number)
    return f"R_{time:%Y%m%d_%H%M%S}.wav"


def make_place(folder, out, recordings):
    """Recordings and tokenizers; `out/beside` is input and output."""
    place = Place(
        folder / "audio",
        out / "beside",
        tuple(make_tokenizer(folder / f"tokenizer{number}", number) for number in range(2)),
    )
    for audio in place.inputs:
        for number in range(recordings):
            write(audio / name_of(number), noise(1500 + 900 * number, number))
    return place


def make_tokenizer(folder, number):
    """A tokenizer of random weights, all but EACH of whose codes are far from everything."""
    prep = PrepSettings(**PLAN, normalization="tile")
    model = ModelSettings(width=8, codebook_size=CODES, embedding_dim=4, tile_size=prep.tile_size)
    rng = np.random.default_rng(number)
    weights = {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(model).items()
    }
    codes = range(EACH * number, EACH * (number + 1))
    (codebook,) = (name for name in weights if weights[name].shape == (CODES, 4))
    weights[codebook][np.delete(np.arange(CODES), codes)] = 1e3
    write_small_bundle(folder, prep, contents={"model": model, "weights": weights})
    return Tokenizer(folder, codes)


def make_jobs(place):
    """The jobs with outputs of their own, and then those beside recordings, by tokenizer.

    The first come in an order in which one's input is an earlier one's output.
    """
    tokenize = ["tokenize", place.audio, "--tokenizer", place.tokenizers[0].path, *ONE]
    prep = ["--normalization", "corpus", *PREP[:-2], "--accept-changes"]

    def below(name):
        return Job(name, lambda out: [*tokenize, "--out-dir", out / name, "--format", name])

    def beside(tokenizer, name):
        options = ["--tokenizer", tokenizer.path, "--format", name, *ONE]
        return Job(f"beside, {name}", lambda out: ["tokenize", out / "beside", *options])

    line, table = Path("line", "t.tokens.npy"), Path("table", "c.tokens.parquet")
    own = [
        Job("prep", lambda out: ["prep", place.audio, out / "prep", *prep]),
        *(below(name) for name in ("npy", "parquet", "csv")),
        Job("corpus", lambda out: [*tokenize, "--out", out / "corpus" / "all.tokens.csv"]),
        Job("timeline", lambda out: [*tokenize, "--timeline", "--out", out / line]),
        Job(
            "convert",
            lambda out: ["convert", out / "npy", "--format", "parquet", "--out", out / table],
            has_workers=False,
        ),
    ]
    others = ([beside(one, name) for name in ("csv", "npy")] for one in place.tokenizers)
    return own, *others


def copy_recordings(source, target):
    """Copy the recordings of a folder, with their times, and nothing that lies beside them."""
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.wav")):
        shutil.copy2(path, target / path.name)
