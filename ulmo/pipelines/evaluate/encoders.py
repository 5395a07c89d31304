"""What turns recordings into ids or latents, and how many ids stay the same under changes."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ulmo.arrays import Array, Ids, Indices, Mask
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.session import Session
from ulmo.encoding import Columns, encode_columns
from ulmo.evaluation.agreement import Agreement, agreement
from ulmo.evaluation.silence import is_sound, patch_levels
from ulmo.listening.worker_tokenizer import opened
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.reading.audio import resample
from ulmo.preprocessing.spectrogram import find_constants, levels, normalized_levels
from ulmo.preprocessing.stretches import whole
from ulmo.tokenizer import Tokenizer, TokenizerRef


def _everything(samples: Array, ids: Ids) -> Mask:
    return np.ones(ids.shape, np.bool_)


class AudioEncoder(NamedTuple):
    """Turns samples (n,) at sample_rate, full scale 1, into ids (time, band).

    It is a tokenizer, or any baseline that turns samples into ids.
    """

    encode: Callable[[Array], Ids]
    sample_rate: int
    hop: int  # samples from one column to the next
    codebook_size: int
    tile_samples: int  # samples of a tile; recordings are shifted by half of it
    # Whether each of the ids (time, band) of samples is sound; by default, all are.
    sound: Callable[[Array, Ids], Mask] = _everything
    # Log-odds in bits (bands, codebook_size, codebook_size) that one id stands for another.
    substitution: Array | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "AudioEncoder":
        """A tokenizer as an AudioEncoder; the level under each token shows whether it is sound.

        Levels are in dB re full scale, whatever the tokenizer's own normalisation: the same tokens
        are silent for all tokenizers.
        """
        prep, model = tokenizer.prep, tokenizer.manifest.model
        frontend = build_frontend(prep)
        in_decibels = prep.model_copy(update={"normalization": "corpus"})

        def encode(samples: Array) -> Ids:
            stretches = tokenizer.stretches(lambda: whole([samples]))
            parts = [part.ids for stretch in stretches for part in stretch]
            return np.concatenate([np.empty((0, model.bands), np.int32), *parts])

        def sound(samples: Array, ids: Ids) -> Mask:
            none = np.empty((prep.tile_size, 0), np.float32)
            plane = np.concatenate([none, *levels([samples], frontend, in_decibels)], axis=1)
            patches = patch_levels(
                plane[None],
                bands=model.bands,
                columns=len(ids),
                strides=(model.frequency_stride, model.time_stride),
            )
            loud: Mask = is_sound(patches, plane.max(keepdims=True)[0], prep.floor_db)[0]
            return loud

        return cls(
            encode=encode,
            sample_rate=prep.true_rate,
            hop=prep.hop_length * model.time_stride,
            codebook_size=model.codebook_size,
            tile_samples=prep.hop_length * prep.tile_size,
            sound=sound,
            substitution=tokenizer.bundle.scores(),
        )

    def robustness(
        self,
        recordings: Iterable[Array],
        *,
        known: Sequence[tuple[Ids, Mask]] = (),
        seed: int = 0,
        progress: Callable[[int], object] = lambda done: None,
        each: Callable[..., Iterable[Any]] = map,
        source: "AudioEncoder | TokenizerRef | None" = None,
    ) -> dict[str, Agreement]:
        """Agreement of the tokens of recordings (n,), at the encoder's rate, under each change.

        known: the ids of each recording, and whether they are sound; measured if left out.

        The noise of each recording follows from the seed and its number. `progress` receives the
        number of recordings done. `each` and `source` as in Encoding.
        """
        found = dict.fromkeys(_CHANGES, Agreement())
        job = partial(_agreements_by, source or self, seed)
        asked = (
            (number, samples, known[number] if known else None)
            for number, samples in enumerate(recordings)
        )
        for done, one in enumerate(each(job, asked)):
            found = {name: found[name] + one[name] for name in found}
            progress(done + 1)
        return found

    def agreements(
        self, samples: Array, number: int, known: tuple[Ids, Mask] | None, *, seed: int
    ) -> dict[str, Agreement]:
        """The same of one recording."""
        ids, sound = known or tokens_by(self, samples)
        found = {}
        for name, change in _CHANGES.items():
            rng = np.random.default_rng([seed, number])
            changed = change(samples, np.arange(len(ids)), self, rng)
            found[name] = agreement(ids, self.encode(changed.samples), changed.columns, sound)
        return found


@lru_cache(maxsize=1)
def _of_tokenizer(ref: TokenizerRef) -> AudioEncoder:
    return AudioEncoder.of(opened(ref))


@lru_cache(maxsize=1)
def _latents_of(ref: TokenizerRef) -> Callable[[Array], Array]:
    return latents_of(opened(ref))


def _encoder_of(encoder: AudioEncoder | TokenizerRef) -> AudioEncoder:
    """The encoder that a job was given; a worker opens a reference once."""
    return _of_tokenizer(encoder) if isinstance(encoder, TokenizerRef) else encoder


def vectors_by(source: Callable[[Array], Array] | TokenizerRef, samples: Array) -> Array:
    """Vectors (time, band, EMB) of samples (n,), by a function, or by the tokenizer named."""
    return (_latents_of(source) if isinstance(source, TokenizerRef) else source)(samples)


def tokens_by(encoder: AudioEncoder | TokenizerRef, samples: Array) -> tuple[Ids, Mask]:
    """Ids (time, band) of samples (n,), and which of them are sound."""
    used = _encoder_of(encoder)
    ids = used.encode(samples)
    return ids, used.sound(samples, ids)


def _agreements_by(
    encoder: AudioEncoder | TokenizerRef,
    seed: int,
    asked: tuple[int, Array, tuple[Ids, Mask] | None],
) -> dict[str, Agreement]:
    number, samples, known = asked
    return _encoder_of(encoder).agreements(samples, number, known, seed=seed)


class Encoding(NamedTuple):
    """Where recordings are encoded."""

    each: Callable[..., Iterable[Any]] = map  # from a function and its arguments, to its results
    source: TokenizerRef | None = None  # of the tokenizer, if that is not in this process


def latents_of(tokenizer: Tokenizer) -> Callable[[Array], Array]:
    """A function from samples (n,), at the tokenizer's rate, to their latents (time, band, EMB).

    Latents are normalised as the codes are, and computed in the windows of `Tokenizer.encode`: the
    code nearest to a latent is its token. The bundle's graph gives ids and distances only; the same
    weights make another graph, in memory: no file is written, and TensorFlow is not needed.
    """
    prep, model = tokenizer.prep, tokenizer.manifest.model
    graph = encoder_graph(model, tokenizer.bundle.weights(), latents=True)
    session, frontend = Session(graph.to_bytes()), build_frontend(prep)

    def run(tiles: Array) -> Columns:
        return Columns(*session.run(["ids", "distances", "latents"], {"tiles": tiles}))

    def latents(samples: Array) -> Array:
        corpus = tokenizer.manifest.normalization
        constants = find_constants(lambda: whole([samples]), frontend, prep, corpus)
        blocks = normalized_levels([samples], frontend, prep, constants)
        parts = [np.empty((0, model.bands, model.embedding_dim), np.float32)]
        parts += [
            columns.latents
            for columns in encode_columns(blocks, run, model, any_width=tokenizer.is_any_width)
            if columns.latents is not None
        ]
        return np.concatenate(parts)

    return latents


class _Changed(NamedTuple):
    """A changed recording."""

    samples: Array  # (n,)
    columns: Indices  # for each column of the original, the one at its time


# Samples (n,) and the numbers of their columns, at the encoder's rate, to a changed recording.
_Change = Callable[[Array, Indices, AudioEncoder, np.random.Generator], _Changed]


def _shift_columns(encoder: AudioEncoder) -> int:
    """Columns in half a tile: the nearest whole number, at least 1."""
    return max(round(encoder.tile_samples / 2 / encoder.hop), 1)


def _gain(samples: Array, columns: Indices, *_: object, decibels: float) -> _Changed:
    """Amplify by some decibels. Nothing is clipped: samples may exceed full scale."""
    return _Changed(samples * np.float32(10 ** (decibels / 20)), columns)


def _noise(
    samples: Array, columns: Indices, _: AudioEncoder, rng: np.random.Generator, ratio_db: float
) -> _Changed:
    """Add white Gaussian noise, ratio_db below the mean power of the recording."""
    power = float((samples.astype(np.float64) ** 2).sum()) / max(len(samples), 1)
    noise = rng.standard_normal(len(samples)) * np.sqrt(power * 10 ** (-ratio_db / 10))
    return _Changed((samples + noise).astype(np.float32), columns)


def _shift(samples: Array, columns: Indices, encoder: AudioEncoder, *_: object) -> _Changed:
    """Prepend half a tile of zeros."""
    shift = _shift_columns(encoder)
    silence = np.zeros(shift * encoder.hop, np.float32)
    return _Changed(np.concatenate([silence, samples]), columns + shift)


def _rate(
    samples: Array, columns: Indices, encoder: AudioEncoder, *_: object, factor: float
) -> _Changed:
    """Resample to `factor` times the rate, and keep the nominal rate: above 1, slower and lower.

    AugmentSettings.rate_spread changes training tiles in the same way. The column at a time is the
    one that contains the middle of the original's column.
    """
    old, new = encoder.sample_rate, round(encoder.sample_rate * factor)
    changed = np.concatenate([np.empty(0, np.float32), *resample([samples], old, new)])
    return _Changed(changed, np.floor((columns + 0.5) * new / old).astype(np.int64))


_CHANGES: dict[str, _Change] = {
    "gain_up_6db": partial(_gain, decibels=6),
    "gain_down_6db": partial(_gain, decibels=-6),
    "noise_20db": partial(_noise, ratio_db=20),
    "noise_10db": partial(_noise, ratio_db=10),
    "shift_half_tile": _shift,
    "rate_up_10": partial(_rate, factor=1.1),
    "rate_down_10": partial(_rate, factor=0.9),
}
