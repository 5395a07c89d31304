"""Views: the same stretch of sound through another set of spectrogram parameters.

    samples at another rate -> gain and noise -> another hop and window -> tiles -> masks

A view begins at the same instant as the tile that it is a view of. Everything that is drawn is a
function of the seed and of what the view is of, so that no order of work changes a bit.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple
from zlib import crc32

import numpy as np

from ulmo.arrays import Array
from ulmo.config import AugmentSettings, PrepSettings, UserError
from ulmo.preprocessing.audio import resample
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.spectrogram import NormalizedTile, levels, normalize_tile
from ulmo.preprocessing.tiles import cut_tiles_at

NOISE_RANGE_DB = 40.0
"""Noise is drawn from so far below its highest level up to it, evenly in decibels."""


class View(NamedTuple):
    """One set of parameters, drawn for a recording."""

    sample_rate: int
    """Rate that the recording is resampled to, and then taken for the settings' rate."""
    hop_length: int
    win_length: int | None
    """None where the front end has no window."""
    gain_db: float
    noise_db: float
    """White noise, re the root mean square of the recording."""


class ViewTile(NamedTuple):
    """A view of a tile, and what was masked."""

    tile: NormalizedTile
    time_mask: tuple[int, int]
    """First masked frame, and the one after the last."""
    frequency_mask: tuple[int, int]
    """First masked bin, and the one after the last."""

    def describe(self, view: View) -> str:
        """JSON for tiles.parquet."""
        masks = {"time_mask": self.time_mask, "frequency_mask": self.frequency_mask}
        return json.dumps({**view._asdict(), **masks})


def check_views(settings: PrepSettings, augment: AugmentSettings) -> None:
    """Raise UserError unless every set of parameters that may be drawn can be met."""
    for hop, window in product(augment.hop_factors, augment.window_factors):
        try:
            build_frontend(_changed(settings, *_lengths(settings, hop, window)))
        except UserError as error:
            raise UserError(
                f"a view with hop_factors {hop:g} and window_factors {window:g}: {error}"
            ) from None


def generator(augment: AugmentSettings, *what: int | str) -> np.random.Generator:
    """Random numbers for one thing, told by names and numbers from 0."""
    words = (crc32(part.encode()) if isinstance(part, str) else part for part in what)
    return np.random.default_rng([augment.view_seed, *words])


def draw_view(settings: PrepSettings, augment: AugmentSettings, rng: np.random.Generator) -> View:
    """A set of parameters, each drawn evenly from what the settings allow."""
    rate = settings.sample_rate * rng.uniform(1 - augment.rate_spread, 1 + augment.rate_spread)
    hop, window = rng.choice(augment.hop_factors), rng.choice(augment.window_factors)
    return View(
        round(rate),
        *_lengths(settings, float(hop), float(window)),
        gain_db=float(rng.uniform(-augment.gain_spread_db, augment.gain_spread_db)),
        noise_db=float(rng.uniform(augment.noise_db - NOISE_RANGE_DB, augment.noise_db)),
    )


def view_tiles(
    source: Callable[[int], Iterable[Array]],
    view: View,
    settings: PrepSettings,
    augment: AugmentSettings,
    starts: Sequence[int],
    *,
    level: float,
    constants: Normalization | None,
    rng: np.random.Generator,
) -> Iterator[ViewTile]:
    """Views of the tiles that begin at some samples (counted at the settings' rate).

    `source` gives the samples of a channel at a rate, `level` is their root mean square, and
    `constants` are what the tiles themselves are normalised with (None: each by itself).
    """
    changed = _changed(settings, view.hop_length, view.win_length)
    noise, masks = rng.spawn(2)
    samples = degrade(source(view.sample_rate), view, level, noise)
    step = settings.sample_rate * view.hop_length
    tiles = cut_tiles_at(
        levels(samples, build_frontend(changed), changed),
        [start * view.sample_rate // step for start in starts],
        tile_size=settings.tile_size,
        fill=quiet_level(changed),
    )
    for tile in tiles:
        yield _masked(normalize_tile(tile, constants), augment, masks)


def degrade(
    blocks: Iterable[Array], view: View, level: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Blocks (n,) of samples with a view's gain, and its noise relative to their level."""
    gain = np.float32(10 ** (view.gain_db / 20))
    noise = np.float32(level * 10 ** (view.noise_db / 20))
    for block in blocks:
        yield gain * (block + noise * rng.standard_normal(len(block), np.float32))


def positive_pair(
    samples: Array,
    settings: PrepSettings,
    augment: AugmentSettings,
    rng: np.random.Generator,
    *,
    constants: Normalization | None = None,
) -> tuple[Array, Array]:
    """Two views (M, M, 1) of the beginning of some samples (n,) at the settings' rate.

    What SimCLR, BYOL and their kin learn to call the same (Chen et al. 2020, section 2.1).
    `constants` normalise both; without them each is normalised by itself. Raises UserError for
    settings that cannot be met, and for no samples.
    """
    check_views(settings, augment)
    if not len(samples):
        raise UserError("of no samples there are no views: pass some")
    level = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))

    def source(rate: int) -> Iterator[Array]:
        return resample([samples], settings.sample_rate, rate)

    def one() -> Array:
        view = draw_view(settings, augment, rng)
        tiles = view_tiles(
            source, view, settings, augment, [0], level=level, constants=constants, rng=rng
        )
        return next(tiles).tile.values

    return one(), one()


def _lengths(settings: PrepSettings, hop: float, window: float) -> tuple[int, int | None]:
    """Hop and window of a view; 2M samples are the window of `stft` and `mel` by default."""
    hop_length = max(1, round(settings.hop_length * hop))
    if "win_length" not in FRONTENDS[settings.frontend].settings:
        return hop_length, None
    whole = settings.win_length or settings.n_fft or 2 * settings.tile_size
    return hop_length, max(2, round(whole * window))


def _changed(settings: PrepSettings, hop_length: int, win_length: int | None) -> PrepSettings:
    """The settings of a view; the bins of `stft` stay those of the tile."""
    update: dict[str, int | None] = {"hop_length": hop_length, "win_length": win_length}
    if settings.frontend == "stft":
        update["n_fft"] = settings.n_fft or 2 * settings.tile_size
    return settings.model_copy(update=update)


def _masked(tile: NormalizedTile, augment: AugmentSettings, rng: np.random.Generator) -> ViewTile:
    """Set a stretch of frames and a band of bins to 0, the mean of what is normalised."""
    frames = _stretch(tile.valid_frames, augment.time_mask, rng)
    bins = _stretch(len(tile.values), augment.frequency_mask, rng)
    tile.values[:, slice(*frames)] = 0
    tile.values[slice(*bins), : tile.valid_frames] = 0
    return ViewTile(tile, frames, bins)


def _stretch(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """A stretch of at most a share of a length, anywhere in it."""
    width = int(rng.integers(0, int(share * length) + 1))
    start = int(rng.integers(0, length - width + 1))
    return start, start + width
