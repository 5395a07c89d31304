"""Tokens of labelled recordings, measured: labels told apart, robustness, rates, codebook."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.config import UserError
from ulmo.evaluation.abx import Abx, abx, subsample, why_no_abx
from ulmo.evaluation.agreement import Agreement
from ulmo.evaluation.codebook import CodebookHealth, Rate, codebook_health, rate
from ulmo.evaluation.distances import FrameDistance, Item, substitution_distance
from ulmo.evaluation.folds import Folds, split_folds
from ulmo.evaluation.nearest import Nearest, nearest, why_no_neighbours
from ulmo.evaluation.pairwise import distance_matrix, vector_distances
from ulmo.evaluation.probe import Probe, by_line, histograms, mean_latents, probe
from ulmo.evaluation.tally import count_by_band
from ulmo.evaluation.verdict import Verdict
from ulmo.jobs.spread import HERE, Spread
from ulmo.listening.worker_tokenizer import for_jobs
from ulmo.pipelines.evaluate.encoders import (
    AudioEncoder,
    Encoding,
    latents_of,
    tokens_by,
    vectors_by,
)
from ulmo.pipelines.evaluate.labelled import Sounds, find_labelled
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.spectrogram import find_constants, normalized_levels
from ulmo.preprocessing.stretches import whole
from ulmo.tokenizer import Tokenizer

_Counts = NDArray[np.int64]
_Progress = Callable[[str, int, int], object]  # what is measured, how much is done, and all

_MAX_CELLS = 2e9  # pairs of spectrogram frames that ABX compares, at most: a minute of one core


_HERE = Encoding()


class AudioPlan(NamedTuple):
    """What is measured, and how much of it."""

    folder: Path
    labels: Path | None = None  # CSV file; None: the folders' names are the labels
    speaker_column: str | None = None
    max_items: int = 400  # recordings measured, drawn evenly from each label of each speaker
    max_seconds: float = 5.0  # of each recording, from its beginning
    seed: int = 0
    source_column: str | None = None  # column of what items share: never both trained on and tested


class TokenNeighbours(NamedTuple):
    """How often the nearest of the other recordings has a recording's label."""

    missing: str  # why no neighbour was looked for; empty if some were
    histograms: Nearest  # by the angle between histograms of the ids
    sequences: Nearest  # by the edit distance of the columns, frames by `identical`
    substitutions: Nearest | None  # the same, frames by substitution scores; None without scores

    @classmethod
    def of(
        cls,
        grids: Sequence[Ids],
        shares: Array,
        sounds: Sounds,
        *,
        by: str,
        scores: Array | None = None,
        progress: _Progress = lambda *_: None,
    ) -> "TokenNeighbours":
        """Neighbours by ids (time, band), by their histograms (n, d) and by substitution scores.

        What is left out is the recording, the source and the speaker, which `by` is a word for. If
        that leaves no neighbour to judge, no distance is computed.
        """
        missing = why_no_neighbours(sounds.labels, sounds.groups, by)

        def judge(distances: NDArray[np.float64]) -> Nearest:
            return nearest(distances, sounds.labels, sounds.groups)

        def by_edits(name: str, distance: str | FrameDistance) -> Nearest:
            step = partial(progress, f"edit distances of {name}")
            return judge(distance_matrix(grids, distance, "edit", progress=step))

        if missing:
            none = Nearest.none()
            return cls(missing, none, none, None)
        return cls(
            missing,
            histograms=judge(vector_distances(shares)),
            sequences=by_edits("tokens", "identical"),
            substitutions=None
            if scores is None
            else by_edits("tokens by scores", substitution_distance(scores)),
        )


class EncoderFigures(NamedTuple):
    """Figures of an encoder on some recordings."""

    abx: Abx  # of the ids, by the distance `identical`
    folds: Folds  # of the recordings, for the probes
    probe: Probe  # of the histograms of the ids
    neighbours: TokenNeighbours
    robustness: dict[str, Agreement]
    rate: Rate
    band_counts: _Counts  # (bands, CB)
    sound_band_counts: _Counts  # (bands, CB)
    verdict: Verdict  # whether the ids change with the sound
    grids: list[Ids]  # ids (time, band) of each recording

    @classmethod
    def measure(
        cls,
        encoder: AudioEncoder,
        sounds: Sounds,
        *,
        seed: int = 0,
        progress: _Progress = lambda *_: None,
        encoding: Encoding = _HERE,
    ) -> "EncoderFigures":
        """Measure anything that turns samples into ids, on sounds at its sample rate."""
        total, size = len(sounds.sounds), encoder.codebook_size
        samples = [sound.samples for sound in sounds.sounds]
        grids, masks = [], []
        for ids, mask in encoding.each(partial(tokens_by, encoding.source or encoder), samples):
            grids.append(ids)
            masks.append(mask)
            progress("tokens", len(grids), total)
        ids, sound = np.concatenate(grids), np.concatenate(masks)
        counts = count_by_band(ids, np.ones_like(sound), size)
        sound_counts = count_by_band(ids, sound, size)
        folds = split_folds(sounds.labels, sounds.sources, sounds.speakers, seed=seed)
        shares = histograms(grids, masks, size)
        changed = encoder.robustness(
            samples,
            known=list(zip(grids, masks, strict=True)),
            seed=seed,
            progress=lambda done: progress("robustness", done, total),
            **encoding._asdict(),
        )
        return cls(
            abx=_abx("tokens", grids, sounds, "identical", progress),
            folds=folds,
            probe=probe(shares, sounds.labels, folds, by_line),
            neighbours=TokenNeighbours.of(
                grids,
                shares,
                sounds,
                by=folds.by,
                scores=encoder.substitution,
                progress=progress,
            ),
            robustness=changed,
            rate=rate(
                grids,
                codebook_size=size,
                tokens_per_second=grids[0].shape[1] * encoder.sample_rate / encoder.hop,
            ),
            band_counts=counts,
            sound_band_counts=sound_counts,
            verdict=Verdict.of(counts, sound_counts),
            grids=grids,
        )

    @property
    def counts(self) -> _Counts:
        """Of all tokens, (CB,)."""
        return np.asarray(self.band_counts.sum(axis=0))

    @property
    def sound_counts(self) -> _Counts:
        """Of non-silent tokens, (CB,)."""
        return np.asarray(self.sound_band_counts.sum(axis=0))

    @property
    def codebook(self) -> CodebookHealth:
        """On all tokens."""
        return codebook_health(self.counts)

    @property
    def sound_codebook(self) -> CodebookHealth:
        """On non-silent tokens."""
        return codebook_health(self.sound_counts)


class LatentFigures(NamedTuple):
    """Figures of vectors on some recordings."""

    abx: Abx  # by the distance `cosine`
    probe: Probe  # of their means over time
    nearest: Nearest  # by the angle between their means over time
    latents: list[Array]  # vectors (time, band, EMB) of each recording

    @classmethod
    def measure(
        cls,
        latents_of_samples: Callable[[Array], Array],
        sounds: Sounds,
        folds: Folds,
        *,
        progress: _Progress = lambda *_: None,
        encoding: Encoding = _HERE,
    ) -> "LatentFigures":
        """Measure a function from samples (n,) to vectors (time, band, EMB)."""
        latents = []
        job = partial(vectors_by, encoding.source or latents_of_samples)
        for found in encoding.each(job, [sound.samples for sound in sounds.sounds]):
            latents.append(found)
            progress("latents", len(latents), len(sounds.sounds))
        means = mean_latents(latents)
        return cls(
            abx=_abx("latents", latents, sounds, "cosine", progress),
            probe=probe(means, sounds.labels, folds, by_line),
            nearest=nearest(vector_distances(means), sounds.labels, sounds.groups),
            latents=latents,
        )


class AudioEvaluation(NamedTuple):
    """Figures of a tokenizer on labelled recordings."""

    plan: AudioPlan
    recordings: int
    seconds: float
    labels: list[str]
    speakers: list[str] | None
    refused: Sequence[tuple[Path, str, str]]  # path, reason and detail of each unreadable one
    left_out: Mapping[str, int]  # files of sound that is not read, by kind (.wac)
    tokens: EncoderFigures
    latents: LatentFigures | None  # None if labels allow neither ABX, probe nor neighbours
    abx_missing: str  # why ABX was not measured; empty if it was
    scores_abx: Abx | None  # of the ids, by substitution scores; None without scores
    codes_abx: Abx | None  # of the vectors of the codes, by the distance `cosine`
    spectrogram_abx: Abx | None  # of the normalised levels, by the distance `cosine`
    spectrogram_step: int  # means of this many frames were compared: 1 if that was fast enough

    @classmethod
    def measure(
        cls,
        tokenizer: Tokenizer,
        plan: AudioPlan,
        progress: _Progress = lambda *_: None,
        spread: Spread = HERE,
    ) -> "AudioEvaluation":
        """Measure a tokenizer on labelled recordings; what labels do not allow takes no time.

        spread: where recordings are encoded; they are read and compared in this process. Raises
        UserError if the labels cannot be read, or none of the recordings.
        """
        left_out: Counter[str] = Counter()
        sounds = _chosen_sounds(tokenizer, plan, left_out, progress)
        missing = why_no_abx(sounds.labels, sounds.speakers)
        encoder = AudioEncoder.of(tokenizer)
        with _encoding(tokenizer, spread, len(sounds.sounds)) as encoding:
            told: Any = {"progress": progress, "encoding": encoding}
            tokens = EncoderFigures.measure(encoder, sounds, seed=plan.seed, **told)
            latents = None
            if not (missing and tokens.folds.missing and tokens.neighbours.missing):
                at = latents_of(tokenizer)
                latents = LatentFigures.measure(at, sounds, tokens.folds, **told)
        scores_abx = codes_abx = spectrogram_abx = None
        step = 1
        if not missing:
            if encoder.substitution is not None:
                by_scores = substitution_distance(encoder.substitution)
                scores_abx = _abx("tokens by scores", tokens.grids, sounds, by_scores, progress)
            vectors = [_vectors(tokenizer)[ids] for ids in tokens.grids]
            codes_abx = _abx("codes", vectors, sounds, "cosine", progress)
            frontend = build_frontend(tokenizer.prep)
            planes = [_spectrogram(tokenizer, frontend, sound.samples) for sound in sounds.sounds]
            step = _spectrogram_step([len(plane) for plane in planes])
            planes = [_mean_frames(plane, step) for plane in planes]
            spectrogram_abx = _abx("the spectrogram", planes, sounds, "cosine", progress)
        rate_hz = tokenizer.prep.true_rate
        return cls(
            plan=plan,
            recordings=len(sounds.sounds),
            seconds=sum(len(sound.samples) for sound in sounds.sounds) / rate_hz,
            labels=sorted(set(sounds.labels)),
            speakers=None if sounds.speakers is None else sorted(set(sounds.speakers)),
            refused=sounds.refused,
            left_out=left_out,
            tokens=tokens,
            latents=latents,
            abx_missing=missing,
            scores_abx=scores_abx,
            codes_abx=codes_abx,
            spectrogram_abx=spectrogram_abx,
            spectrogram_step=step,
        )


@contextmanager
def _encoding(tokenizer: Tokenizer, spread: Spread, recordings: int) -> Iterator[Encoding]:
    """Where recordings are encoded; workers live as long as the block."""
    source, ready = for_jobs(tokenizer, spread, recordings)
    if isinstance(source, Tokenizer):
        yield _HERE
        return
    with spread.open(recordings, lambda *_: None, ready=ready) as executor:
        yield Encoding(executor.in_order, source)


def _vectors(tokenizer: Tokenizer) -> Array:
    """The vectors of all ids; special tokens have none, and get zeros."""
    special = tokenizer.vocabulary.size - len(tokenizer.codebook)
    return np.pad(tokenizer.codebook, ((0, special), (0, 0)))


def _spectrogram(tokenizer: Tokenizer, frontend: FrontEnd, samples: Array) -> Array:
    """The normalised levels (frames, M) that a tokenizer sees of samples (n,) at its rate."""
    prep = tokenizer.prep
    corpus = tokenizer.manifest.normalization
    constants = find_constants(lambda: whole([samples]), frontend, prep, corpus)
    blocks = normalized_levels([samples], frontend, prep, constants)
    return np.concatenate([np.empty((prep.tile_size, 0), np.float32), *blocks], axis=1).T


def _spectrogram_step(frames: Sequence[int]) -> int:
    """The smallest step with which comparing items of these lengths takes at most _MAX_CELLS."""
    step = 1
    while sum(-(-count // step) for count in frames) ** 2 > _MAX_CELLS:
        step += 1
    return step


def _mean_frames(plane: Array, step: int) -> Array:
    """Means (n, M) of each `step` frames of a spectrogram (frames, M); the last may have fewer."""
    starts = np.arange(0, len(plane), step)
    counts = np.diff(starts, append=len(plane))
    sums: Array = np.add.reduceat(plane, starts)
    sums /= counts[:, None]
    return sums


def _chosen_sounds(
    tokenizer: Tokenizer, plan: AudioPlan, left_out: Counter[str], progress: _Progress
) -> Sounds:
    columns = plan.speaker_column, plan.source_column
    found = find_labelled(plan.folder, plan.labels, *columns, left_out=left_out)
    kept = subsample(
        [item.label for item in found],
        [item.speaker or "" for item in found],
        max_items=plan.max_items,
        seed=plan.seed,
    )
    prep = tokenizer.prep
    sounds = Sounds.read(
        plan.folder,
        [found[index] for index in kept],
        sample_rate=prep.true_rate,
        full_scale=prep.full_scale,
        max_seconds=plan.max_seconds,
        channel=int(prep.channels) if prep.channels.isdigit() else None,
        progress=lambda done: progress("reading", done, len(kept)),
    )
    if not sounds.sounds:
        path, reason, detail = sounds.refused[0]
        raise UserError(f"no recording can be read: {path}: {reason} ({detail})")
    return sounds


def _abx(
    name: str,
    items: Sequence[Item],
    sounds: Sounds,
    distance: str | FrameDistance,
    progress: _Progress,
) -> Abx:
    step = partial(progress, f"ABX of {name}")
    return abx(items, sounds.labels, sounds.speakers, distance=distance, progress=step)
