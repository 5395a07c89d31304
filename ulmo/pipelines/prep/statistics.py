"""The constants of the modes `corpus`, `pcen` and `level`, learned before any tile is made."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from ulmo.config import PrepSettings
from ulmo.jobs.executor import Pool
from ulmo.jobs.inputs import InputFile
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import MIN_SCALE, MIN_SCALE_PCEN, Moments, Normalization
from ulmo.preprocessing.reading.audio import RefusedError, channel_list, open_recording
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.preprocessing.spectrogram import measure
from ulmo.preprocessing.stretches import read_stretches, tile_grid
from ulmo.preprocessing.times.clock import Clock

_STRETCHES = 256  # as long as a tile, to learn from in all
_RECORDING_STRETCHES = 4  # of one recording, at most


class Constants(NamedTuple):
    """What was learned of all recordings."""

    normalization: Normalization
    is_final: bool  # False if a recording failed to be read that could be read when planned


class _Measured(NamedTuple):
    moments: Moments
    reason: str | None = None  # why not all was read


def corpus_constants(
    pool: Pool, folder: Path, files: Sequence[InputFile], settings: PrepSettings
) -> Constants:
    """Mean and spread of stretches of recordings that are evenly spread over the list.

    One that cannot be read is tried once more.
    """
    step = max(1, len(files) / _STRETCHES)
    chosen = [files[int(i * step)] for i in range(int(len(files) / step))]
    each = min(max(_STRETCHES // len(chosen), 1), _RECORDING_STRETCHES)
    least = MIN_SCALE_PCEN if settings.normalization == "pcen" else MIN_SCALE
    readable = {folder / file.path: file.size > 0 for file in chosen}
    left, found = list(readable), dict[Path, _Measured]()
    for _ in range(2):
        found |= pool.each(partial(_measure_stretches, settings, each), left)
        left = [path for path in left if readable[path] and found[path].reason in MAY_PASS]
    moments = sum((found[path].moments for path in readable), Moments())
    return Constants(moments.normalization(least), not left)


def _measure_stretches(settings: PrepSettings, count: int, path: Path) -> _Measured:
    """Moments of `count` tile-long stretches, evenly spread, as far as they can be read."""
    frontend = build_frontend(settings)
    moments = Moments()
    try:
        spans = Clock().timing(path).spans
        with open_recording(path, full_scale=settings.full_scale) as recording:
            channels = channel_list(settings.channels, recording.channels)
            tile = settings.tile_size * settings.hop_length
            length = -(-tile * recording.sample_rate // settings.true_rate)
            room = max(recording.frames - length, 0)
            with in_turn(recording, channels):
                for start, channel in product(_spread(room, count), channels):
                    for stretch in read_stretches(
                        *(recording, channel, settings.true_rate, spans),
                        hop=tile_grid(settings),
                        first=start,
                        frames=length,
                    ):
                        moments += measure(stretch.blocks, frontend, settings)
    except RefusedError as refusal:
        return _Measured(moments, refusal.reason)
    return _Measured(moments)


def _spread(room: int, count: int) -> list[int]:
    """`count` places from 0 to `room`, both included; the middle if `count` is 1."""
    places = [room // 2] if count == 1 else [room * i // (count - 1) for i in range(count)]
    return sorted(set(places))
