"""The card of a run's codebook."""

import math
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from ulmo.arrays import Indices
from ulmo.bundle.card import Card, Corpus, Figures, Training, Versions
from ulmo.evaluation.tally import Metrics
from ulmo.preprocessing.store import TileStore

if TYPE_CHECKING:
    from ulmo.pipelines.train.trainer import Trainer

DIGITS = 4
"""Of the figures: more would be noise."""


def build_card(trainer: "Trainer", validation: Metrics | None, versions: dict[str, str]) -> Card:
    """What a run can say of itself; whose recordings they were, it does not know."""
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
        figures=None if validation is None else summarize(validation),
        versions=Versions(
            **{name: versions.get(name) or version(name) for name in Versions.model_fields}
        ),
        notes=f"Its encoder learned from {trainer.settings.objective}.",
    )


def describe_corpus(store: TileStore, rows: Indices) -> Corpus:
    """Recordings of some rows, and their hours: each channel and second once, views left out."""
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
    hours = float(ends.sum()) / settings.sample_rate / 3600
    return Corpus(name=None, licence=None, recordings=len(names), hours=_rounded(hours))


def summarize(metrics: Metrics) -> Figures:
    """The figures on held-out recordings, in DIGITS digits."""
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
    return float(f"{value:.{DIGITS}g}")


def _figure(value: float) -> float | None:
    return _rounded(value) if math.isfinite(value) else None
