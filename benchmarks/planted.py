"""Sounds planted in noise, with exact truth: what repeats, what occurs once, and where.

Repeated are digits of one speaker, other takes each time, and calls of killer whales of one type;
spoken letters occur once. The noise has the spectra of real recordings, drawn anew all the time: it
is never looped, because a loop is a repeat itself.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ulmo.arrays import Array

RATE = 16_000  # hertz
NOISES = {
    "sea": "hydrophone_pypam/*.flac",
    "forest": "maad_forest/S4A*.flac",
    "rain": "esc10/rain*.ogg",
    "engine": "esc10/helicopter*.ogg",
    "wind": "zero_ad/ambient/weather/wind[_gs]*.flac",  # without leaves, which are 40 dB brighter
    "city": "blanket/*.ogg",  # a street, a coffee shop, and a train
}
"""Each kind of noise, and the recordings whose spectra it has."""
_LEVEL = 0.01  # RMS of the noise, of full scale 1
_PIECE, _FADE = 25, 5  # seconds of noise of one spectrum, and of its fading in and out
_TYPES = 4  # takes of a type of call; types with fewer are left out
_LONGEST = 1.5  # seconds of a call


class Event(NamedTuple):
    """One planted sound."""

    name: str  # of its class; sounds of one class are takes of the same
    repeated: bool  # whether its class has other sounds
    start: float  # seconds
    end: float


class Planted(NamedTuple):
    """A recording and what was planted in it."""

    samples: Array  # (n,) at RATE
    events: list[Event]  # by time


def plant(
    root: Path, noise: str, snr: float, *, minutes: float = 12, seed: int = 3, takes: int = 8
) -> Planted:
    """Classes of `takes` sounds, and as many single sounds as `singles` gives, in noise.

    root: folder of the corpora. snr: decibels of each sound over the noise, give or take 3.

    Each sound is played at a rate changed by up to 8 %. A recording of m minutes has m / 12 times
    the sounds of one of 12 minutes.
    """
    rng = np.random.default_rng(seed)
    found = [
        (name, True, sound)
        for name, sounds in _classes(root, rng, takes).items()
        for sound in [sounds[take % len(sounds)] for take in range(min(takes, 2 * len(sounds)))]
    ]
    found += [(f"single {n}", False, sound) for n, sound in enumerate(_singles(root, rng))]
    found = [found[n] for n in rng.permutation(len(found))][: round(len(found) * minutes / 12)]
    n = round(minutes * 60 * RATE)
    samples = _LEVEL * shaped_noise(root, noise, n, rng)
    events = []
    slot = n / len(found)
    for number, (name, repeated, sound) in enumerate(found):
        rate = 1 + rng.uniform(-0.08, 0.08)
        played = soxr.resample(sound, RATE, RATE * rate).astype(np.float32)
        gain = _LEVEL * 10 ** ((snr + rng.uniform(-3, 3)) / 20) / _rms(played)
        first = round(number * slot + rng.uniform(0, max(slot - len(played) - RATE / 10, 1)))
        played = played[: n - first]
        samples[first : first + len(played)] += gain * played
        events.append(Event(name, repeated, first / RATE, (first + len(played)) / RATE))
    return Planted(np.clip(samples, -1, 1), events)


def shaped_noise(root: Path, kind: str, n: int, rng: np.random.Generator) -> Array:
    """Noise (n,) of RMS 1 or so: every 20 s another spectrum of a real recording, and other level.

    Each piece is white noise with the median spectrum of a recording, faded into the next one.
    """
    paths = sorted(root.glob(NOISES[kind]))
    length, step, fade = _PIECE * RATE, (_PIECE - _FADE) * RATE, _FADE * RATE
    window = np.ones(length, np.float32)
    window[:fade] = np.sqrt(np.linspace(0, 1, fade))
    window[-fade:] = window[:fade][::-1]
    samples = np.zeros(n + length, np.float32)
    for first in range(0, n, step):
        power = _spectrum(paths[rng.integers(len(paths))])
        wave = np.fft.rfft(rng.standard_normal(length))
        places = np.linspace(0, len(power) - 1, len(wave))
        wave *= np.sqrt(np.interp(places, np.arange(len(power)), power))
        piece = np.fft.irfft(wave, length)
        level = np.exp(0.2 * rng.standard_normal()) / _rms(piece)
        samples[first : first + length] += (level * piece * window).astype(np.float32)
    return samples[:n]


@cache
def _spectrum(path: Path) -> NDArray[np.float64]:
    """Median power of each frequency (1025,)."""
    frames = np.lib.stride_tricks.sliding_window_view(_read(path), 2048)[::2048]
    power: NDArray[np.float64] = np.median(
        np.abs(np.fft.rfft(frames * np.hanning(2048))) ** 2, axis=0
    )
    return power


def _classes(root: Path, rng: np.random.Generator, takes: int) -> dict[str, list[Array]]:
    """Takes of each class, by its name."""
    classes = {
        f"{speaker} {digit}": [
            _trim(_read(root / "fsdd" / f"{digit}_{speaker}_{take}.wav"))
            for take in rng.choice(50, takes, replace=False)
        ]
        for speaker in ("theo", "nicolas")
        for digit in range(10)
    }
    types: dict[str, list[Array]] = {}
    folder = root / "srkw_calls"
    for row in _labels(folder):
        if row["start"]:
            sound = _read(folder / row["file"])
            sound = sound[round(float(row["start"]) * RATE) : round(float(row["end"]) * RATE)]
        elif row["file"].startswith("FO"):
            sound = _trim(_read(folder / row["file"]))
        else:
            continue
        types.setdefault(row["label"], []).append(sound[: round(_LONGEST * RATE)])
    calls = {f"call {name}": sounds for name, sounds in types.items() if len(sounds) >= _TYPES}
    return {**classes, **calls}


def _singles(root: Path, rng: np.random.Generator, count: int = 30) -> list[Array]:
    """Sounds that occur once."""
    folder = root / "klettres"
    names = rng.choice([row["file"] for row in _labels(folder)], count, replace=False)
    return [_trim(_read(folder / name))[:RATE] for name in names]


def _labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read(path: Path) -> Array:
    """Samples (n,) at RATE, the mean of all channels."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mean: Array = samples.mean(axis=1)
    if rate != RATE:
        mean = soxr.resample(mean, rate, RATE)
    return mean


def _trim(samples: Array, *, decibels: float = 25, pad: float = 0.02) -> Array:
    """A sound without the parts before and after it that are so far below its loudest 10 ms."""
    size = RATE // 100
    levels = np.sqrt((samples[: len(samples) // size * size].reshape(-1, size) ** 2).mean(axis=1))
    loud = np.flatnonzero(levels > levels.max() * 10 ** (-decibels / 20))
    first = max(0, loud[0] * size - round(pad * RATE))
    return samples[first : (loud[-1] + 1) * size + round(pad * RATE)]


def _rms(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(samples).mean() + 1e-20))
