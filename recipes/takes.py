"""Pairs of a corpus whose names say what is heard: takes of one word, by any speaker."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TAKES = 8  # partners that each recording gets; two thirds of them by names of another kind
STEP_S = 0.01  # of the compared frames
POINT_S = 0.06  # between the times of a pair
MOST_RATIO = 4  # of the durations between two times of a pair
LEAST_CHANGE = 0.5  # standard deviation of standardised frames, 1 unless hardly anything changes
RATE = 16_000  # hertz, at which recordings are compared


def pair_takes(
    folder: Path, names: Sequence[str], takes: str
) -> Iterator[tuple[str, str, str, str]]:
    """Yield rows of pairs.csv, with paths below the folder.

    `takes` is a regular expression with a group `what`, and may have a group `who`: recordings
    whose names have the same `what` are takes of one thing. Each is paired with `TAKES` others that
    a seeded draw chooses, two thirds of them of another `who` if there are any, and each pair is
    listed once. Time is mapped by dynamic time warping of 19 MFCC and their deltas, each
    standardised over its recording (Sakoe and Chiba 1978), which takes nothing from a label.
    """
    found = {name: match for name in names if (match := re.search(takes, name))}
    same: dict[str, list[str]] = {}
    for name in sorted(found):
        same.setdefault(found[name]["what"], []).append(name)
    frames: dict[str, NDArray[np.float32]] = {}
    draws, listed = np.random.default_rng(0), set[tuple[str, str]]()
    for name in sorted(found):
        others = [other for other in same[found[name]["what"]] if other != name]
        for other in _draw(name, others, found, draws):
            if (other, name) in listed:
                continue
            listed.add((name, other))
            for each in (name, other):
                if each not in frames:
                    frames[each] = _frames(folder / each)
            if times := _times(frames[name], frames[other]):
                yield name, other, *(" ".join(f"{time:.6f}" for time in side) for side in times)


def _draw(
    name: str, others: list[str], found: dict[str, re.Match[str]], draws: np.random.Generator
) -> list[str]:
    """Other takes for a recording, most of them of others than who made it."""
    who = found[name].groupdict().get("who")
    own = [other for other in others if found[other].groupdict().get("who") == who]
    foreign = [other for other in others if found[other].groupdict().get("who") != who]
    wanted = TAKES - TAKES // 3 if foreign else 0
    drawn: list[str] = []
    for takes, count in ((foreign, wanted), (own, TAKES - wanted)):
        chosen = draws.choice(len(takes), min(count, len(takes)), replace=False)
        drawn += [takes[index] for index in chosen]
    return drawn


def _frames(path: Path) -> NDArray[np.float32]:
    """Standardised MFCC and deltas of a recording, (38, frames)."""
    import librosa

    samples, _ = librosa.load(path, sr=RATE)
    sizes = {"n_fft": 512, "hop_length": round(RATE * STEP_S)}
    mfcc = librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=20, n_mels=40, **sizes)[1:]
    width = min(5, (mfcc.shape[1] - 1) // 2 * 2 + 1)
    deltas = librosa.feature.delta(mfcc, width=width) if width >= 3 else np.zeros_like(mfcc)
    frames = np.vstack([mfcc, deltas])
    scaled = (frames - frames.mean(1, keepdims=True)) / (frames.std(1, keepdims=True) + 1e-6)
    return np.asarray(scaled, np.float32)


def _times(
    a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[list[float], list[float]] | None:
    """Times in a and b, in seconds, that the best path joins; None if there are not two.

    Where one of them lasts over `MOST_RATIO` times as long as the other, as in a silent end, the
    path says nothing: the longest stretch without such a place is returned. Nor does a path through
    silence, or through a single frame.
    """
    import librosa

    if min(a.std(), b.std()) < LEAST_CHANGE:
        return None
    _, path = librosa.sequence.dtw(a, b, metric="cosine")
    steps = path[::-1] * STEP_S  # (steps, 2), from the beginning on
    mean = steps.mean(1)
    between = np.searchsorted(mean, np.arange(mean[0], mean[-1], POINT_S))
    points = steps[[*np.minimum(between, len(steps) - 1), len(steps) - 1]]
    shorter, longer = np.sort(np.diff(points, axis=0), axis=1).T
    cuts = np.flatnonzero((shorter < STEP_S / 2) | (longer > MOST_RATIO * shorter)) + 1
    longest = max(np.split(points, cuts), key=len)
    return tuple(longest.T.tolist()) if len(longest) > 1 else None
