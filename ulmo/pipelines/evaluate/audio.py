"""Tokens of labelled recordings, measured: ABX, probes, robustness, rates, use of the codebook.

`measure_encoder` measures whatever turns samples into ids, `measure_latents` what turns them into
vectors; `evaluate_audio` measures a tokenizer, and beside its tokens the latents they come from,
the vectors of their codes and the spectrogram that it sees.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.config import UserError
from ulmo.evaluation.abx import Abx, abx, subsample
from ulmo.evaluation.codebook import CodebookHealth, codebook_health
from ulmo.evaluation.distances import Item
from ulmo.evaluation.folds import Folds, split_folds
from ulmo.evaluation.pooling import histograms, mean_latents
from ulmo.evaluation.probe import Probes, probes
from ulmo.evaluation.rate import Rate, rate
from ulmo.evaluation.robustness import Agreement
from ulmo.pipelines.evaluate.encoders import Encoder, encoder_of, spectrogram
from ulmo.pipelines.evaluate.labelled import Refused, Sounds, find_labelled, read_sounds
from ulmo.pipelines.evaluate.latents import latents_of
from ulmo.pipelines.evaluate.robustness import robustness
from ulmo.preprocessing.frontends import build_frontend
from ulmo.tokenizer import Tokenizer

Progress = Callable[[str, int, int], None]
"""Is told what is done, how many of it are done, and all."""

MAX_CELLS = 2e9
"""Pairs of spectrogram frames, at most, that ABX compares: a minute of one core, about."""


class AudioPlan(NamedTuple):
    """What is measured, and how much of it."""

    folder: Path
    labels: Path | None = None
    """CSV file; None: the names of the folders."""
    speaker_column: str | None = None
    max_items: int = 400
    """Recordings that are measured, drawn evenly from each label of each speaker."""
    max_seconds: float = 5.0
    """Of each recording, from its beginning."""
    seed: int = 0
    source_column: str | None = None
    """Of what items have in common: they are not trained and tested on together."""


class EncoderFigures(NamedTuple):
    """What an encoder comes to on some recordings."""

    abx: Abx
    """Of the ids, by the distance `identical`."""
    folds: Folds
    """Of the recordings, for the probes."""
    probes: Probes
    """Of the histograms of the ids."""
    robustness: dict[str, Agreement]
    rate: Rate
    counts: NDArray[np.int64]  # (CB,)
    sound_counts: NDArray[np.int64]  # (CB,)
    grids: list[Ids]
    """Ids (time, band) of each recording."""

    @property
    def codebook(self) -> CodebookHealth:
        """On all tokens."""
        return codebook_health(self.counts)

    @property
    def sound_codebook(self) -> CodebookHealth:
        """On non-silent tokens."""
        return codebook_health(self.sound_counts)


class LatentFigures(NamedTuple):
    """What vectors come to on some recordings."""

    abx: Abx
    """By the distance `cosine`."""
    probes: Probes
    """Of their means over time."""
    latents: list[Array]
    """Vectors (time, band, EMB) of each recording."""


class AudioEvaluation(NamedTuple):
    """What a tokenizer comes to on labelled recordings."""

    plan: AudioPlan
    recordings: int
    seconds: float
    labels: list[str]
    speakers: list[str] | None
    refused: list[Refused]
    tokens: EncoderFigures
    latents: LatentFigures
    codes_abx: Abx
    """Of the vectors of the codes, by the distance `cosine`."""
    spectrogram_abx: Abx
    """Of the normalised levels, by the distance `cosine`."""
    spectrogram_step: int
    """Frames of which the mean was taken before they were compared: 1 where time allowed it."""


def measure_encoder(
    encoder: Encoder, sounds: Sounds, *, seed: int = 0, progress: Progress | None = None
) -> EncoderFigures:
    """ABX, probes, robustness and rates of an encoder on sounds at its sample rate."""
    grids, heard, counts, sound_counts = [], [], [], []
    for number, (samples, *_) in enumerate(sounds.sounds):
        ids = encoder.encode(samples)
        grids.append(ids)
        heard.append(encoder.sound(samples, ids))
        counts.append(_counts(ids, encoder.codebook_size))
        sound_counts.append(_counts(ids[heard[-1]], encoder.codebook_size))
        if progress:
            progress("tokens", number + 1, len(sounds.sounds))
    folds = split_folds(sounds.labels, sounds.sources, sounds.speakers, seed=seed)
    changed = robustness(
        encoder,
        [sound.samples for sound in sounds.sounds],
        seed=seed,
        progress=_told(progress, "robustness", len(sounds.sounds)),
    )
    return EncoderFigures(
        abx=_abx(grids, sounds, "identical", progress, "ABX of tokens"),
        folds=folds,
        probes=probes(histograms(grids, heard, encoder.codebook_size), sounds.labels, folds),
        robustness=changed,
        rate=rate(
            grids,
            codebook_size=encoder.codebook_size,
            tokens_per_second=grids[0].shape[1] * encoder.sample_rate / encoder.hop,
        ),
        counts=np.sum(counts, axis=0),
        sound_counts=np.sum(sound_counts, axis=0),
        grids=grids,
    )


def measure_latents(
    latents_of_samples: Callable[[Array], Array],
    sounds: Sounds,
    folds: Folds,
    *,
    progress: Progress | None = None,
) -> LatentFigures:
    """ABX and probes of what turns samples (n,) into vectors (time, band, EMB)."""
    latents = []
    for number, sound in enumerate(sounds.sounds):
        latents.append(latents_of_samples(sound.samples))
        if progress:
            progress("latents", number + 1, len(sounds.sounds))
    return LatentFigures(
        abx=_abx(latents, sounds, "cosine", progress, "ABX of latents"),
        probes=probes(mean_latents(latents), sounds.labels, folds),
        latents=latents,
    )


def evaluate_audio(
    tokenizer: Tokenizer, plan: AudioPlan, progress: Progress | None = None
) -> AudioEvaluation:
    """Measure a tokenizer on labelled recordings.

    Raises UserError where the labels cannot be read, and where no recording can.
    """
    sounds = _chosen_sounds(tokenizer, plan, progress)
    tokens = measure_encoder(encoder_of(tokenizer), sounds, seed=plan.seed, progress=progress)
    latents = measure_latents(latents_of(tokenizer), sounds, tokens.folds, progress=progress)
    codes = _codes(tokenizer)
    frontend = build_frontend(tokenizer.manifest.prep)
    planes = [spectrogram(tokenizer, frontend, sound.samples) for sound in sounds.sounds]
    step = spectrogram_step([len(plane) for plane in planes])
    rate_hz = tokenizer.manifest.prep.sample_rate
    return AudioEvaluation(
        plan=plan,
        recordings=len(sounds.sounds),
        seconds=sum(len(sound.samples) for sound in sounds.sounds) / rate_hz,
        labels=sorted(set(sounds.labels)),
        speakers=None if sounds.speakers is None else sorted(set(sounds.speakers)),
        refused=sounds.refused,
        tokens=tokens,
        latents=latents,
        codes_abx=_abx(
            [codes[ids] for ids in tokens.grids], sounds, "cosine", progress, "ABX of codes"
        ),
        spectrogram_abx=_abx(
            [mean_frames(plane, step) for plane in planes],
            sounds,
            "cosine",
            progress,
            "ABX of the spectrogram",
        ),
        spectrogram_step=step,
    )


def spectrogram_step(frames: Sequence[int]) -> int:
    """The least step with which items of so many frames, compared with each other, take no more
    than MAX_CELLS."""
    step = 1
    while sum(-(-count // step) for count in frames) ** 2 > MAX_CELLS:
        step += 1
    return step


def mean_frames(plane: Array, step: int) -> Array:
    """Means (n, M) of each `step` frames of a spectrogram (frames, M); the last of what is left."""
    starts = np.arange(0, len(plane), step)
    counts = np.diff(starts, append=len(plane))
    sums: Array = np.add.reduceat(plane, starts)
    sums /= counts[:, None]
    return sums


def _chosen_sounds(tokenizer: Tokenizer, plan: AudioPlan, progress: Progress | None) -> Sounds:
    found = find_labelled(plan.folder, plan.labels, plan.speaker_column, plan.source_column)
    kept = subsample(
        [item.label for item in found],
        [item.speaker or "" for item in found],
        max_items=plan.max_items,
        seed=plan.seed,
    )
    prep = tokenizer.manifest.prep
    sounds = read_sounds(
        plan.folder,
        [found[index] for index in kept],
        sample_rate=prep.sample_rate,
        max_seconds=plan.max_seconds,
        channel=int(prep.channels) if prep.channels.isdigit() else None,
        progress=_told(progress, "reading", len(kept)),
    )
    if not sounds.sounds:
        path, reason, detail = sounds.refused[0]
        raise UserError(f"no recording can be read: {path}: {reason} ({detail})")
    return sounds


def _codes(tokenizer: Tokenizer) -> Array:
    """The vector of every id of the vocabulary, (ids, EMB); special tokens have none, and zeros."""
    codes = tokenizer.codebook
    special = tokenizer.vocabulary.size - len(codes)
    return np.pad(codes, ((0, special), (0, 0)))


def _abx(
    items: Sequence[Item], sounds: Sounds, distance: str, progress: Progress | None, name: str
) -> Abx:
    def told(done: int, total: int) -> None:
        if progress:
            progress(name, done, total)

    return abx(items, sounds.labels, sounds.speakers, distance=distance, progress=told)


def _counts(ids: Ids, codebook_size: int) -> NDArray[np.int64]:
    """How often each code was used; special tokens are none."""
    return np.bincount(ids[ids < codebook_size].ravel(), minlength=codebook_size)


def _told(progress: Progress | None, name: str, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    told = progress
    return lambda done: told(name, done, total)
