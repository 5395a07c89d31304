"""The spectrogram of a page: levels in dB as grey pictures, which the page colours.

samples -> power (bins, frames) -> dB -> a byte each -> WebP pictures, side by side
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.pipelines.look.sound import Samples, slowed_by
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.normalize import to_db

ROWS = 256  # of each picture: half the pixels of a tall screen, which a browser smooths
_COLUMN_S = 0.01  # seconds of a column, as the page keeps the sound; half of it for short sounds
_SHORT_S = 30.0
_FINE_RATE = 24_000  # hertz: from here on, windows have 1024 samples rather than 512
_RANGE_DB = 100.0  # from the loudest level to the faintest that is kept
_SILENCE_DB = -160.0
# The rounding noise of 16 bits is at -117 dB or below in 9 of 10 columns of a row.
_SOUND_DB = -115.0
_COLUMNS = 4096  # of a picture; WebP takes 16,383
# Qualities of WebP, best first: noise takes 2.4 bits a pixel with the first, 0.6 with the last.
_QUALITIES = (80, 65, 50, 35, 20, 10)
_BYTES_A_MINUTE = 300_000  # of pictures; what a page may hold is in payload.py
_LEAST_BYTES = 60_000


class Spectrogram(NamedTuple):
    """Pictures of levels, with what their bytes mean."""

    pictures: Sequence[bytes]  # WebP, (ROWS, up to 4096), from the begin on; the last row is 0 Hz
    columns: int
    column_s: float  # true seconds from one column to the next
    top_hz: float  # of the first row: half the recording's rate
    low_db: float  # of the byte 0, re a full-scale sine
    high_db: float  # of the byte 255
    floor_db: float  # what to show as the darkest at first: a little below the background
    ceiling_db: float  # what to show as the brightest at first


def draw_spectrogram(samples: Samples) -> Spectrogram:
    """The whole band of a recording, linear in frequency."""
    levels, column_s = _levels(samples)
    high = float(np.ceil(levels.max(initial=_SILENCE_DB)))
    low = high - _RANGE_DB
    grey = np.clip(np.rint((levels - low) * (255 / _RANGE_DB)), 0, 255).astype(np.uint8)[::-1]
    kept_minutes = samples.seconds * slowed_by(samples.rate) / 60
    floor, ceiling = (float(each) for each in np.quantile(_sounding(levels), [0.4, 0.9995]))
    return Spectrogram(
        _pictures(grey, max(round(_BYTES_A_MINUTE * kept_minutes), _LEAST_BYTES)),
        columns=grey.shape[1],
        column_s=column_s,
        top_hz=samples.rate / 2,
        low_db=low,
        high_db=high,
        floor_db=max(round(floor), low),
        ceiling_db=min(max(round(ceiling), round(floor) + 20), high),
    )


def _levels(samples: Samples) -> tuple[Array, float]:
    """Levels in dB (ROWS, columns), and seconds from one column to the next."""
    kept_rate = samples.rate / slowed_by(samples.rate)
    short = samples.seconds * slowed_by(samples.rate) < _SHORT_S
    hop = max(round(_COLUMN_S * kept_rate / (2 if short else 1)), 1)
    bins = ROWS * (2 if kept_rate > _FINE_RATE else 1)
    settings = PrepSettings(
        frontend="stft", sample_rate=samples.rate, tile_size=bins, hop_length=hop
    )
    blocks = stream_power(build_frontend(settings), [samples.values])
    parts = [np.empty((ROWS, 0), np.float32)]
    for block in blocks:
        power = block.reshape(ROWS, -1, block.shape[1]).mean(axis=1)
        parts.append(to_db(power, _SILENCE_DB))
    return np.concatenate(parts, axis=1), hop / samples.rate


def _sounding(levels: Array) -> Array:
    """The levels of rows and columns that have sound; all, if none has.

    Above the highest frequency that an MP3 keeps, there is digital silence. Between two stretches
    of sound, there are zeros.
    """
    columns = levels.max(axis=0, initial=_SILENCE_DB) > _SILENCE_DB
    if not columns.any():
        return levels
    heard = levels[:, columns]
    rows = np.quantile(heard, 0.9, axis=1) > _SOUND_DB
    return heard[rows] if rows.any() else heard


def _pictures(grey: NDArray[np.uint8], most: int) -> list[bytes]:
    """WebP of the best quality that takes no more than `most` bytes, or of the least."""
    parts = [grey[:, first : first + _COLUMNS] for first in range(0, grey.shape[1], _COLUMNS)]
    found: list[bytes] = []
    for quality in _QUALITIES:
        found = [as_webp(part, quality) for part in parts]
        if sum(map(len, found)) <= most:
            break
    return found


def as_webp(grey: NDArray[np.uint8], quality: int) -> bytes:
    """A grey picture as WebP."""
    options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    _, content = cv2.imencode(".webp", np.ascontiguousarray(grey), options)
    return bytes(content)
