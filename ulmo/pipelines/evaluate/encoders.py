"""Whatever turns samples into ids, as it is measured: a bundle, or a baseline that is none."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array, Ids, Mask
from ulmo.evaluation.silence import is_sound, patch_levels
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.spectrogram import levels, normalized_levels
from ulmo.tokenizer import Tokenizer


def everything(samples: Array, ids: Ids) -> Mask:
    """All tokens (time, band) count as sound."""
    return np.ones(ids.shape, np.bool_)


class Encoder(NamedTuple):
    """Samples (n,) at sample_rate, full scale 1, become ids (time, band)."""

    encode: Callable[[Array], Ids]
    sample_rate: int
    hop: int
    """Samples from one column to the next."""
    codebook_size: int
    tile_samples: int
    """Samples of a tile, of which a recording is shifted by half."""
    sound: Callable[[Array, Ids], Mask] = everything
    """True for the ids (time, band) of samples that are not silent."""


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    """A tokenizer as an Encoder, which tells sound from silence by the level under each token.

    That is the level in dB re full scale, whatever the tokenizer itself is normalised by: so the
    same tokens are silent for each.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    frontend, in_decibels = (
        build_frontend(prep),
        prep.model_copy(update={"normalization": "corpus"}),
    )

    def encode(samples: Array) -> Ids:
        return tokenizer.encode(samples, sample_rate=prep.sample_rate).ids

    def sound(samples: Array, ids: Ids) -> Mask:
        plane = _joined(levels([samples], frontend, in_decibels), prep.tile_size)
        patches = patch_levels(
            plane[None],
            bands=model.bands,
            columns=len(ids),
            strides=(model.frequency_stride, model.time_stride),
        )
        loud: Mask = is_sound(patches, plane.max(keepdims=True)[0], prep.floor_db)[0]
        return loud

    return Encoder(
        encode=encode,
        sample_rate=prep.sample_rate,
        hop=prep.hop_length * model.time_stride,
        codebook_size=model.codebook_size,
        tile_samples=prep.hop_length * prep.tile_size,
        sound=sound,
    )


def spectrogram(tokenizer: Tokenizer, frontend: FrontEnd, samples: Array) -> Array:
    """The normalised levels (frames, M) that a tokenizer sees of samples (n,) at its rate."""
    prep = tokenizer.manifest.prep
    blocks = normalized_levels(lambda: [samples], frontend, prep, tokenizer.manifest.normalization)
    return _joined(blocks, prep.tile_size).T


def _joined(blocks: Iterator[Array], bins: int) -> Array:
    return np.concatenate([np.empty((bins, 0), np.float32), *blocks], axis=1)
