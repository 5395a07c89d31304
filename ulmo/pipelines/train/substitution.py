"""Scores of substitution of a trained tokenizer, learned from copies of its training tiles."""

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.bundle.scores import may_have_scores
from ulmo.dataset import batches
from ulmo.models.draws import Draws
from ulmo.models.objectives.moments import columns_at, middles_of
from ulmo.models.objectives.two_views import Background
from ulmo.pipelines.train.feed import Feed
from ulmo.sequence.substitution import count_pairs, substitution_scores
from ulmo.tokenizer import Tokenizer

_TILES = 4096  # with the crops of recipes/large.toml, a pair of ids for each pair of 512 codes
_TIMES = 4  # each tile at most
_BATCH = 32
_FIRST = 1 << 41  # number of the first batch: no training step and no held-out batch has it


def learn_scores(tokenizer: Tokenizer, feed: Feed, rows: Indices, seed: int) -> Array | None:
    """Scores (bands, CB, CB) from some training rows; None if there are too many codes.

    A copy is another view of the tile or a paired recording, as training compares them, with
    another tile as its background. Ids of silence do not count.
    """
    model = tokenizer.manifest.model
    if not may_have_scores(model):
        return None
    counts = np.zeros((model.bands, model.codebook_size, model.codebook_size), np.int64)
    background, errors = Background(), [np.empty(0, np.float32)]
    order = np.random.default_rng([seed, 5]).permutation(np.tile(rows, _TIMES))[:_TILES]
    parts = list(batches(order, _BATCH))
    for number, batch in enumerate(feed.batches(parts, _FIRST, compares=True)):
        other = batch.other
        if other is None:
            raise ValueError("a batch has no other view")
        tiles, valid = np.asarray(batch.tiles), np.asarray(batch.valid_frames)
        mixed = np.asarray(background(other.tiles, Draws(seed, number)))
        here = tokenizer.encode_tiles(tiles, valid)
        there = tokenizer.encode_tiles(mixed, np.asarray(other.valid_frames))
        last = there.ids.shape[1] - 1
        columns = np.asarray(columns_at(middles_of(batch.edges), other.edges))
        found = np.take_along_axis(there.ids, np.clip(columns, 0, last)[..., None], axis=1)
        stride = model.time_stride
        shown = (columns >= 0) & (columns * stride < np.asarray(other.valid_frames)[:, None])
        shown &= columns <= last
        shown &= np.arange(here.ids.shape[1]) * stride < valid[:, None]
        kept = shown[..., None] & (np.asarray(batch.token_weights) == 1)
        counts += count_pairs(here.ids, found, kept, model.codebook_size)
        errors.append(here.distances[kept])
    distances = np.concatenate(errors)
    spread = float(distances.mean()) if len(distances) else 0.0
    return substitution_scores(counts, tokenizer.codebook, spread)
