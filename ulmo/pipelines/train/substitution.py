"""Substitution scores of a trained tokenizer, learned from copies of its training tiles."""

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.bundle.scores import may_have_scores
from ulmo.bundle.weights import codebook_of
from ulmo.pipelines.train.compared import compared
from ulmo.pipelines.train.feed import Feed
from ulmo.sequence.substitution import count_pairs, substitution_scores
from ulmo.tokenizer import Tokenizer

_TILES = 4096  # with the crops of recipes/large.toml, a pair of ids for each pair of 512 codes
_FIRST = 1 << 41


def learn_scores(tokenizer: Tokenizer, feed: Feed, rows: Indices, seed: int) -> Array | None:
    """Scores (bands, CB, CB) from some training rows; None if there are too many codes.

    A copy is another view of the tile or a paired recording, with a background, as training
    compares them. Ids of silence do not count.
    """
    model = tokenizer.manifest.model
    if not may_have_scores(model):
        return None
    counts = np.zeros((model.bands, model.codebook_size, model.codebook_size), np.int64)
    errors = [np.empty(0, np.float32)]
    stride = model.time_stride
    for pair in compared(feed, rows, seed, most=_TILES, first=_FIRST, time_stride=stride):
        here = tokenizer.encode_tiles(pair.tiles, pair.valid_frames)
        there = tokenizer.encode_tiles(pair.copies, pair.copied_frames)
        counts += count_pairs(here.ids, pair.met(there.ids), pair.kept, model.codebook_size)
        errors.append(here.distances[pair.kept])
    distances = np.concatenate(errors)
    spread = float(distances.mean()) if len(distances) else 0.0
    codes = codebook_of(model, tokenizer.bundle.weights())
    return substitution_scores(counts, codes, spread)
