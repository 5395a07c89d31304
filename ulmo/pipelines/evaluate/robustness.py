"""Recordings changed in ways that should not change their tokens, and the tokens compared."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.evaluation.robustness import Agreement, agreement
from ulmo.pipelines.evaluate.encoders import Encoder
from ulmo.preprocessing.audio import resample

Columns = NDArray[np.int64]


class Changed(NamedTuple):
    """A changed recording."""

    samples: Array  # (n,)
    columns: Columns
    """Of each column of the original, the one at its time."""


Change = Callable[[Array, Columns, Encoder, np.random.Generator], Changed]
"""Samples (n,) and the numbers of their columns, at the encoder's rate, to a changed recording."""


def shift_columns(encoder: Encoder) -> int:
    """Columns in half a tile: the nearest whole number, at least 1."""
    return max(round(encoder.tile_samples / 2 / encoder.hop), 1)


def _gain(decibels: float) -> Change:
    """Louder by so many decibels. Nothing is clipped: samples are not bound to full scale."""

    def change(samples: Array, columns: Columns, *_: object) -> Changed:
        return Changed(samples * np.float32(10 ** (decibels / 20)), columns)

    return change


def _noise(ratio_db: float) -> Change:
    """White Gaussian noise so many decibels under the recording's own mean power."""

    def change(
        samples: Array, columns: Columns, encoder: Encoder, rng: np.random.Generator
    ) -> Changed:
        power = float((samples.astype(np.float64) ** 2).sum()) / max(len(samples), 1)
        level = np.sqrt(power * 10 ** (-ratio_db / 10))
        noise = rng.standard_normal(len(samples)) * level
        return Changed((samples + noise).astype(np.float32), columns)

    return change


def _shift(samples: Array, columns: Columns, encoder: Encoder, rng: np.random.Generator) -> Changed:
    """Half a tile of zeros before it."""
    shift = shift_columns(encoder)
    silence = np.zeros(shift * encoder.hop, np.float32)
    return Changed(np.concatenate([silence, samples]), columns + shift)


def _rate(factor: float) -> Change:
    """Sampled at so many times the rate and taken for the rate: slower and lower for over 1.

    AugmentSettings.rate_spread changes the training tiles so. The column at a time is the one in
    which the middle of the original's column lies.
    """

    def change(samples: Array, columns: Columns, encoder: Encoder, *_: object) -> Changed:
        rate = encoder.sample_rate
        blocks = resample([samples], rate, round(rate * factor))
        places = np.floor((columns + 0.5) * round(rate * factor) / rate).astype(np.int64)
        return Changed(np.concatenate([np.empty(0, np.float32), *blocks]), places)

    return change


CHANGES: dict[str, Change] = {
    "gain_up_6db": _gain(6),
    "gain_down_6db": _gain(-6),
    "noise_20db": _noise(20),
    "noise_10db": _noise(10),
    "shift_half_tile": _shift,
    "rate_up_10": _rate(1.1),
    "rate_down_10": _rate(0.9),
}


def robustness(
    encoder: Encoder,
    recordings: Iterable[Array],
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Agreement]:
    """Agreement of the tokens of recordings (n,), at the encoder's rate, under each of CHANGES.

    Each recording has noise of its own, ruled by the seed. `progress` is told recordings done.
    """
    found = dict.fromkeys(CHANGES, Agreement())
    for number, samples in enumerate(recordings):
        ids = encoder.encode(samples)
        sound = encoder.sound(samples, ids)
        for name, change in CHANGES.items():
            rng = np.random.default_rng([seed, number])
            changed = change(samples, np.arange(len(ids)), encoder, rng)
            found[name] += agreement(ids, encoder.encode(changed.samples), changed.columns, sound)
        if progress:
            progress(number + 1)
    return found
