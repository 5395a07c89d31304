"""Recordings to tiles. Knows neither Keras nor TensorFlow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.arrays import read_blocks
from ulmo.preprocessing.audio import read_mono
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.spectrogram import normalized_tiles

__all__ = ["preprocess"]


def preprocess(
    source: str | Path | Array,
    *,
    sample_rate: int | None = None,
    settings: PrepSettings | None = None,
    normalization: Normalization | None = None,
) -> Array:
    """Tiles (n, M, M, 1) of one recording, float32 and finite.

    `source` is a file, whose channels are averaged, or samples (n,) with full scale 1 and their
    `sample_rate` in hertz. Without `settings` the defaults apply, and the recording is normalised
    by itself. The modes `corpus`, `pcen` and `level` need their constants as `normalization`.

    Raises RefusedError for a file that cannot be read, UserError for invalid settings.
    """
    settings = settings or PrepSettings(normalization="recording")
    rate = settings.sample_rate

    def samples() -> Iterator[Array]:
        if isinstance(source, str | Path):
            return read_mono(Path(source), sample_rate=rate)
        return read_blocks([source], sample_rate, rate)

    frontend = build_frontend(settings)
    tiles = [t.values for t in normalized_tiles(samples, frontend, settings, normalization)]
    if not tiles:
        return np.empty((0, settings.tile_size, settings.tile_size, 1), np.float32)
    return np.stack(tiles)
