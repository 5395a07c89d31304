"""The constants of the modes `corpus`, `pcen` and `level`, learned before any tile is made."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from ulmo.config import PrepSettings
from ulmo.jobs.executor import Executor
from ulmo.jobs.inputs import InputFile
from ulmo.jobs.progress import lost_with
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import MIN_SCALE, MIN_SCALE_PCEN, Moments, Normalization
from ulmo.preprocessing.reading.audio import RefusedError, channel_list, open_recording
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.refusal import MAY_PASS, WORKER_LOST
from ulmo.preprocessing.spectrogram import measure
from ulmo.preprocessing.stretches import read_stretches, tile_grid
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.names import portable
from ulmo.storage.sealed import fingerprint

_STRETCHES = 256  # as long as a tile, to learn from in all
_RECORDING_STRETCHES = 4  # of one recording, at most


class Constants(NamedTuple):
    """What was learned of all recordings."""

    normalization: Normalization
    learned_of: str  # see below
    is_final: bool  # False if a recording failed to be read that could be read when planned


class _Measured(NamedTuple):
    moments: Moments
    reason: str | None = None  # why not all was read


def learned_of(files: Sequence[InputFile]) -> str:
    """A hash of the recordings that constants are learned of, with their times.

    One that is edited in its middle has other constants, though its size and ends are the same.
    """
    return fingerprint([file.key("", portable(file.path)) for file in _chosen(files)])


def _chosen(files: Sequence[InputFile]) -> list[InputFile]:
    step = max(1, len(files) / _STRETCHES)
    return [files[int(i * step)] for i in range(int(len(files) / step))]


def corpus_constants(
    executor: Executor, folder: Path, files: Sequence[InputFile], settings: PrepSettings
) -> Constants:
    """Mean and spread of stretches of recordings that are evenly spread over the list.

    One that cannot be read, or is another than it was when the job was planned, is tried once more.
    """
    chosen = _chosen(files)
    each = min(max(_STRETCHES // len(chosen), 1), _RECORDING_STRETCHES)
    least = MIN_SCALE_PCEN if settings.normalization == "pcen" else MIN_SCALE
    left, found = chosen, dict[InputFile, _Measured]()
    for _ in range(2):
        found |= executor.each(partial(_measure_stretches, settings, each, folder), left)
        left = [file for file in left if file.size and found[file].reason in MAY_PASS]
    moments = sum((found[file].moments for file in chosen), Moments())
    return Constants(moments.normalization(least), learned_of(files), not left)


def _measure_stretches(
    settings: PrepSettings, count: int, folder: Path, file: InputFile
) -> _Measured:
    """Moments of `count` tile-long stretches, evenly spread, as far as they can be read."""
    path = folder / file.path
    frontend = build_frontend(settings)
    moments = Moments()
    try:
        if lost := lost_with(path):
            raise RefusedError(WORKER_LOST, lost)
        timing = Clock().timing(path)
        with open_recording(path, full_scale=settings.full_scale) as recording:
            is_planned = (recording.size, recording.mtime_ns) == (file.size, file.mtime_ns)
            if file.size and not (is_planned and recording.signature == timing.signature):
                raise RefusedError("changed", "it has changed since the job was planned")
            channels = channel_list(settings.channels, recording.channels)
            tile = settings.tile_size * settings.hop_length
            length = -(-tile * recording.sample_rate // settings.true_rate)
            room = max(recording.frames - length, 0)
            with in_turn(recording, channels):
                for start, channel in product(_spread(room, count), channels):
                    for stretch in read_stretches(
                        *(recording, channel, settings.true_rate, timing.spans),
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
