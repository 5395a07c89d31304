"""What is measured on recordings: samples to ids, to latents, and to spectrograms.

An AudioEncoder is a bundle, or any baseline that turns samples into ids. A bundle's own graph gives
ids and distances only; for latents, the same weights make another graph, in memory: no file is
written, and TensorFlow is not needed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.session import open_session
from ulmo.encoding import Columns, encode_columns
from ulmo.evaluation.silence import is_sound, patch_levels
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.spectrogram import levels, normalized_levels
from ulmo.tokenizer import Tokenizer

_Mask = NDArray[np.bool_]


def _everything(samples: Array, ids: Ids) -> _Mask:
    return np.ones(ids.shape, np.bool_)


class AudioEncoder(NamedTuple):
    """Turns samples (n,) at sample_rate, full scale 1, into ids (time, band)."""

    encode: Callable[[Array], Ids]
    sample_rate: int
    hop: int  # samples from one column to the next
    codebook_size: int
    tile_samples: int  # samples of a tile; recordings are shifted by half of it
    # Whether each of the ids (time, band) of samples is sound; by default, all are.
    sound: Callable[[Array, Ids], _Mask] = _everything


def encoder_of(tokenizer: Tokenizer) -> AudioEncoder:
    """A tokenizer as an AudioEncoder; the level under each token shows whether it is sound.

    Levels are in dB re full scale, whatever the tokenizer's own normalisation: the same tokens are
    silent for all tokenizers.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    frontend = build_frontend(prep)
    in_decibels = prep.model_copy(update={"normalization": "corpus"})

    def encode(samples: Array) -> Ids:
        return tokenizer.encode(samples, sample_rate=prep.sample_rate).ids

    def sound(samples: Array, ids: Ids) -> _Mask:
        plane = _joined(levels([samples], frontend, in_decibels), prep.tile_size)
        patches = patch_levels(
            plane[None],
            bands=model.bands,
            columns=len(ids),
            strides=(model.frequency_stride, model.time_stride),
        )
        loud: _Mask = is_sound(patches, plane.max(keepdims=True)[0], prep.floor_db)[0]
        return loud

    return AudioEncoder(
        encode=encode,
        sample_rate=prep.sample_rate,
        hop=prep.hop_length * model.time_stride,
        codebook_size=model.codebook_size,
        tile_samples=prep.hop_length * prep.tile_size,
        sound=sound,
    )


def latents_of(tokenizer: Tokenizer) -> Callable[[Array], Array]:
    """A function from samples (n,), at the tokenizer's rate, to their latents (time, band, EMB).

    Latents are normalised as the codes are, and computed in the windows of `Tokenizer.encode`: the
    code nearest to a latent is its token.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    graph = encoder_graph(model, tokenizer.bundle.weights(), latents=True)
    session, frontend = open_session(graph.to_bytes()), build_frontend(prep)

    def run(tiles: Array) -> Columns:
        return Columns(*session.run(["ids", "distances", "latents"], {"tiles": tiles}))

    def latents(samples: Array) -> Array:
        constants = tokenizer.manifest.normalization
        blocks = normalized_levels(lambda: [samples], frontend, prep, constants)
        parts = [np.empty((0, model.bands, model.embedding_dim), np.float32)]
        parts += [
            columns.latents
            for columns in encode_columns(blocks, run, model)
            if columns.latents is not None
        ]
        return np.concatenate(parts)

    return latents


def spectrogram(tokenizer: Tokenizer, frontend: FrontEnd, samples: Array) -> Array:
    """The normalised levels (frames, M) that a tokenizer sees of samples (n,) at its rate."""
    prep = tokenizer.manifest.prep
    blocks = normalized_levels(lambda: [samples], frontend, prep, tokenizer.manifest.normalization)
    return _joined(blocks, prep.tile_size).T


def _joined(blocks: Iterator[Array], bins: int) -> Array:
    return np.concatenate([np.empty((bins, 0), np.float32), *blocks], axis=1)
