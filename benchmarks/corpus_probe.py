"""Probes that learn from a whole corpus, and are judged by its held-out recordings.

The held-out ones alone are few: of digits one speaker is left to learn from. Here all groups of the
corpus are learned from but the one that is judged, those among them that the encoder was trained
on, without their labels, as in the usual linear evaluation (van den Oord et al. 2018, "CPC").
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.heldout import ABX_SETS, MAX_SECONDS, SOURCES
from ulmo.arrays import Array
from ulmo.config import UserError
from ulmo.evaluation.folds import Fold, Folds, Indices, split_folds
from ulmo.evaluation.pooling import histograms, mean_latents
from ulmo.evaluation.probe import Probes, probes
from ulmo.pipelines.evaluate.encoders import Encoder
from ulmo.pipelines.evaluate.labelled import find_labelled, read_sounds


def corpus_probes(
    encoder: Encoder, vectors: Callable[[Array], Array], root: Path, out: Path, corpus: str
) -> dict[str, Probes]:
    """Of the `latents` and of the `tokens` of a corpus, of which `divide` wrote what is held out.

    UserError where a recording cannot be read.
    """
    speaker, source = ABX_SETS[corpus], SOURCES.get(corpus)
    found = find_labelled(root / corpus, root / corpus / "labels.csv", speaker, source)
    held = {item.path for item in find_labelled(root / corpus, out / f"{corpus}.csv")}
    sounds = read_sounds(
        root / corpus, found, sample_rate=encoder.sample_rate, max_seconds=MAX_SECONDS
    )
    if sounds.refused:
        raise UserError(f"{corpus}: {len(sounds.refused)} recordings cannot be read")
    every = split_folds(sounds.labels, sounds.sources, sounds.speakers)
    folds = judged_by(every, np.flatnonzero([item.path in held for item in found]))
    means, counts = [], []
    for sound in sounds.sounds:
        ids = encoder.encode(sound.samples)
        means.append(mean_latents([vectors(sound.samples)]))
        heard = encoder.sound(sound.samples, ids)
        counts.append(histograms([ids], [heard], encoder.codebook_size))
    return {
        "latents": probes(np.concatenate(means), sounds.labels, folds),
        "tokens": probes(np.concatenate(counts), sounds.labels, folds),
    }


def judged_by(folds: Folds, held: Indices) -> Folds:
    """The folds that test held-out items, and those of their tests alone."""
    tests = [np.intersect1d(fold.test, held) for fold in folds.folds]
    pairs = zip(folds.folds, tests, strict=True)
    kept = [Fold(fold.train, test) for fold, test in pairs if len(test)]
    return folds._replace(folds=kept)
