"""Stretches of one channel: samples to power, to levels, to normalised tiles."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ulmo.arrays import Array
from ulmo.config import Cost, Limits, PrepSettings, UserError
from ulmo.preprocessing.frontends import FrontEnd, frontend_cost, stream_power
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.normalize import (
    Moments,
    Normalization,
    pcen,
    quiet_level,
    to_db,
    to_tracked_db,
)
from ulmo.preprocessing.reading.parts import RATES
from ulmo.preprocessing.stretches import SampleSource
from ulmo.preprocessing.tiles import Tile, cut_tiles

Ready = Callable[[int], int]

_READING = 48e6  # bytes: blocks of samples as they are decoded and mixed
_GROUP = 1000  # samples that soxr resamples at once, and returns in a block
_COPIES = 5  # of such a block
_RESAMPLING = 200  # operations a sample at the settings' rate
_CELL = {"pcen": 200}  # operations on a cell of power: PCEN takes powers in float64, others 30
_FRAME = {"pcen": 5000}  # on a frame, beside those of its cells


class NormalizedTile(NamedTuple):
    """A tile as the model gets it, and how to undo its normalisation."""

    values: Array  # (M, M, 1)
    start_frame: int
    valid_frames: int
    normalization: Normalization
    loudest: float  # the largest value of the valid frames


def sound_cost(settings: PrepSettings) -> Cost:
    """What it costs to turn sound into tiles: reading, front end, levels, a tile.

    UserError for settings that no front end meets.
    """
    bins, mode = settings.tile_size, settings.normalization
    frames = settings.true_rate / settings.hop_length  # a second
    levels = frames * (bins * _CELL.get(mode, 30) + _FRAME.get(mode, 0))
    block = _GROUP * settings.true_rate / RATES[0]
    other = Cost(
        {"reading": _READING, "resampling": 4 * _COPIES * block, "levels": 5 * 4 * bins * bins},
        {"resampling": settings.true_rate * _RESAMPLING, "levels": levels},
    )
    return other + frontend_cost(settings)


def check_sound(settings: PrepSettings, limits: Limits) -> None:
    """Raise UserError for settings that pass a limit, or that no front end meets."""
    sound_cost(settings).check(limits, "set a larger hop_length, or a smaller tile_size")


def levels(
    samples: Iterable[Array],
    frontend: FrontEnd,
    settings: PrepSettings,
    *,
    ready: Ready | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Array]:
    """Blocks (n,) of samples to blocks (M, frames) of decibels re a full-scale sine, or of PCEN.

    In the mode `level` they are in decibels re the level tracked from the first block on.
    `ready` is for live sound: see `stream_power`. `hearing` measures the power.
    """
    power = stream_power(frontend, samples, ready=ready)
    power = hearing.power(power) if hearing else power
    if settings.normalization == "pcen":
        return pcen(power, settings)
    if settings.normalization == "level":
        return to_tracked_db(power, settings)
    return (to_db(block, settings.floor_db) for block in power)


def normalized_tiles(
    samples: Iterable[Array],
    frontend: FrontEnd,
    settings: PrepSettings,
    constants: Normalization | None,
    *,
    hearing: Hearing | None = None,
) -> Iterator[NormalizedTile]:
    """Tiles of one stretch, blocks (n,) of samples. `constants` are those of `find_constants`."""
    tiles = cut_tiles(
        levels(samples, frontend, settings, hearing=hearing),
        tile_size=settings.tile_size,
        overlap=settings.overlap,
        fill=quiet_level(settings),
    )
    for tile in tiles:
        yield normalize_tile(tile, constants)


def normalized_levels(
    samples: Iterable[Array],
    frontend: FrontEnd,
    settings: PrepSettings,
    constants: Normalization | None,
    *,
    ready: Ready | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Array]:
    """The whole spectrogram of one stretch as blocks (M, n) of normalised values, without overlap.

    `constants` are those of `find_constants`. The mode `tile` normalises the tiles that ulmo-prep
    would make without overlap. In no mode does the result depend on how the samples are cut into
    blocks.
    """
    if constants is None:
        plain = settings.model_copy(update={"overlap": 0})
        for tile in normalized_tiles(samples, frontend, plain, None, hearing=hearing):
            yield tile.values[:, : tile.valid_frames, 0]
        return
    for block in levels(samples, frontend, settings, ready=ready, hearing=hearing):
        yield constants.apply(block, out=block)


def find_constants(
    source: SampleSource, frontend: FrontEnd, settings: PrepSettings, corpus: Normalization | None
) -> Normalization | None:
    """The constants of a whole recording; None in the mode `tile`, where each tile has its own.

    `corpus` holds the constants of the modes `corpus`, `pcen` and `level`; UserError without. The
    mode `recording` reads the source, and measures all its stretches together.
    """
    if settings.normalization == "tile":
        return None
    if settings.normalization == "recording":
        found = (measure(stretch.blocks, frontend, settings) for stretch in source())
        return sum(found, Moments()).normalization()
    if corpus is None:
        raise UserError(
            f"normalization {settings.normalization!r} needs its constants: pass normalization="
        )
    return corpus


def measure(samples: Iterable[Array], frontend: FrontEnd, settings: PrepSettings) -> Moments:
    """The moments of the levels of blocks (n,) of samples."""
    return sum((Moments.of(block) for block in levels(samples, frontend, settings)), Moments())


def normalize_tile(tile: Tile, constants: Normalization | None) -> NormalizedTile:
    """Normalise a tile of levels in place; without constants, by its own mean and deviation."""
    if constants is None:
        constants = Moments.of(tile.values[:, : tile.valid_frames]).normalization()
    values = constants.apply(tile.values, out=tile.values)[..., None]
    loudest = float(values[:, : tile.valid_frames].max())
    return NormalizedTile(values, tile.start_frame, tile.valid_frames, constants, loudest)
