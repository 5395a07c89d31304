"""The corpus `calls`: made calls of animals and events, each in several takes, in made noise.

Takes of a call differ a little in duration, pitch, level and tilt, and time may bend. Pairs of them
map time as it was made.
"""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_samples.make import Floats
from recipes.corpora.draw import Draw
from recipes.corpora.families import FAMILIES
from recipes.corpora.folder import Content, Label, Pair, Samples, write_recording
from recipes.corpora.processes import in_processes
from recipes.corpora.synthesis import SAMPLE_RATE, Take, Warp, band, noise, shaped, slope, smooth

CALLS = 46  # of each family
TAKES = 4  # of a call
BATCH = 60  # calls that one process makes
LICENCE = """The recordings were made by recipes/corpora/calls.py of ulmo, and hold nobody's sound.
They are dedicated to the public domain by CC0 1.0:
https://creativecommons.org/publicdomain/zero/1.0/
"""


class Uttered(NamedTuple):
    """A take of a call as it is recorded."""

    path: str  # below the corpus folder
    warp: Warp
    samples: Samples  # (frames,)


def make(folder: Path, workers: int, calls: int = CALLS) -> Content:
    """Make every call, several processes at a time."""
    jobs = [(folder, family, number) for number in range(calls) for family in FAMILIES]
    batches = [jobs[at : at + BATCH] for at in range(0, len(jobs), BATCH)]
    pairs = [pair for part in in_processes(record, batches, workers, "calls") for pair in part]
    labels = [
        Label(name(family, number, take), family, f"call={family}/{number:03};take={take}")
        for _, family, number in jobs
        for take in range(TAKES)
    ]
    return Content(labels, pairs, LICENCE)


def name(family: str, number: int, take: int) -> str:
    """The path of a take below the corpus folder."""
    return f"{family}/{number:03}_{'abcdefgh'[take]}.flac"


def record(jobs: list[tuple[Path, str, int]]) -> list[Pair]:
    """Make the takes of some calls, write what is missing below a folder, and pair them."""
    pairs = []
    for folder, family, number in jobs:
        takes = [utter(family, number, take) for take in range(TAKES)]
        for each in takes:
            write_recording(folder / each.path, each.samples, SAMPLE_RATE)
        pairs += [paired(a, b) for a, b in combinations(takes, 2)]
    return pairs


def paired(a: Uttered, b: Uttered) -> Pair:
    """The pair of two takes of one call."""
    instants = sorted({*a.warp.call, *b.warp.call})
    times = (tuple(take.warp.heard_at(instants).tolist()) for take in (a, b))
    return Pair(a.path, b.path, *times)


def utter(family: str, number: int, take: int) -> Uttered:
    """A take of a call of a family, in noise."""
    call = FAMILIES[family](Draw("calls", family, number))
    draw = Draw("calls", family, number, take)
    warp = bent(draw, call.seconds)
    made = Take(warp, draw.log_uniform(0.92, 1.08), draw)
    sound = shaped(call.sound(made), slope(draw.uniform(-3.0, 3.0)))
    total = np.zeros(round((warp.heard[-1] + draw.uniform(0.1, 0.5)) * SAMPLE_RATE))
    total[made.first : made.first + len(sound)] = sound
    rms = np.sqrt(np.mean(sound**2))
    total += 10.0 ** (-draw.uniform(0.0, 35.0) / 20.0) * rms * background(draw, len(total))
    peak = 10.0 ** (draw.uniform(-26.0, -1.0) / 20.0)
    counts = np.rint(total * (peak * 32767 / np.abs(total).max()))
    return Uttered(name(family, number, take), warp, counts.astype(np.int16))


def bent(draw: Draw, seconds: float) -> Warp:
    """When a take has the instants of a call: 12 % slower to 12 % faster, half of them bent.

    A bent one has two more points, between which it is up to 10 % faster or slower than that.
    """
    shares = [0.0, draw.uniform(0.25, 0.4), draw.uniform(0.6, 0.75), 1.0]
    if draw.uniform() < 0.5:
        shares = [0.0, 1.0]
    call = tuple(seconds * share for share in shares)
    rate = draw.log_uniform(1 / 1.12, 1.12)
    steps = [step * rate * draw.uniform(0.9, 1.1) for step in np.diff(call).tolist()]
    heard = draw.uniform(0.1, 0.6) + np.concatenate([[0.0], np.cumsum(steps)])
    return Warp(call, tuple(heard.tolist()))


def background(draw: Draw, count: int) -> Floats:
    """Noise (count,) of unit rms as of real places: tilted, of a band, and slowly moving."""
    low, high = draw.log_uniform(20, 300), draw.choice((7900.0, draw.log_uniform(1500, 7900)))
    sound = noise(draw, count, slope(draw.uniform(-6.5, 0.0)), band(low, high, steep=4))
    depth = draw.uniform(0.0, 0.5)
    points = max(2, round(count / SAMPLE_RATE / draw.uniform(0.3, 1.5)) + 1)
    moving = smooth(np.linspace(0.0, 1.0, count), [draw.uniform(-1, 1) for _ in range(points)])
    sound = sound * np.exp(depth * moving)
    if draw.uniform() < 0.2:  # hum of the mains
        hum = np.arange(count) / SAMPLE_RATE * draw.choice((50.0, 60.0))
        weights = [draw.uniform(0, 0.5) for _ in range(4)]
        waves = [w * np.sin(2.0 * np.pi * (k * hum % 1.0)) for k, w in enumerate(weights, 1)]
        sound = sound + np.sum(waves, axis=0)
    return sound / np.sqrt(np.mean(sound**2) + 1e-12)
