"""Recordings to tiles. Knows neither Keras nor TensorFlow."""

from pathlib import Path

import numpy as np

from ulmo.arrays import Array
from ulmo.config import Limits, PrepSettings
from ulmo.config.arguments import instance_of
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.sources import open_sound_of
from ulmo.preprocessing.spectrogram import check_sound, find_constants, normalized_tiles
from ulmo.preprocessing.stretches import tile_grid

__all__ = ["preprocess"]


def preprocess(
    source: str | Path | Array,
    *,
    sample_rate: int | None = None,
    settings: PrepSettings | None = None,
    normalization: Normalization | None = None,
    max_gigabytes: float | None = None,
    max_gigaops: float | None = None,
) -> Array:
    """Tiles (n, M, M, 1) of one recording, float32 and finite.

    `source` is a file, or samples (n,) or (n, channels) with full scale 1 and their `sample_rate`
    in hertz; channels are averaged. Without `settings` the defaults apply, and the recording is
    normalised by itself. The modes `corpus`, `pcen` and `level` need their constants as
    `normalization`. No tile crosses a gap in the time of a file. Settings that need more than
    `max_gigabytes` at once or `max_gigaops` for a second of sound are refused (ulmo.config.Limits).

    Raises RefusedError for a file that cannot be read, UserError for invalid settings.
    """
    if settings is None:
        settings = PrepSettings(normalization="recording")
    instance_of("settings", settings, PrepSettings, "PrepSettings")
    if normalization is not None:
        instance_of("normalization", normalization, Normalization, "a Normalization")
    check_sound(settings, Limits.of(max_gigabytes=max_gigabytes, max_gigaops=max_gigaops))
    frontend = build_frontend(settings)
    with open_sound_of(source, settings, hop=tile_grid(settings), sample_rate=sample_rate) as sound:
        constants = find_constants(sound.read, frontend, settings, normalization)
        tiles = [
            tile.values
            for stretch in sound.read()
            for tile in normalized_tiles(stretch.blocks, frontend, settings, constants)
        ]
    if not tiles:
        return np.empty((0, settings.tile_size, settings.tile_size, 1), np.float32)
    return np.stack(tiles)
