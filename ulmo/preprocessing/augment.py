"""Views: the sound of a tile through other spectrogram parameters.

    samples at another rate -> gain and noise -> another hop and window -> tiles -> masks

A view begins at the same instant as its tile. All random numbers depend only on the seed and on
what the view is made of, so the order of work changes no bit.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Annotated, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ulmo.arrays import Array
from ulmo.config import (
    HIGHEST_RATE,
    LIMITS,
    AugmentSettings,
    Limits,
    PrepSettings,
    Settings,
    UserError,
)
from ulmo.config.errors import clipped, complaint
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.spectrogram import NormalizedTile, levels, normalize_tile, sound_cost
from ulmo.preprocessing.tiles import cut_tiles_at

NOISE_RANGE_DB = 40.0  # the noise level is drawn from this far below its maximum up to it


_Places = Annotated[int, Field(ge=0, le=2048)]
_Range = tuple[_Places, _Places]  # the first frame or bin, and the one after the last


class View(NamedTuple):
    """One set of parameters, drawn for a recording."""

    sample_rate: int  # the recording is resampled to it, and then treated as at the settings' rate
    hop_length: int
    win_length: int | None  # None: the front end has no window
    gain_db: float
    noise_db: float  # of white noise, re the root mean square of the recording


class ViewTile(NamedTuple):
    """A view of a tile, and its masks: first masked frame or bin, and the one after the last."""

    tile: NormalizedTile
    time_mask: tuple[int, int]
    frequency_mask: tuple[int, int]

    def describe(self, view: View) -> str:
        """The parameters and masks as JSON, for tiles.parquet."""
        masks = {"time_mask": self.time_mask, "frequency_mask": self.frequency_mask}
        return json.dumps({**view._asdict(), **masks})


class _ViewRecord(Settings):
    """What tiles.parquet says of a view, as `describe` writes it."""

    sample_rate: Annotated[int, Field(ge=1, le=2 * HIGHEST_RATE)]
    hop_length: Annotated[int, Field(ge=1, le=10_000_000)]
    win_length: Annotated[int, Field(ge=2, le=10 << 17)] | None
    gain_db: Annotated[float, Field(ge=-60, le=60)]
    noise_db: Annotated[float, Field(ge=-200 - NOISE_RANGE_DB, le=0)]
    time_mask: _Range
    frequency_mask: _Range


def check_described(texts: Iterable[str], settings: PrepSettings, augment: AugmentSettings) -> None:
    """Raise ValueError unless `describe` may write each text of views with these settings."""
    factors = product(augment.hop_factors, augment.window_factors)
    lengths = {_lengths(settings, hop, window) for hop, window in factors}
    rate, spread = settings.sample_rate, augment.rate_spread * settings.sample_rate + 1
    highest = augment.noise_db
    size = settings.tile_size
    for text in texts:
        try:
            view = _ViewRecord.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise ValueError(f"augmentation: {complaint(error)}") from None
        is_drawn = (
            rate - spread <= view.sample_rate <= rate + spread
            and (view.hop_length, view.win_length) in lengths
            and abs(view.gain_db) <= augment.gain_spread_db
            and highest - NOISE_RANGE_DB <= view.noise_db <= highest
            and _is_drawn(view.time_mask, size, augment.time_mask)
            and _is_drawn(view.frequency_mask, size, augment.frequency_mask)
        )
        if not is_drawn:
            raise ValueError(f"augmentation {clipped(text)} is no view of these settings")


def paces(texts: pa.ChunkedArray, settings: PrepSettings) -> NDArray[np.float64]:
    """(n,): how long a frame of each row lasts, in frames of view 0, by its `augmentation`."""
    encoded = texts.combine_chunks().dictionary_encode()
    views = [_ViewRecord.model_validate_json(text) for text in encoded.dictionary.to_pylist()]
    found = [
        view.hop_length / settings.hop_length * settings.sample_rate / view.sample_rate
        for view in views
    ]
    rows: NDArray[np.float64] = np.array([*found, 1.0])[
        encoded.indices.fill_null(len(found)).to_numpy()
    ]
    return rows


def check_views(settings: PrepSettings, augment: AugmentSettings, limits: Limits = LIMITS) -> None:
    """Raise UserError unless the front end accepts every set of parameters that may be drawn.

    limits: what all views may cost, if they all had the parameters that cost most.
    """
    for hop, window in product(augment.hop_factors, augment.window_factors):
        try:
            view = _view_settings(settings, *_lengths(settings, hop, window))
            cost = sound_cost(view).times(augment.views)
            cost.check(limits, "set fewer views, or a larger hop_length")
            build_frontend(view)
        except UserError as error:
            raise UserError(
                f"a view with hop_factors {hop:g} and window_factors {window:g}: {error}"
            ) from None


def generator(augment: AugmentSettings, *key: int | str) -> np.random.Generator:
    """Random numbers for one purpose, identified by names and numbers from 0."""
    words = (crc32(part.encode()) if isinstance(part, str) else part for part in key)
    return np.random.default_rng([augment.view_seed, *words])


def draw_view(settings: PrepSettings, augment: AugmentSettings, rng: np.random.Generator) -> View:
    """Draw each parameter uniformly from the values that the settings allow."""
    rate = settings.sample_rate * rng.uniform(1 - augment.rate_spread, 1 + augment.rate_spread)
    hop, window = rng.choice(augment.hop_factors), rng.choice(augment.window_factors)
    return View(
        round(rate),
        *_lengths(settings, float(hop), float(window)),
        gain_db=float(rng.uniform(-augment.gain_spread_db, augment.gain_spread_db)),
        noise_db=float(rng.uniform(augment.noise_db - NOISE_RANGE_DB, augment.noise_db)),
    )


def view_tiles(
    samples: Iterable[Array],
    view: View,
    settings: PrepSettings,
    augment: AugmentSettings,
    starts: Sequence[int],
    *,
    level: float,
    constants: Normalization | None,
    rng: np.random.Generator,
) -> Iterator[ViewTile]:
    """Views of the tiles of a stretch.

    samples: of the stretch, at the view's rate, in blocks (n,).
    starts: first samples of its tiles, from its own first sample on, at the settings' rate.
    level: root mean square of the channel's samples.
    constants: those that normalise the tiles themselves (None: each by itself).
    """
    changed = _view_settings(settings, view.hop_length, view.win_length)
    noise, masks = rng.spawn(2)
    step = settings.sample_rate * view.hop_length
    tiles = cut_tiles_at(
        levels(degrade(samples, view, level, noise), build_frontend(changed), changed),
        [start * view.sample_rate // step for start in starts],
        tile_size=settings.tile_size,
        fill=quiet_level(changed),
    )
    for tile in tiles:
        yield _mask(normalize_tile(tile, constants), augment, masks)


def degrade(
    blocks: Iterable[Array], view: View, level: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Add a view's noise, relative to `level`, to blocks (n,) of samples; then apply its gain."""
    gain = np.float32(10 ** (view.gain_db / 20))
    noise = np.float32(level * 10 ** (view.noise_db / 20))
    for block in blocks:
        yield gain * (block + noise * rng.standard_normal(len(block), np.float32))


def _lengths(settings: PrepSettings, hop: float, window: float) -> tuple[int, int | None]:
    """Hop and window of a view, in samples; `stft` and `mel` have 2M by default."""
    hop_length = max(1, round(settings.hop_length * hop))
    if "win_length" not in FRONTENDS[settings.frontend].settings:
        return hop_length, None
    whole = settings.win_length or settings.n_fft or 2 * settings.tile_size
    return hop_length, max(2, round(whole * window))


def _view_settings(settings: PrepSettings, hop_length: int, win_length: int | None) -> PrepSettings:
    """The settings of a view; `stft` keeps the bins of the tile."""
    update: dict[str, int | None] = {"hop_length": hop_length, "win_length": win_length}
    if settings.frontend == "stft":
        update["n_fft"] = settings.n_fft or 2 * settings.tile_size
    return settings.model_copy(update=update)


def _mask(tile: NormalizedTile, augment: AugmentSettings, rng: np.random.Generator) -> ViewTile:
    """Set a range of frames and a range of bins to 0, the mean of normalised values."""
    frames = _draw_range(tile.valid_frames, augment.time_mask, rng)
    bins = _draw_range(len(tile.values), augment.frequency_mask, rng)
    tile.values[:, slice(*frames)] = 0
    tile.values[slice(*bins), : tile.valid_frames] = 0
    return ViewTile(tile, frames, bins)


def _is_drawn(found: tuple[int, int], length: int, share: float) -> bool:
    """Whether _draw_range may give a range, for this length or a lower one."""
    start, stop = found
    return start <= stop <= length and stop - start <= share * length


def _draw_range(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """A range of at most `share` of `length`, anywhere in it."""
    width = int(rng.integers(0, int(share * length) + 1))
    start = int(rng.integers(0, length - width + 1))
    return start, start + width
