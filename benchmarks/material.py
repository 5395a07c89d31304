"""What benchmarks run on: sounds, and a tokenizer at the default settings."""

import math
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ulmo.bundle.bundle import build_bundle, write_bundle
from ulmo.bundle.card import Card
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings, PrepSettings
from ulmo.preprocessing.normalize import Normalization


def sound(
    seconds: float, rate: int, *, rng: np.random.Generator, phase: int = 0
) -> NDArray[np.float64]:
    """Noise and a wandering tone."""
    n = np.arange(round(seconds * rate))
    tone = np.sin(2 * np.pi * np.cumsum(1500 + 1000 * np.sin(n / rate + phase)) / rate)
    return 0.3 * tone + 0.02 * rng.standard_normal(len(n))


def write_sound(
    path: Path, seconds: float, rate: int, *, repeated: int = 1, channels: int = 1
) -> Path:
    """Write a sound, `repeated` times, as a WAV file of 16 bits, the same in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.round(sound(seconds, rate, rng=np.random.default_rng(0)) * 32767)
    written = np.repeat(samples.astype(np.int16)[:, None], channels, axis=1)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for _ in range(repeated):
            file.write(written)
    return path


def write_recordings(
    folder: Path, count: int, seconds: float, rate: int = 16_000, suffix: str = ".wav"
) -> Path:
    """Write recordings of one channel, all of them different, into a new folder."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        samples = sound(seconds, rate, rng=rng, phase=number)
        soundfile.write(folder / f"{number:06d}{suffix}", samples, rate)
    return folder


def write_tokenizer(folder: Path) -> Path:
    """Write a bundle at the default settings, with random weights: speed is the same for all."""
    model, rng = ModelSettings(), np.random.default_rng(0)
    built = build_bundle(
        prep=PrepSettings(),
        normalization=Normalization(offset=-45.5, scale=17.25),
        model=model,
        weights={
            name: rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape).astype(np.float32)
            for name, shape in weight_shapes(model).items()
        },
        thresholds=np.zeros((model.codebook_size, len(UNK_QUANTILES)), np.float32),
        card=Card(notes="Trained on nothing."),
    )
    write_bundle(folder, built)
    return folder
