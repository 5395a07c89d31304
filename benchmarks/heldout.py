"""Recordings that no row of a table was trained on, and the figures on them.

They are a tenth of the recordings that the recipe trains on, and those that it holds out.
"""

import csv
import os
import zlib
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import ROOT
from recipes.recipe import Recipe, choose_recordings
from recipes.train import link_recordings
from ulmo.config import AugmentSettings, ModelSettings, PrepSettings
from ulmo.dataset import Loudness, TileModel, tallies
from ulmo.evaluation.abx import subsample
from ulmo.evaluation.agreement import Agreement
from ulmo.evaluation.tally import Metrics, Tally
from ulmo.jobs.spread import Spread
from ulmo.pipelines.evaluate.labelled import Sounds, find_labelled
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.store import TileStore

RECIPE = ROOT / "recipes" / "default.toml"
HELD_OUT = 10  # hold out each recording whose name's CRC-32 is divisible by this
MAX_ITEMS, MAX_SECONDS = 400, 5.0  # recordings in ABX, probes and robustness; seconds of each
ABX_SETS = {"fsdd": "extra:speaker", "esc10": None}  # labelled corpora, column of the speaker
SOURCES = {"esc10": "extra:freesound"}  # column of the source that items share


def divide(recipe: Recipe, root: Path, out: Path) -> None:
    """Link the training and the held-out recordings, and write the labels of the latter."""
    everything = set(choose_recordings(recipe.without_holdout(), root))
    left = choose_recordings(recipe, root)
    training = [path for path in left if zlib.crc32(str(path).encode()) % HELD_OUT]
    held = sorted(everything - set(training))
    link_recordings(training, root, out / "links" / "train")
    link_recordings(held, root, out / "links" / "held")
    by_recipe = everything - set(left)
    for corpus in ABX_SETS:
        _write_labels(root / corpus / "labels.csv", corpus, by_recipe, out / f"{corpus}.csv")


def _write_labels(labels: Path, corpus: str, kept: set[Path], target: Path) -> None:
    """The rows of labels.csv whose recordings the recipe holds out."""
    with labels.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if Path(corpus) / row["file"] in kept]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames or ())
        writer.writeheader()
        writer.writerows(rows)


def tiles_of(
    out: Path, name: str, part: str, settings: PrepSettings, augment: AugmentSettings | None = None
) -> Path:
    """The folder of tiles of the part `train` or `held`; prepares them unless they exist."""
    folder = out / "tiles" / name / part
    links, workers = out / "links" / part, os.cpu_count() or 1
    prepare(links, folder, settings, augment=augment, spread=Spread(workers))
    return folder


def sounds_of(root: Path, out: Path, corpus: str, sample_rate: int) -> Sounds:
    """Labelled held-out recordings, drawn evenly over labels and speakers."""
    found = find_labelled(
        root / corpus, out / f"{corpus}.csv", ABX_SETS[corpus], SOURCES.get(corpus)
    )
    kept = subsample(
        [item.label for item in found],
        [item.speaker or "" for item in found],
        max_items=MAX_ITEMS,
        seed=0,
    )
    chosen = [found[index] for index in kept]
    return Sounds.read(root / corpus, chosen, sample_rate=sample_rate, max_seconds=MAX_SECONDS)


def on_tiles(
    model: TileModel, folder: Path, settings: ModelSettings, constants: Normalization | None
) -> Metrics:
    """The figures of a model on all held-out tiles."""
    store = TileStore(folder)
    if constants is not None:
        store.renormalize(constants)
    indices, loudness = np.flatnonzero(store.views == 0), Loudness(store, settings)
    found: Sequence[Tally] = list(tallies(model, loudness, indices, batch_size=16))
    return reduce(add, found).metrics()


def tile_figures(metrics: Metrics) -> dict[str, Any]:
    """The figures that tables show."""
    return {
        "tokens": metrics.tokens,
        "sound_tokens": metrics.sound_tokens,
        "reconstruction": metrics.reconstruction,
        "reconstruction_db": metrics.reconstruction_db,
        "sound_reconstruction_db": metrics.sound_reconstruction_db,
        "usage": metrics.codebook.usage,
        "sound_usage": metrics.sound_codebook.usage,
        "sound_entropy": metrics.sound_codebook.entropy,
        "sound_top1": metrics.sound_codebook.top1,
    }


def unequal(found: Sequence[Agreement]) -> list[float]:
    """Share of unequal tokens among all, and among those that are not silent."""
    total = reduce(add, found)
    return [1 - total.share, 1 - total.sound_share]
