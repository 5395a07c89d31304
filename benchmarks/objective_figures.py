"""The figures of one row of the table of objectives, as a flat dictionary."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus_probe import corpus_probes
from benchmarks.heldout import ABX_SETS, on_tiles, sounds_of, tile_figures
from ulmo.arrays import Array
from ulmo.dataset import ModelOutput
from ulmo.evaluation.abx import Abx
from ulmo.evaluation.agreement import Agreement
from ulmo.evaluation.nearest import Nearest
from ulmo.evaluation.probe import Probe
from ulmo.pipelines.evaluate.audio import EncoderFigures, LatentFigures
from ulmo.pipelines.evaluate.encoders import AudioEncoder, latents_of
from ulmo.pipelines.evaluate.labelled import Sounds
from ulmo.tokenizer import Tokenizer

Figures = dict[str, float]


def bundle_figures(tokenizer: Tokenizer, held: Path, root: Path, out: Path) -> Figures:
    """Figures of a tokenizer, on held-out tiles and on held-out labelled recordings."""
    manifest = tokenizer.manifest
    metrics = on_tiles(
        partial(ModelOutput.of, tokenizer), held, manifest.model, manifest.normalization
    )
    heard = audio_figures(AudioEncoder.of(tokenizer), latents_of(tokenizer), root, out)
    return {**tile_figures(metrics), **heard}


def audio_figures(
    encoder: AudioEncoder, vectors: Callable[[Array], Array], root: Path, out: Path
) -> Figures:
    """Figures of anything that turns samples into ids, and into vectors (time, band, EMB)."""
    figures: Figures = {}
    kept: list[dict[str, Agreement]] = []
    directions: list[Array] = []
    for corpus in ABX_SETS:
        sounds = sounds_of(root, out, corpus, encoder.sample_rate)
        tokens = EncoderFigures.measure(encoder, sounds)
        latents = LatentFigures.measure(vectors, sounds, tokens.folds)
        near = {"tokens": tokens.neighbours.histograms, "latents": latents.nearest}
        for what, found in (("tokens", tokens), ("latents", latents)):
            figures |= _abx(f"{corpus}_{what}", found.abx)
            figures |= _probe(f"{corpus}_{what}", found.probe, near[what])
        for what, of_all in corpus_probes(encoder, vectors, root, out, corpus).items():
            figures |= _probe(f"{corpus}_all_{what}", *of_all)
        kept.append(tokens.robustness)
        directions += _non_silent(encoder, sounds, tokens.grids, latents.latents)
    for name in kept[0]:
        figures[f"kept_{name}"] = reduce(add, (changes[name] for changes in kept)).sound_share
    return {**figures, **spread(np.concatenate(directions))}


def spread(latents: Array) -> Figures:
    """How far apart latents (n, EMB) are: the two figures of `ulmo.models.spread`.

    Their variance as a share of the mean square (1 if the mean is 0, 0 if all are equal), and the
    mean cosine of all pairs.
    """
    vectors = latents.astype(np.float64)
    mean, power = vectors.mean(axis=0), np.square(vectors).sum(axis=1).mean()
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    count = len(vectors)
    resultant = float(np.square(unit.sum(axis=0)).sum())
    return {
        "latent_variance": float(1 - np.square(mean).sum() / power),
        "pair_similarity": (resultant - count) / (count**2 - count),
    }


def _non_silent(
    encoder: AudioEncoder, sounds: Sounds, grids: Sequence[Any], latents: Sequence[Array]
) -> list[Array]:
    return [
        vectors[encoder.sound(sound.samples, ids)]
        for sound, ids, vectors in zip(sounds.sounds, grids, latents, strict=True)
    ]


def _abx(name: str, found: Abx) -> Figures:
    scores = {"within": found.within, "across": found.across, "any": found.any}
    return {f"{name}_{which}": score.error for which, score in scores.items() if score is not None}


def _probe(name: str, linear: Probe, near: Nearest) -> Figures:
    values = {"": linear.accuracy, "_spread": linear.spread, "_chance": linear.chance}
    figures = {f"{name}_linear{part}": value for part, value in values.items()}
    return {**figures, f"{name}_neighbours": near.accuracy}
