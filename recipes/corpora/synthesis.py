"""Sound by arithmetic: tones, noise of a shape, resonances, and the time of a call in a recording.

As data_samples/make.py, it counts phase in integers and draws noise from PCG64's raw words, so that
samples rounded to 16 bits are the same on each machine.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from data_samples.make import TURN, Floats
from recipes.corpora.draw import Draw

SAMPLE_RATE = 16000  # samples/s, that of the default front end
Gain = Callable[[Floats], Floats]  # Hz (bins,) -> amplitude
# Hz, means over men: Peterson and Barney 1952
VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
)


class Warp(NamedTuple):
    """Instants of a call, and when a recording has them: linear between."""

    call: tuple[float, ...]  # seconds from the call's begin, rising from 0
    heard: tuple[float, ...]  # seconds of the recording, as many, rising

    def heard_at(self, seconds: Sequence[float] | Floats) -> Floats:
        """When instants of the call are heard."""
        return np.interp(seconds, self.call, self.heard)

    def call_at(self, seconds: Sequence[float] | Floats) -> Floats:
        """The instants of the call that are heard at these times."""
        return np.interp(seconds, self.heard, self.call)


class Take(NamedTuple):
    """One way to utter a call: what its sound is made with."""

    warp: Warp
    pitch: float  # factor of all frequencies
    draw: Draw  # for what is new in each take: its noise

    @property
    def first(self) -> int:
        """The sample of the recording with which the call begins."""
        return round(self.warp.heard[0] * SAMPLE_RATE)

    @property
    def times(self) -> Floats:
        """The instant of the call (frames,) at each sample of it."""
        last = round(self.warp.heard[-1] * SAMPLE_RATE)
        return self.warp.call_at(np.arange(self.first, last) / SAMPLE_RATE)

    def frame(self, instant: float) -> int:
        """The frame among `times` at which an instant of the call is heard."""
        return round(float(self.warp.heard_at([instant])[0]) * SAMPLE_RATE) - self.first


def smooth(u: Floats, values: Sequence[float]) -> Floats:
    """A curve through `values`, evenly spread over u = 0 to 1, with cosine steps between."""
    points = np.asarray(values, np.float64)
    place = np.clip(u, 0.0, 1.0) * (len(points) - 1)
    before = np.minimum(place.astype(np.int64), len(points) - 2)
    share = 0.5 - 0.5 * np.cos(np.pi * (place - before))
    return points[before] * (1.0 - share) + points[before + 1] * share


def phase_of(hz: Floats) -> Floats:
    """The phase (frames,) in radians, below 2 pi, of a tone that follows `hz`."""
    counts = np.cumsum(np.rint(hz / SAMPLE_RATE * TURN).astype(np.int64)) % TURN
    return 2.0 * np.pi / TURN * counts


def harmonics(hz: Floats, count: int, gain: Callable[[int, Floats], Floats | float]) -> Floats:
    """A sum of harmonics of `hz`: gain(k, frequency of the k-th), none above half the rate."""
    counts = np.cumsum(np.rint(hz / SAMPLE_RATE * TURN).astype(np.int64))
    total = np.zeros(len(hz))
    for k in range(1, count + 1):
        level = np.clip((SAMPLE_RATE / 2 - k * hz) / 100.0, 0.0, 1.0)
        if level.any():
            total += level * gain(k, k * hz) * np.sin(2.0 * np.pi / TURN * (k * counts % TURN))
    return total


def resonances(hz: Floats, centres: Sequence[Floats | float], widths: Sequence[float]) -> Floats:
    """The gain of a vocal tract at frequencies: peaks at `centres`, on a floor of 0.03."""
    total = np.full(np.shape(hz), 0.03)
    for order, (centre, width) in enumerate(zip(centres, widths, strict=True)):
        total += 1.0 / (1.0 + ((hz - centre) / width) ** 2) / (1 + order)
    return total


def band(low: float, high: float, *, steep: int = 6) -> Gain:
    """The gain of a band: 3 dB less at `low` and `high`, then 6 dB an octave times steep / 2."""
    return lambda hz: 1.0 / np.sqrt((1.0 + (low / hz) ** steep) * (1.0 + (hz / high) ** steep))


def slope(db_an_octave: float) -> Gain:
    """The gain of a spectral tilt, 0 dB at 1 kHz, level below 50 Hz."""
    power = db_an_octave / (20.0 * np.log10(2.0))
    return lambda hz: (np.maximum(hz, 50.0) / 1000.0) ** power


def shaped(sound: Floats, *gains: Gain) -> Floats:
    """A sound through filters without delay, which wrap around at its ends."""
    hz = np.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE)
    hz[0] = hz[1] / 2.0
    spectrum = np.fft.rfft(sound)
    for gain in gains:
        spectrum = spectrum * gain(hz)
    return np.fft.irfft(spectrum, len(sound))


def noise(draw: Draw, count: int, *gains: Gain) -> Floats:
    """Noise (count,) of unit rms, white through filters."""
    sound = shaped(draw.gauss(count), *gains)
    return sound / np.sqrt(np.mean(sound**2) + 1e-12)


def damped(hz: Sequence[float], decays_s: Sequence[float], levels: Sequence[float]) -> Floats:
    """A struck body: modes that begin together and fade, each by 1/e in its decay time."""
    time_s = np.arange(max(1, round(5.0 * max(decays_s) * SAMPLE_RATE))) / SAMPLE_RATE
    total = np.zeros(len(time_s))
    for frequency, decay_s, level in zip(hz, decays_s, levels, strict=True):
        if frequency < 0.47 * SAMPLE_RATE:
            wave = np.sin(2.0 * np.pi * frequency * time_s)
            total += level * np.exp(-time_s / decay_s) * wave
    return total


def add(total: Floats, sound: Floats, frame: int) -> None:
    """Add a sound at a frame; what lies outside is lost."""
    first, last = max(frame, 0), min(frame + len(sound), len(total))
    if first < last:
        total[first:last] += sound[first - frame : last - frame]


def fade(u: Floats, attack: float, decay: float) -> Floats:
    """An envelope over u = 0 to 1: up in the first `attack`, down in the last `decay`."""
    rise = np.clip(u / attack, 0.0, 1.0)
    fall = np.clip((1.0 - u) / decay, 0.0, 1.0)
    return 0.25 * (1.0 - np.cos(np.pi * rise)) * (1.0 - np.cos(np.pi * fall))
