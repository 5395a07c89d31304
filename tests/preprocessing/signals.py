"""Settings, signals and small helpers that the tests of the front ends share."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ulmo.config import PrepSettings
from ulmo.preprocessing.frontends import stream_power

SAMPLES = Path(__file__).parents[2] / "data_samples"
REAL = Path(__file__).parents[3] / "shared" / "audio"

CASES = {
    "default": {},
    "48k": {"tile_size": 224, "sample_rate": 48000, "hop_length": 128},
    "8k": {"tile_size": 64, "sample_rate": 8000, "hop_length": 128},
    "odd": {"tile_size": 65, "sample_rate": 8000, "hop_length": 101},
    "wide": {
        "tile_size": 65,
        "sample_rate": 48000,
        "hop_length": 441,
        "n_fft": 2048,
        "win_length": 1024,
    },
    "fmin": {"tile_size": 64, "sample_rate": 16000, "hop_length": 128, "fmin": 500.0},
}


def settings_of(frontend, **values):
    return PrepSettings(frontend=frontend, **values)


def power_of(frontend, *blocks):
    """Power (M, frames) of the blocks, as float32 blocks."""
    blocks = [np.asarray(block, np.float32) for block in blocks]
    parts = list(stream_power(frontend, blocks))
    return np.concatenate([np.empty((len(frontend.frequencies), 0), np.float32), *parts], axis=1)


def level(power, floor):
    """Decibels, clipped from below at a floor."""
    return 10 * np.log10(np.maximum(np.asarray(power, np.float64), 10 ** (floor / 10)))


def count_tiles(frames, tile_size, overlap=0):
    """Number of tiles that cover `frames`, without a tile that only repeats the one before."""
    if frames <= 0:
        return 0
    return 1 + max(0, -(-(frames - tile_size) // (tile_size - overlap)))


def join_tiles(tiles, *, overlap=0):
    """The spectrogram (M, frames) that was cut, each overlap once and without the filling."""
    pieces = [
        tile.values[:, (overlap if tile.start_frame else 0) : tile.valid_frames] for tile in tiles
    ]
    return np.concatenate(pieces, axis=1)


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.2, samples).astype(np.float32)


def sine(samples, frequency, sample_rate):
    return np.sin(2 * np.pi * frequency / sample_rate * np.arange(samples) + 0.3)


def impulses(samples, *places):
    signal = np.zeros(samples)
    signal[list(places)] = 1
    return signal


def chirp(samples):
    """From 0.01 to 0.4 cycles a sample."""
    n = np.arange(samples)
    return 0.9 * np.sin(2 * np.pi * (0.01 * n + 0.39 / 2 / samples * n * n))


def recorded(samples, path):
    """Samples of a recording around its loudest, whatever its rate."""
    whole, _ = soundfile.read(path, dtype="float32")
    start = np.clip(np.abs(whole).argmax() - samples // 2, 0, len(whole) - samples)
    return whole[start : start + samples]


def real_speech(samples):
    path = REAL / "librosa_data" / "198-209-0000.hq.ogg"
    if not path.exists():
        pytest.skip(f"no {path}")
    return recorded(samples, path)


SIGNALS = {
    "noise": noise,
    "tones": lambda samples: 0.4 * (sine(samples, 0.0501, 1) + sine(samples, 0.203, 1)),
    "low tones": lambda samples: 0.4 * (sine(samples, 0.0011, 1) + sine(samples, 0.0032, 1)),
    "chirp": chirp,
    "impulses": lambda samples: impulses(samples, samples // 3, samples // 2 + 7),
    "calls": lambda samples: recorded(samples, SAMPLES / "harmonic_calls.wav"),
    "real_speech": real_speech,
}
