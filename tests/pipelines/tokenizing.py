"""Calls and settings that the tests of ulmo-tokenize share."""

import shutil

import numpy as np
import soundfile

from tests.pipelines.recordings import noise, state, write
from tests.small_tokenizers import RATE, sound
from tests.storage.ledgers import at_each_change
from ulmo.jobs.spread import Spread
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files, tokenize_timeline

FIRST, SECOND = "20240101_000000.wav", "20240101_000010.wav"


def record(path, seconds=2.0, channels=1, **options):
    """A recording whose channels differ; it is returned as its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mono = sound(round(seconds * RATE))
    samples = np.stack([np.roll(mono, 700 * channel) for channel in range(channels)], axis=1)
    soundfile.write(path, samples, RATE, **options)
    return path


def quiet(told=None):
    """Nobody listens, or a list that takes what is done."""
    return Listener(lambda size: lambda *_: None, (told if told is not None else []).append)


def tokenize(tokenizer, *sources, out=None, workers=1, dask=None, listener=None, **how):
    """Results in the order of the plan; each was told once."""
    told = []
    options, listens = TokenizeOptions(**how), listener or quiet(told)
    results = tokenize_files(
        tokenizer, sources, options, out=out, spread=Spread(workers, dask), listener=listens
    )
    if listener is None:
        assert sorted(told, key=str) == sorted(results, key=str)
    return results


def join(tokenizer, *sources, out, workers=1, **how):
    """Results of each recording, and the timeline."""
    options = TokenizeOptions(**how)
    return tokenize_timeline(
        tokenizer, sources, options, out=out, spread=Spread(workers), listener=quiet()
    )


def hidden(folder):
    """What lies there and is not shown."""
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def moments(monkeypatch, tokenizer, *sources, out, make=tokenize, **how):
    """Copies of an output before each change that a job makes of it, as a kill would leave it.

    They are of `out`, or, if that is a file, of its folder. Each differs from the one before.
    """
    folder = out.parent if out.suffix else out
    copies, states = [], [None]

    def copy():
        states.append(state(folder))
        if states[-1] != states[-2]:
            copies.append(shutil.copytree(folder, folder.with_name(f"{folder.name}{len(copies)}")))

    with monkeypatch.context() as patch:
        at_each_change(patch, copy)
        make(tokenizer, *sources, out=out, **how)
    return copies


class Drive:
    """A folder of links to recordings on a drive, which can be away."""

    def __init__(self, folder):
        self.there, self.away, self.links = folder / "drive", folder / "away", folder / "links"
        for number, name in enumerate((FIRST, SECOND)):
            write(self.there / name, noise(3000, number, channels=2))
        self.links.mkdir()
        for path in self.there.iterdir():
            (self.links / path.name).symlink_to(path)

    def leave(self):
        self.there.rename(self.away)

    def come(self):
        self.away.rename(self.there)
