"""The card of a run's codebook: what it was trained on, and how good it is."""

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


def build_card(trainer: "Trainer", validation: Metrics | None, versions: dict[str, str]) -> Card:
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
    hours = float(ends.sum()) / settings.sample_rate / 3600
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
