"""A trained model as a bundle with its card, after checking that it gives the model's tokens."""

import math
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices
from ulmo.bundle.bundle import build_bundle, write_bundle
from ulmo.bundle.card import Card, Corpus, Figures, Training, Versions
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import BIAS, KERNEL, Weights, stages_of
from ulmo.config import JobError, ModelSettings
from ulmo.dataset import ModelOutput, batches
from ulmo.encoding import Columns
from ulmo.evaluation.tally import Metrics
from ulmo.evaluation.unk import unk_thresholds
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ulmo.pipelines.train.trainer import Trainer


_CHECK_TILES = 64
_SHORT_TILES = 16  # more tiles to check: those with the fewest frames of sound
_CHECK_BATCH = 16
_UNK_TILES = 2000  # for the thresholds of <unk>: 765 vectors for each of 512 codes, in seconds
# Two codes are a tie if their squared distances differ by less than this for each dimension of the
# embedding: what float32 sums in another order may differ by. 1e-4 at 32 dimensions; 1e-6 was seen.
# At a boundary between two codes, if the latent does.
_TIE = 3e-6


class _ExportCheck(NamedTuple):
    """Tokens of the bundle compared with those of the model, on real tiles."""

    tokens: int
    differing: int  # all of them ties: both codes are equally near, up to _TIE


def export(
    folder: Path, trainer: "Trainer", validation: Metrics | None, versions: dict[str, str]
) -> _ExportCheck:
    """Build the bundle, compare its tokens with the model's, and write it.

    Checked are _CHECK_TILES of the held-out rows, evenly spread, those with the least sound, and
    tiles of pure silence. The thresholds of `<unk>` come from the tokenizer's own distances on the
    training rows, and the substitution scores from its ids. Raises JobError, and writes nothing,
    if a token differs that is not a tie, or if a weight is not finite.
    """
    from ulmo.pipelines.train.substitution import learn_scores  # loads TensorFlow

    store, settings = trainer.store, trainer.model_settings
    model, weights = trainer.forward(), trainer.weights()
    build = partial(
        build_bundle,
        prep=store.manifest.settings,
        normalization=store.manifest.normalization,
        model=settings,
        weights=weights,
        card=_build_card(trainer, validation, versions),
    )
    none = np.zeros((settings.codebook_size, len(UNK_QUANTILES)), np.float32)
    try:
        tokenizer = Tokenizer(build(thresholds=none).at(folder))
    except ValueError as error:
        raise JobError(f"{folder}: {error}") from None
    tokens = differing = wrong = 0
    for tiles, valid in _check_tiles(store, trainer.shown_rows):
        expected = model(tiles, valid)
        got = tokenizer.encode_tiles(tiles, valid)
        tokens += got.ids.size
        differing += int((expected.ids != got.ids).sum())
        wrong += _count_wrong(expected, got, settings, weights)
    if wrong:
        raise JobError(f"{folder}: {wrong} of {tokens} tokens are not the model's")
    thresholds = _measure_thresholds(tokenizer, store, trainer.split.train)
    scores = learn_scores(tokenizer, trainer.feed, trainer.split.train, trainer.settings.seed)
    write_bundle(folder, build(thresholds=thresholds, scores=scores))
    return _ExportCheck(tokens, differing)


def _count_wrong(
    expected: ModelOutput, got: Columns, settings: ModelSettings, weights: Weights
) -> int:
    """Number of tokens that differ and are not ties; distances show those of nearest codes."""
    differs = expected.ids != got.ids
    stages = stages_of(settings, weights)
    if len(stages) == 1 and not settings.has_boundaries:
        far = np.abs(expected.distances - got.distances) >= _TIE * stages[0].shape[1]
        return int((differs & far).sum())
    if expected.latents is None:
        return int(differs.sum())
    pairs = zip(expected.latents[differs], expected.ids[differs], got.ids[differs], strict=True)
    if settings.has_boundaries:
        return sum(not _on_boundary(latent, weights, one, other) for latent, one, other in pairs)
    return sum(not _is_tie(latent, stages, one, other) for latent, one, other in pairs)


def _on_boundary(latent: Array, weights: Weights, first: int, second: int) -> bool:
    """Whether a latent (EMB,) that differs by _TIE in each dimension may have either id."""
    kernel, bias = (weights[name].astype(np.float64) for name in (KERNEL, BIAS))
    across = kernel[:, first] - kernel[:, second]
    apart = abs(float(latent @ across + bias[first] - bias[second]))
    return apart < _TIE * float(np.abs(across).sum())


def _is_tie(latent: Array, stages: list[Array], first: int, second: int) -> bool:
    """Whether two ids of a latent (EMB,) are equally near in the first stage where they differ.

    Later stages search for different residuals: their distances cannot be compared.
    """
    sizes = [len(stage) for stage in stages]
    digits = zip(np.unravel_index(first, sizes), np.unravel_index(second, sizes), strict=True)
    residual = latent.astype(np.float64)
    for (one, other), stage in zip(digits, stages, strict=True):
        if one != other:
            near, far = (np.square(residual - stage[index]).sum() for index in (one, other))
            return bool(abs(near - far) < _TIE * len(latent))
        residual = residual - stage[one]
    return True


def _measure_thresholds(tokenizer: Tokenizer, store: TileStore, rows: Indices) -> Array:
    """Thresholds of `<unk>` (CB, levels), from at most _UNK_TILES of the rows, evenly spread.

    They are raised by the width of a tie: all vectors of digital silence are equal, and rounding
    on another processor must not put them beyond their own distance.
    """
    model = tokenizer.manifest.model
    ids, distances = [], []
    for part in batches(_spread(rows, _UNK_TILES), _CHECK_BATCH):
        valid = store.valid_frames[part]
        columns = tokenizer.encode_tiles(store.read(part), valid)
        inside = np.arange(model.columns) * model.time_stride < valid[:, None]
        ids.append(columns.ids[inside].ravel())
        distances.append(columns.distances[inside].ravel())
    exact = unk_thresholds(
        np.concatenate(ids), np.concatenate(distances), model.codebook_size, UNK_QUANTILES
    )
    return exact + np.float32(_TIE * model.embedding_dim)


def _check_rows(store: TileStore, rows: Indices) -> Indices:
    """Rows to check: evenly spread ones, and those with the fewest frames of sound."""
    shortest = np.argsort(store.valid_frames[rows], kind="stable")[:_SHORT_TILES]
    return np.union1d(_spread(rows, _CHECK_TILES), rows[shortest])


def _spread(rows: Indices, most: int) -> Indices:
    """At most `most` of the rows, evenly spread over them."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def _check_tiles(store: TileStore, rows: Indices) -> Iterator[tuple[Array, NDArray[np.int32]]]:
    """Batches of tiles (n, M, M, 1), and their numbers of valid frames (n,)."""
    for part in batches(_check_rows(store, rows), _CHECK_BATCH):
        yield store.read(part), store.valid_frames[part]
    size = store.tile_size
    constants = store.manifest.normalization or Normalization(offset=0.0, scale=1.0)
    level = quiet_level(store.manifest.settings)
    valid = np.array([1, size // 2, size], np.int32)
    yield constants.apply(np.full((len(valid), size, size, 1), level, np.float32)), valid


def _build_card(trainer: "Trainer", validation: Metrics | None, versions: dict[str, str]) -> Card:
    """The card of a run; names and licences of its corpora are unknown here."""
    store, rows = trainer.store, trainer.split.train
    return Card(
        corpora=(describe_corpus(store, rows),),
        training=Training(
            steps=int(trainer.state.step),
            epochs=int(trainer.state.epoch),
            tiles=len(rows),
            tiles_fingerprint=store.manifest.fingerprint or "",
            seed=trainer.settings.seed,
        ),
        figures=None if validation is None else _figures(validation),
        versions=Versions(
            **{name: versions.get(name) or version(name) for name in Versions.model_fields}
        ),
        notes=f"Its encoder learned from {trainer.settings.objective}.",
    )


def describe_corpus(store: TileStore, rows: Indices) -> Corpus:
    """Number of recordings in some rows, and their hours, summed over channels without views."""
    settings = store.manifest.settings
    table = store.table.take(rows)
    channels = table["channel"].fill_null(-1).to_numpy()
    names, index = np.unique(store.recordings[rows], return_inverse=True)
    streams, stream = np.unique(index * 2**32 + channels, return_inverse=True)
    ends = np.zeros(len(streams), np.int64)
    frames = store.valid_frames[rows].astype(np.int64)
    plain = store.views[rows] == 0
    stops = table["start_sample"].to_numpy() + frames * settings.hop_length
    np.maximum.at(ends, stream[plain], stops[plain])
    hours = float(ends.sum()) / settings.true_rate / 3600
    return Corpus(name=None, licence=None, recordings=len(names), hours=_rounded(hours))


def _figures(metrics: Metrics) -> Figures:
    """The figures on held-out recordings, rounded."""
    return Figures(
        tokens=metrics.tokens,
        sound_tokens=metrics.sound_tokens,
        reconstruction=_figure(metrics.reconstruction),
        reconstruction_db=_figure(metrics.reconstruction_db),
        sound_reconstruction_db=_figure(metrics.sound_reconstruction_db),
        usage=_figure(metrics.codebook.usage),
        entropy=_figure(metrics.codebook.entropy),
        sound_usage=_figure(metrics.sound_codebook.usage),
        sound_entropy=_figure(metrics.sound_codebook.entropy),
    )


def _rounded(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")


def _figure(value: float) -> float | None:
    return _rounded(value) if math.isfinite(value) else None
