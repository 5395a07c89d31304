"""The latents of a bundle's encoder: what its ids were made from.

A bundle's own graph gives ids and distances alone. The same weights make a graph that gives the
latents too, here in memory: no file of it is written, and no TensorFlow is needed.
"""

from collections.abc import Callable

import numpy as np

from ulmo.arrays import Array
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.session import open_session
from ulmo.encoding import Columns, encode_columns
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.spectrogram import normalized_levels
from ulmo.tokenizer import Tokenizer


def latents_of(tokenizer: Tokenizer) -> Callable[[Array], Array]:
    """A function of samples (n,), at the tokenizer's rate, to their latents (time, band, EMB).

    They are normalised as the codes are, and computed in the windows of `Tokenizer.encode`: the
    nearest code of each is its token.
    """
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    graph = encoder_graph(model, tokenizer.bundle.weights(), latents=True)
    session, frontend = open_session(graph.to_bytes()), build_frontend(prep)
    names = ["ids", "distances", "latents"]

    def run(tiles: Array) -> Columns:
        return Columns(*session.run(names, {"tiles": tiles}))

    def latents(samples: Array) -> Array:
        constants = tokenizer.manifest.normalization
        levels = normalized_levels(lambda: [samples], frontend, prep, constants)
        parts = [np.empty((0, model.bands, model.embedding_dim), np.float32)]
        parts += [
            columns.latents
            for columns in encode_columns(levels, run, model)
            if columns.latents is not None
        ]
        return np.concatenate(parts)

    return latents
