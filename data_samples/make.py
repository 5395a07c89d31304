"""Synthesise the sample recordings of this folder, and events.csv: what sounds in them, and when.

    python data_samples/make.py [OUT_DIR]

The files come out byte-identical on any little-endian machine: noise sums PCG64's raw words (a
stream NumPy keeps fixed), oscillators count phase in integers, and a sine's or exponential's last
bit, which may differ between platforms, is lost when samples are rounded to integers.
"""

import argparse
import csv
import math
import wave
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rng = np.random.Generator
TURN = 1 << 24  # phase counts in a cycle: steps of 0.006 Hz at 96 kHz
CHANNEL_LAG_S = 0.0005  # a second hydrophone, 0.75 m further away in water


class Event(NamedTuple):
    """A sound's box in time and frequency, as the first channel hears it."""

    start_s: float
    end_s: float
    low_hz: int
    high_hz: int
    label: str


class Scene(NamedTuple):
    """A recording in the making, full scale 1.0."""

    rate: int  # samples/s
    samples: Floats  # (frames, channels)
    events: list[Event]


class Recipe(NamedTuple):
    """How a file is made: `sound(rate, channels, rng)`, then rounded to `bits` a sample."""

    sound: Callable[[int, int, Rng], Scene]
    rate: int
    channels: int
    bits: int


CONTOURS: dict[str, Callable[[Floats], Floats]] = {  # time 0..1 -> height 0..1
    "rising": lambda u: u * u,
    "falling": lambda u: 1.0 - u,
    "wavy": lambda u: 0.5 + 0.5 * np.sin(6.0 * np.pi * u),
    "trill": lambda u: 0.5 + 0.5 * np.sin(24.0 * np.pi * u),
}
WHISTLES = (  # contour, start and length in s, band in Hz
    ("rising", 0.30, 0.70, 3000, 8500),
    ("falling", 1.30, 0.60, 2500, 6500),
    ("wavy", 2.20, 1.20, 4000, 7000),
    ("trill", 3.00, 0.80, 2000, 3200),  # under the end of the wavy one
    ("rising", 4.10, 0.50, 3000, 8500),
    ("falling", 4.90, 0.80, 5000, 9500),
)
# Hz, means over men: Peterson and Barney 1952
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}
SYLLABLES = ((0.3, "aa"), (1.3, "ii"), (2.3, "uu"), (3.3, "ai"), (4.3, "ua"), (5.3, "iu"))


def gauss(rng: Rng, count: int) -> Floats:
    """White, nearly Gaussian noise (count,) of unit rms: sums of a random word's four quarters."""
    quarters = rng.bit_generator.random_raw(count).view(np.uint16).reshape(count, 4)
    total: Floats = quarters.sum(axis=1, dtype=np.int64) - 2.0 * 65535
    return total / (65536 / math.sqrt(3))


def pink(rng: Rng, count: int) -> Floats:
    """Noise (count,) of unit rms, 3 dB less an octave: wind, sea and far traffic (Voss's sum)."""
    total = np.zeros(count)
    holds = [1 << octave for octave in range(11)]
    for hold in holds:
        held = np.repeat(gauss(rng, count // hold + 2), hold)
        total += held[hold // 2 : hold // 2 + count]
    return total / math.sqrt(len(holds))


def room(rate: int, channels: int, rng: Rng, *, seconds: float, dbfs: float) -> Scene:
    """A place where nothing happens yet: pink noise, rms `dbfs` re full scale, in each channel."""
    noise = [pink(rng, round(seconds * rate)) for _ in range(channels)]
    return Scene(rate, np.stack(noise, axis=1) * 10.0 ** (dbfs / 20.0), [])


def place(scene: Scene, sound: Floats, *, at_s: float, band: tuple[int, int], label: str) -> None:
    """Add `sound` (frames,) and its event; a second channel hears it later and fainter."""
    start = round(at_s * scene.rate)
    for channel in range(scene.samples.shape[1]):
        first = start + channel * round(CHANNEL_LAG_S * scene.rate)
        scene.samples[first : first + len(sound), channel] += sound / (1 + channel)
    end_s = (start + len(sound)) / scene.rate
    scene.events.append(Event(start / scene.rate, end_s, *band, label))


def progress(seconds: float, rate: int) -> Floats:
    """Times of a sound of `seconds`, as a share of it: (frames,) from 0 to just under 1."""
    count = round(seconds * rate)
    return np.arange(count) / count


def tone(hz: Floats, *, rate: int, harmonics: int = 1) -> Floats:
    """A tone on `hz` (frames,), its k-th harmonic of amplitude 1/k and none above half the rate."""
    phase = np.cumsum(np.rint(hz / rate * TURN).astype(np.int64))
    total = np.zeros(len(hz))
    for k in range(1, harmonics + 1):
        level = np.clip((rate / 2 - k * hz) / 100.0, 0.0, 1.0) / k
        total += level * np.sin(2.0 * np.pi / TURN * (k * phase % TURN))
    return total


def fade(sound: Floats, *, rate: int, seconds: float) -> Floats:
    """`sound` with raised-cosine ends of `seconds`."""
    ramp = np.minimum(np.arange(len(sound)) / (seconds * rate), 1.0)
    return sound * (0.5 - 0.5 * np.cos(np.pi * np.minimum(ramp, ramp[::-1])))


def resonate(drive: Floats, *, hz: Floats, bandwidth_hz: float, rate: int) -> Floats:
    """`drive` through a two-pole resonance that follows `hz`, of gain 1 at 0 Hz (Klatt 1980)."""
    radius = math.exp(-math.pi * bandwidth_hz / rate)
    near = 2.0 * radius * np.cos(2.0 * np.pi * hz / rate)
    far = -radius * radius
    out, last, before = [], 0.0, 0.0
    for value, feedback in zip((drive * (1.0 - near - far)).tolist(), near.tolist(), strict=True):
        last, before = value + feedback * last + far * before, last
        out.append(last)
    return np.array(out)


def click_train(rate: int, channels: int, rng: Rng) -> Scene:
    """Sperm whale clicks: each starts at its event's start; the interval shrinks by 4 % a click."""
    scene = room(rate, channels, rng, seconds=10.0, dbfs=-60.0)
    time_s = np.arange(round(0.002 * rate)) / rate
    click = np.exp(-time_s / 0.00015) * np.sin(2.0 * np.pi * 4500.0 * (time_s + 0.5 / rate))
    for interval_s in 0.62 * 0.96 ** np.arange(23):
        at_s = 0.4 + (0.62 - interval_s) / (1.0 - 0.96)
        gain = 0.55 + 0.2 * math.sin(at_s)
        place(scene, gain * click, at_s=at_s, band=(1500, 7500), label="click")
    return scene


def bat_pass(rate: int, channels: int, rng: Rng) -> Scene:
    """A bat closing in: hyperbolic sweeps from 45 to 22 kHz, ever denser, up to a buzz."""
    scene = room(rate, channels, rng, seconds=3.0, dbfs=-62.0)
    low_hz, high_hz = 22000, 45000
    for interval_s in 0.11 * 0.963 ** np.arange(66):
        at_s = 0.1 + (0.11 - interval_s) / (1.0 - 0.963)
        seconds = min(0.005, interval_s / 3.0)
        hz = low_hz * high_hz / (low_hz + (high_hz - low_hz) * progress(seconds, rate))
        call = 0.4 * fade(tone(hz, rate=rate), rate=rate, seconds=seconds / 4.0)
        place(scene, call, at_s=at_s, band=(low_hz, high_hz), label="bat_call")
    return scene


def whistles(rate: int, channels: int, rng: Rng) -> Scene:
    """Dolphin and bird whistles of each contour; two of them overlap in time, not in frequency."""
    scene = room(rate, channels, rng, seconds=6.0, dbfs=-58.0)
    for contour, at_s, seconds, low_hz, high_hz in WHISTLES:
        hz = low_hz + (high_hz - low_hz) * CONTOURS[contour](progress(seconds, rate))
        sound = 0.3 * fade(tone(hz, rate=rate), rate=rate, seconds=0.04)
        place(scene, sound, at_s=at_s, band=(low_hz, high_hz), label=f"whistle_{contour}")
    return scene


def harmonic_calls(rate: int, channels: int, rng: Rng) -> Scene:
    """One call of a gibbon or a pilot whale, 12 harmonics of 360 to 531 Hz, heard six times."""
    scene = room(rate, channels, rng, seconds=8.0, dbfs=-64.0)
    u = progress(0.6, rate)
    voice = tone(420.0 + 140.0 * np.sin(np.pi * u) - 60.0 * u, rate=rate, harmonics=12)
    call = fade(voice, rate=rate, seconds=0.05)
    for at_s, gain in ((0.5, 0.3), (1.7, 0.3), (2.6, 0.2), (4.4, 0.3), (5.3, 0.15), (7.0, 0.25)):
        place(scene, gain * call, at_s=at_s, band=(360, 6380), label="call")
    return scene


def noise_bursts(rate: int, channels: int, rng: Rng) -> Scene:
    """Whale blows, 2.2 to 19.8 kHz (-10 dB) at 44.1 kHz, and two dropouts: every sample 0."""
    scene = room(rate, channels, rng, seconds=4.0, dbfs=-60.0)
    for at_s, seconds in ((0.30, 0.25), (0.90, 0.05), (1.80, 0.40), (2.50, 0.10), (3.60, 0.20)):
        white = gauss(rng, round(seconds * rate) + 2)
        burst = 0.1 * fade((white[2:] - white[:-2]) / 2.0, rate=rate, seconds=0.005)
        place(scene, burst, at_s=at_s, band=(rate // 20, rate * 9 // 20), label="noise_burst")
    for start_s, end_s in ((1.2, 1.5), (3.0, 3.1)):
        scene.samples[round(start_s * rate) : round(end_s * rate)] = 0.0
        scene.events.append(Event(start_s, end_s, 0, rate // 2, "dropout"))
    return Scene(rate, scene.samples, sorted(scene.events))


def near_silence(rate: int, channels: int, rng: Rng) -> Scene:
    """A good recorder in an empty room: -90 dBFS, about one 16-bit step, and no event."""
    return room(rate, channels, rng, seconds=5.0, dbfs=-90.0)


def vowels(rate: int, channels: int, rng: Rng) -> Scene:
    """A man's vowels: glottal flow's slope, a sawtooth without aliases, through three formants."""
    scene = room(rate, channels, rng, seconds=6.5, dbfs=-62.0)
    for at_s, letters in SYLLABLES:
        u = progress(0.7, rate)
        sound = tone(130.0 - 30.0 * u, rate=rate, harmonics=rate // 200)
        for first, last, width in zip(*(FORMANTS[v] for v in letters), (60, 90, 150), strict=True):
            hz = first + (last - first) * (3.0 - 2.0 * u) * u * u
            sound = resonate(sound, hz=hz, bandwidth_hz=width, rate=rate)
        sound = fade(sound * (0.4 / np.abs(sound).max()), rate=rate, seconds=0.06)
        place(scene, sound, at_s=at_s, band=(100, 3500), label=f"vowel_{letters}")
    return scene


FILES = {
    "click_train.wav": Recipe(click_train, rate=16000, channels=1, bits=16),
    "whistles.wav": Recipe(whistles, rate=22050, channels=2, bits=16),
    "harmonic_calls.wav": Recipe(harmonic_calls, rate=16000, channels=1, bits=24),
    "noise_bursts.wav": Recipe(noise_bursts, rate=44100, channels=1, bits=16),
    "near_silence.wav": Recipe(near_silence, rate=16000, channels=1, bits=16),
    "speech/vowels.wav": Recipe(vowels, rate=8000, channels=1, bits=16),
    "ultrasound/bat_pass.wav": Recipe(bat_pass, rate=96000, channels=1, bits=16),
}


def write_wav(path: Path, samples: Floats, *, rate: int, bits: int) -> None:
    """Write `samples` (frames, channels) as PCM of 16 or 24 bits; ValueError if they would clip."""
    limit = 2 ** (bits - 1) - 1
    counts = np.rint(samples * limit).astype("<i4")
    if np.abs(counts).max() > limit:
        raise ValueError(f"{path}: over full scale")
    low_bytes = counts[..., np.newaxis].view(np.uint8)[..., : bits // 8]  # (frames, channels, byte)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], bits // 8, rate, 0, "NONE", "not compressed"))
        file.writeframes(low_bytes.tobytes())


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of `FILES`, and events.csv, under the folder named in `argv`."""
    parser = argparse.ArgumentParser(description="Make the sample recordings and events.csv.")
    parser.add_argument("out_dir", nargs="?", type=Path, default=Path(__file__).parent)
    out_dir: Path = parser.parse_args(argv).out_dir
    rows: list[tuple[object, ...]] = []
    for name, (sound, rate, channels, bits) in FILES.items():
        scene = sound(rate, channels, Rng(np.random.PCG64(zlib.crc32(name.encode()))))
        write_wav(out_dir / name, scene.samples, rate=rate, bits=bits)
        rows += [(name, f"{e.start_s:.6f}", f"{e.end_s:.6f}", *e[2:]) for e in scene.events]
    with (out_dir / "events.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", *Event._fields), *rows])


if __name__ == "__main__":
    main()
