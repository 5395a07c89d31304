"""One channel of a recording: samples to power, to levels, to normalised tiles."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ulmo.arrays import Array
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends import FrontEnd, stream_power
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.normalize import (
    Moments,
    Normalization,
    pcen,
    quiet_level,
    to_db,
    to_tracked_db,
)
from ulmo.preprocessing.tiles import Tile, cut_tiles

Ready = Callable[[int], int]
# Returns a channel's samples from the start as blocks (n,) at the settings' rate, at each call.
SampleSource = Callable[[], Iterable[Array]]


class NormalizedTile(NamedTuple):
    """A tile as the model gets it, and how to undo its normalisation."""

    values: Array  # (M, M, 1)
    start_frame: int
    valid_frames: int
    normalization: Normalization
    loudest: float  # the largest value of the valid frames


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
    source: SampleSource,
    frontend: FrontEnd,
    settings: PrepSettings,
    corpus: Normalization | None,
    *,
    hearing: Hearing | None = None,
) -> Iterator[NormalizedTile]:
    """Tiles of one channel, normalised as the settings say.

    `corpus` holds the constants of the modes `corpus`, `pcen` and `level`. The mode `recording`
    reads the source twice.
    """
    own = settings.normalization == "tile"
    constants = None if own else _constants(source, frontend, settings, corpus)
    tiles = cut_tiles(
        levels(source(), frontend, settings, hearing=hearing),
        tile_size=settings.tile_size,
        overlap=settings.overlap,
        fill=quiet_level(settings),
    )
    for tile in tiles:
        yield normalize_tile(tile, constants)


def normalized_levels(
    source: SampleSource,
    frontend: FrontEnd,
    settings: PrepSettings,
    corpus: Normalization | None,
    *,
    ready: Ready | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Array]:
    """The whole spectrogram of a channel as blocks (M, n) of normalised values, without overlap.

    The mode `tile` normalises the tiles that ulmo-prep would make without overlap. In no mode
    does the result depend on how the samples are cut into blocks.
    """
    if settings.normalization == "tile":
        plain = settings.model_copy(update={"overlap": 0})
        for tile in normalized_tiles(source, frontend, plain, None, hearing=hearing):
            yield tile.values[:, : tile.valid_frames, 0]
        return
    constants = _constants(source, frontend, settings, corpus)
    for block in levels(source(), frontend, settings, ready=ready, hearing=hearing):
        yield constants.apply(block, out=block)


def measure(samples: Iterable[Array], frontend: FrontEnd, settings: PrepSettings) -> Moments:
    """The moments of the levels of blocks (n,) of samples."""
    return sum((Moments.of(block) for block in levels(samples, frontend, settings)), Moments())


def _constants(
    source: SampleSource, frontend: FrontEnd, settings: PrepSettings, corpus: Normalization | None
) -> Normalization:
    """The constants for a whole recording: its own, or those of the corpus."""
    if settings.normalization == "recording":
        return measure(source(), frontend, settings).normalization()
    if corpus is None:
        raise UserError(
            f"normalization {settings.normalization!r} needs its constants: pass normalization="
        )
    return corpus


def normalize_tile(tile: Tile, constants: Normalization | None) -> NormalizedTile:
    """Normalise a tile of levels in place; without constants, by its own mean and deviation."""
    if constants is None:
        constants = Moments.of(tile.values[:, : tile.valid_frames]).normalization()
    values = constants.apply(tile.values, out=tile.values)[..., None]
    loudest = float(values[:, : tile.valid_frames].max())
    return NormalizedTile(values, tile.start_frame, tile.valid_frames, constants, loudest)
