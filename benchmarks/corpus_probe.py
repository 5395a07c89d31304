"""Probes that learn from a whole corpus, and are tested on its held-out recordings.

The held-out recordings alone are few: of the digits, one speaker is left to learn from. Here a
probe learns from all groups of the corpus but the tested one. The encoder may have been trained on
them without their labels, as in the usual linear evaluation (van den Oord et al. 2018, "CPC").
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.heldout import ABX_SETS, MAX_SECONDS, SOURCES
from ulmo.arrays import Array
from ulmo.config import UserError
from ulmo.evaluation.folds import Fold, Folds, Indices, split_folds
from ulmo.evaluation.probe import Probes, histograms, mean_latents, probes
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.pipelines.evaluate.labelled import Sounds, find_labelled


def corpus_probes(
    encoder: AudioEncoder, vectors: Callable[[Array], Array], root: Path, out: Path, corpus: str
) -> dict[str, Probes]:
    """Probes on the `latents` and on the `tokens` of a corpus; `divide` wrote what is held out.

    UserError if a recording cannot be read.
    """
    speaker, source = ABX_SETS[corpus], SOURCES.get(corpus)
    found = find_labelled(root / corpus, root / corpus / "labels.csv", speaker, source)
    held = {item.path for item in find_labelled(root / corpus, out / f"{corpus}.csv")}
    sounds = Sounds.read(
        root / corpus, found, sample_rate=encoder.sample_rate, max_seconds=MAX_SECONDS
    )
    if sounds.refused:
        raise UserError(f"{corpus}: {len(sounds.refused)} recordings cannot be read")
    every = split_folds(sounds.labels, sounds.sources, sounds.speakers)
    folds = folds_testing(every, np.flatnonzero([item.path in held for item in found]))
    means, counts = [], []
    for sound in sounds.sounds:
        ids = encoder.encode(sound.samples)
        means.append(mean_latents([vectors(sound.samples)]))
        audible = encoder.sound(sound.samples, ids)
        counts.append(histograms([ids], [audible], encoder.codebook_size))
    return {
        "latents": probes(np.concatenate(means), sounds.labels, folds),
        "tokens": probes(np.concatenate(counts), sounds.labels, folds),
    }


def folds_testing(folds: Folds, held: Indices) -> Folds:
    """The folds that test held-out items, with only those items in their tests."""
    tests = [np.intersect1d(fold.test, held) for fold in folds.folds]
    pairs = zip(folds.folds, tests, strict=True)
    kept = [Fold(fold.train, test) for fold, test in pairs if len(test)]
    return folds._replace(folds=kept)
