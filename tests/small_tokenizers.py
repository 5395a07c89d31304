"""Small tokenizers of many kinds, and a sound for them."""

import numpy as np

RATE, HOP = 2000, 20
WINDOW = 8
"""Columns of a window in these tests: few, so that short recordings have several."""
PLANS = {
    "default": (32, {}),
    "divides": (32, {"frequency_stride": 8, "time_stride": 4}),
    "odd tile": (65, {"encoder_layers": 3, "decoder_layers": 2}),
    "ragged": (100, {"frequency_stride": 16, "time_stride": 8, "decoder_layers": 5}),
    "unequal": (65, {"encoder_layers": 2, "frequency_stride": 5, "time_stride": 21}),
    "one layer": (24, {"encoder_layers": 1, "frequency_stride": 24, "time_stride": 1}),
    "full rate": (24, {"encoder_layers": 8, "frequency_stride": 4, "time_stride": 1}),
}


def sound(length):
    """A chirp that comes and goes, in noise."""
    time = np.arange(length) / RATE
    chirp = np.sin(2 * np.pi * (50 + 20 * time) * time) * np.sin(3 * time) ** 2
    return (0.3 * chirp + np.random.default_rng(0).normal(0, 0.003, length)).astype(np.float32)
