"""Scenes of click trains with exact times, in noise that never repeats."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ulmo.arrays import Array

RATE = 16000
CLICK_S = 0.006  # of every planted click
_END = 32  # samples, 2 ms, over which a click ends: one that is cut off has a second onset
_STEP_S, _FADE_S = 20, 5  # noise has a new spectrum and level each step
NOISES = {
    "sea": ("hydrophone_pypam", "*.flac"),
    "rain": ("esc10", "rain*.ogg"),
    "forest": ("maad_forest", "S4A*.flac"),
}
"""Each kind, and the recordings whose spectra it has."""


class Planted(NamedTuple):
    """One train of a scene."""

    times: NDArray[np.float64]  # (n,) seconds
    period_s: float
    jitter: float  # standard deviation of each click's time, in periods
    missed: int


class Scene(NamedTuple):
    """A sound and what is in it."""

    samples: Array  # (n,) at RATE
    trains: list[Planted]
    knocks: NDArray[np.float64]  # (n,) seconds: of sounds that do not come back


def load(path: Path, rate: int | None = RATE) -> tuple[Array, int]:
    """The mean of a file's channels, and its rate; None keeps its own."""
    samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return (mono, own) if rate in (None, own) else (soxr.resample(mono, own, rate), rate)


def _rms(samples: Array) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean() + 1e-20))


def shaped_noise(count: int, files: Sequence[Path], rng: np.random.Generator) -> Array:
    """Gaussian noise (count,) of rms about 0.01 with the spectra of files, one after the other."""
    step, fade = _STEP_S * RATE, _FADE_S * RATE
    size = step + fade
    ramp = np.sqrt(np.linspace(0, 1, fade))
    weight = np.concatenate([ramp, np.ones(size - 2 * fade), ramp[::-1]])
    noise = np.zeros(count + size)
    for begin in range(0, count, step):
        sound = load(files[rng.integers(len(files))])[0]
        pieces = sound[: len(sound) // 2048 * 2048].reshape(-1, 2048) * np.hanning(2048)
        power = np.median(np.abs(np.fft.rfft(pieces)) ** 2, axis=0)
        spectrum = np.fft.rfft(rng.standard_normal(size))
        at = np.linspace(0, 1, len(spectrum))
        gain = np.interp(at, np.linspace(0, 1, len(power)), np.sqrt(power))
        piece = np.fft.irfft(spectrum * gain, size)
        level = 0.01 * np.exp(0.2 * rng.standard_normal()) / _rms(piece)
        noise[begin : begin + size] += weight * piece * level
    return noise[:count].astype(np.float32)


def joined_rain(files: Sequence[Path], rng: np.random.Generator) -> Array:
    """Real rain with its drops: each recording once, faded into the next. About three minutes."""
    fade = RATE // 10
    ramp = np.linspace(0, 1, fade)
    whole = np.zeros(fade)
    for place in rng.permutation(len(files)):
        sound = load(files[place])[0].astype(np.float64)
        sound *= 0.01 / _rms(sound)
        if len(sound) < RATE or not np.isfinite(sound).all():
            continue
        whole[-fade:] = whole[-fade:] * ramp[::-1] + sound[:fade] * ramp
        whole = np.concatenate([whole, sound[fade:]])
    return whole.astype(np.float32)


def click(rng: np.random.Generator) -> Array:
    """A click of CLICK_S: a burst of noise, or a tone of 600 to 6000 Hz, that dies away."""
    time_s = np.arange(round(CLICK_S * RATE)) / RATE
    decay = np.exp(-time_s / np.exp(rng.uniform(np.log(0.0005), np.log(0.002))))
    if rng.random() < 1 / 3:
        wave = decay * rng.standard_normal(len(time_s))
    else:
        hertz = np.exp(rng.uniform(np.log(600), np.log(6000)))
        wave = decay * np.sin(2 * np.pi * hertz * time_s)
    wave[-_END:] *= np.linspace(1, 0, _END)  # its end is no impulse
    return (wave / _rms(wave)).astype(np.float32)


def _band_rms(noise: Array) -> float:
    """Of what lies between 500 and 7500 Hz."""
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    inside = (hertz > 500) & (hertz < 7500)
    return float(np.sqrt(2 * spectrum[inside].sum()) / len(noise))


def plant(
    noise: Array,
    snr_db: float,
    rng: np.random.Generator,
    *,
    trains: int,
    knocks_per_minute: float = 3.0,
    periods_s: tuple[float, float] = (0.005, 10.0),
) -> Scene:
    """Click trains and knocks in noise (n,), which is not changed.

    snr_db: rms of a click over its CLICK_S against the noise's rms in 500 to 7500 Hz. Clicks of a
        train differ by +-3 dB.
    periods_s: log-uniform between these. A train has 8 to 60 clicks, some of them left out.

    Trains begin anywhere, and so overlap each other.
    """
    samples, seconds = noise.astype(np.float64), len(noise) / RATE
    loud = _band_rms(noise) * 10 ** (snr_db / 20)
    planted = []
    for _ in range(trains):
        high = min(periods_s[1], seconds / 10)
        period = float(np.exp(rng.uniform(np.log(periods_s[0]), np.log(high))))
        most = int(min(60, 0.8 * seconds / period))
        count = int(rng.integers(8, most + 1)) if most > 8 else 8
        jitter = float(rng.choice([0.0, 0.01, 0.03, 0.06]))
        chance = float(rng.choice([0.0, 0.1, 0.2]))
        begin = rng.uniform(0.1, seconds - 0.2 - count * period)
        times = begin + period * (np.arange(count) + jitter * rng.standard_normal(count))
        heard = rng.random(count) >= chance
        heard[[0, -1]] = True
        wave = click(rng)
        places = np.round(times[heard] * RATE).astype(int)
        for place in places:
            gain = loud * 10 ** (rng.uniform(-3, 3) / 20)
            samples[place : place + len(wave)] += gain * wave
        planted.append(Planted(places / RATE, period, jitter, int((~heard).sum())))
    begins = rng.uniform(0.1, seconds - 0.3, round(knocks_per_minute * seconds / 60))
    for begin in begins:
        length = round(rng.uniform(0.005, 0.08) * RATE)
        knock = rng.standard_normal(length) * np.exp(-np.arange(length) / (0.2 * length))
        pole = rng.uniform(-0.9, 0.9)
        knock = np.convolve(knock, pole ** np.arange(60))[:length]
        place = round(begin * RATE)
        samples[place : place + length] += loud * knock / _rms(knock)
    return Scene(samples.astype(np.float32), planted, np.sort(begins))
