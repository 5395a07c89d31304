"""Samples of a channel at the recording's own rate, for what tokens are too coarse to place."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.config import ClockSettings
from ulmo.listening.listen import Heard
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.stretches import read_stretches
from ulmo.preprocessing.times.clock import Clock

# Samples that are handed on at once, of a temporary file of at most 1 GB: 90 minutes at 48 kHz.
_MOST = 1 << 28


class Piece(NamedTuple):
    """Consecutive samples of one stretch."""

    part: int  # the number of the stretch
    start_s: float  # of its first sample, from the first sample of the stretch
    samples: Array  # (n,)
    rate: int  # hertz


def own_samples(heard: Heard, clock: ClockSettings, full_scale: float) -> Iterator[Piece]:
    """Yield all samples of a channel that was heard, in pieces that need no memory.

    RefusedError if the recording cannot be read any more.
    """
    spans = Clock.of(clock).timing(heard.path).spans
    numbers = {part.start_s: number for number, part in enumerate(heard.parts)}
    with open_recording(heard.path, full_scale=full_scale) as recording:
        rate = recording.sample_rate
        hop = Fraction(heard.column_s).limit_denominator(1 << 32)
        stretches = read_stretches(recording, heard.channel, rate, spans, hop=hop)
        for stretch in stretches:
            first = 0
            for samples in _pieces(stretch.blocks):
                if float(stretch.start) in numbers:
                    yield Piece(numbers[float(stretch.start)], first / rate, samples, rate)
                first += len(samples)


def _pieces(blocks: Iterable[Array]) -> Iterator[Array]:
    """Blocks (n,) joined to long pieces, which lie in a file and are read from there."""
    left = (part for block in blocks for part in np.split(block, range(_MOST, len(block), _MOST)))
    held = next(left, None)
    while held is not None:
        with TemporaryFile() as file:
            count = 0
            while held is not None and count + len(held) <= _MOST:
                file.write(np.ascontiguousarray(held, np.float32).data)
                count += len(held)
                held = next(left, None)
            file.flush()
            if count:
                yield np.memmap(file, np.float32, "r", shape=(count,))
