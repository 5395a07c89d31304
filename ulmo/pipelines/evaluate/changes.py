"""Changes of recordings that should not change their tokens, and how many tokens stay the same."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.evaluation.agreement import Agreement, agreement
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.preprocessing.audio import resample

_Columns = NDArray[np.int64]


class _Changed(NamedTuple):
    """A changed recording."""

    samples: Array  # (n,)
    columns: _Columns  # for each column of the original, the one at its time


# Samples (n,) and the numbers of their columns, at the encoder's rate, to a changed recording.
_Change = Callable[[Array, _Columns, AudioEncoder, np.random.Generator], _Changed]


def _shift_columns(encoder: AudioEncoder) -> int:
    """Columns in half a tile: the nearest whole number, at least 1."""
    return max(round(encoder.tile_samples / 2 / encoder.hop), 1)


def _gain(decibels: float) -> _Change:
    """Amplify by some decibels. Nothing is clipped: samples may exceed full scale."""

    def change(samples: Array, columns: _Columns, *_: object) -> _Changed:
        return _Changed(samples * np.float32(10 ** (decibels / 20)), columns)

    return change


def _noise(ratio_db: float) -> _Change:
    """Add white Gaussian noise, ratio_db below the mean power of the recording."""

    def change(
        samples: Array, columns: _Columns, encoder: AudioEncoder, rng: np.random.Generator
    ) -> _Changed:
        power = float((samples.astype(np.float64) ** 2).sum()) / max(len(samples), 1)
        level = np.sqrt(power * 10 ** (-ratio_db / 10))
        noise = rng.standard_normal(len(samples)) * level
        return _Changed((samples + noise).astype(np.float32), columns)

    return change


def _shift(samples: Array, columns: _Columns, encoder: AudioEncoder, *_: object) -> _Changed:
    """Prepend half a tile of zeros."""
    shift = _shift_columns(encoder)
    silence = np.zeros(shift * encoder.hop, np.float32)
    return _Changed(np.concatenate([silence, samples]), columns + shift)


def _rate(factor: float) -> _Change:
    """Resample to `factor` times the rate, and keep the nominal rate: above 1, slower and lower.

    AugmentSettings.rate_spread changes training tiles in the same way. The column at a time is the
    one that contains the middle of the original's column.
    """

    def change(samples: Array, columns: _Columns, encoder: AudioEncoder, *_: object) -> _Changed:
        rate = encoder.sample_rate
        blocks = resample([samples], rate, round(rate * factor))
        places = np.floor((columns + 0.5) * round(rate * factor) / rate).astype(np.int64)
        return _Changed(np.concatenate([np.empty(0, np.float32), *blocks]), places)

    return change


_CHANGES: dict[str, _Change] = {
    "gain_up_6db": _gain(6),
    "gain_down_6db": _gain(-6),
    "noise_20db": _noise(20),
    "noise_10db": _noise(10),
    "shift_half_tile": _shift,
    "rate_up_10": _rate(1.1),
    "rate_down_10": _rate(0.9),
}


def robustness(
    encoder: AudioEncoder,
    recordings: Iterable[Array],
    *,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, Agreement]:
    """Agreement of the tokens of recordings (n,), at the encoder's rate, under each of _CHANGES.

    The noise of each recording follows from the seed and its number. `progress` receives the
    number of recordings done.
    """
    found = dict.fromkeys(_CHANGES, Agreement())
    for number, samples in enumerate(recordings):
        ids = encoder.encode(samples)
        sound = encoder.sound(samples, ids)
        for name, change in _CHANGES.items():
            rng = np.random.default_rng([seed, number])
            changed = change(samples, np.arange(len(ids)), encoder, rng)
            found[name] += agreement(ids, encoder.encode(changed.samples), changed.columns, sound)
        progress(number + 1)
    return found
