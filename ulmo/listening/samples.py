"""Samples of a channel at the recording's own rate, for what tokens are too coarse to place."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.config import ClockSettings
from ulmo.listening.listen import Heard
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.stretches import read_stretches
from ulmo.preprocessing.times.clock import Clock

# Seconds that are handed on at once: whole steps, as many as fit into so many samples (256 MB).
_STEP_S, _MOST_STEPS, _MOST_SAMPLES = 120, 5, 1 << 26


class Piece(NamedTuple):
    """Consecutive samples of one stretch."""

    part: int  # the number of the stretch
    start_s: float  # of its first sample, from the first sample of the stretch
    samples: Array  # (n,)
    rate: int  # hertz


def own_samples(heard: Heard, clock: ClockSettings, full_scale: float) -> Iterator[Piece]:
    """Yield all samples of a channel that was heard, at most ten minutes at once.

    RefusedError if the recording cannot be read any more.
    """
    spans = Clock.of(clock).timing(heard.path).spans
    numbers = {part.start_s: number for number, part in enumerate(heard.parts)}
    with open_recording(heard.path, full_scale=full_scale) as recording:
        rate = recording.sample_rate
        steps = min(max(_MOST_SAMPLES // (rate * _STEP_S), 1), _MOST_STEPS)
        hop = Fraction(heard.column_s).limit_denominator(1 << 32)
        stretches = read_stretches(recording, heard.channel, rate, spans, hop=hop)
        for stretch in stretches:
            pieces = _pieces(stretch.blocks, steps * _STEP_S * rate)
            for number, samples in enumerate(pieces):
                if float(stretch.start) in numbers:
                    start_s = float(number * steps * _STEP_S)
                    yield Piece(numbers[float(stretch.start)], start_s, samples, rate)


def _pieces(blocks: Iterable[Array], size: int) -> Iterator[Array]:
    """Blocks (n,) as pieces of `size` samples; the last may be shorter."""
    held: list[Array] = []
    count = 0
    for block in blocks:
        rest = block
        while count + len(rest) >= size:
            yield np.concatenate([*held, rest[: size - count]])
            rest, held, count = rest[size - count :], [], 0
        if len(rest):
            held.append(rest.copy())
            count += len(rest)
    if held:
        yield np.concatenate(held)
