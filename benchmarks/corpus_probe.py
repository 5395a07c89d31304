"""A probe and neighbours from a whole corpus, judged on its held-out recordings.

The held-out recordings alone are few: of the digits, one speaker is left to learn from. Here a
probe learns from all groups of the corpus but the tested one, and neighbours are from all of them.
The encoder may have been trained on them without their labels, as in the usual linear evaluation
(van den Oord et al. 2018, "CPC").
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.heldout import ABX_SETS, MAX_SECONDS, SOURCES
from ulmo.arrays import Array
from ulmo.config import UserError
from ulmo.evaluation.folds import Fold, Folds, Indices, split_folds
from ulmo.evaluation.nearest import Nearest, nearest
from ulmo.evaluation.pairwise import vector_distances
from ulmo.evaluation.probe import Probe, by_line, histograms, mean_latents, probe
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.pipelines.evaluate.labelled import Sounds, find_labelled


class CorpusProbe(NamedTuple):
    """Both classifiers on the same vectors."""

    linear: Probe
    neighbours: Nearest


def corpus_probes(
    encoder: AudioEncoder, vectors: Callable[[Array], Array], root: Path, out: Path, corpus: str
) -> dict[str, CorpusProbe]:
    """Both on the `latents` and on the `tokens` of a corpus; `divide` wrote what is held out.

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
    judged = np.array([item.path in held for item in found])
    folds = folds_testing(every, np.flatnonzero(judged))
    means, counts = [], []
    for sound in sounds.sounds:
        ids = encoder.encode(sound.samples)
        means.append(mean_latents([vectors(sound.samples)]))
        audible = encoder.sound(sound.samples, ids)
        counts.append(histograms([ids], [audible], encoder.codebook_size))

    def both(kept: list[Array]) -> CorpusProbe:
        vectors = np.concatenate(kept)
        distances = vector_distances(vectors)
        return CorpusProbe(
            linear=probe(vectors, sounds.labels, folds, by_line),
            neighbours=nearest(distances, sounds.labels, sounds.groups, judged=judged),
        )

    return {"latents": both(means), "tokens": both(counts)}


def folds_testing(folds: Folds, held: Indices) -> Folds:
    """The folds that test held-out items, with only those items in their tests."""
    tests = [np.intersect1d(fold.test, held) for fold in folds.folds]
    pairs = zip(folds.folds, tests, strict=True)
    kept = [Fold(fold.train, test) for fold, test in pairs if len(test)]
    return folds._replace(folds=kept)
