"""Substitution scores of a trained tokenizer, learned from copies of its training tiles."""

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.bundle.scores import may_have_scores
from ulmo.dataset import batches
from ulmo.models.draws import Draws
from ulmo.models.objectives.moments import columns_at, middles_of, values_at
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

    A copy is another view of the tile or a paired recording, with a background, as training
    compares them. Ids of silence do not count.
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
        here = tokenizer.encode_tiles(np.asarray(batch.tiles), np.asarray(batch.valid_frames))
        mixed = np.asarray(background(other.tiles, Draws(seed, number)))
        there = tokenizer.encode_tiles(mixed, np.asarray(other.valid_frames))
        begins = model.time_stride * np.arange(here.ids.shape[1])
        heard, copied = (
            begins < np.asarray(side.valid_frames)[:, None] for side in (batch, other)
        )  # (n, columns)
        columns = columns_at(middles_of(batch.edges), other.edges)
        shown = heard & (np.asarray(values_at(copied.astype(np.float32), columns)) > 0)
        inside = np.clip(np.asarray(columns), 0, len(begins) - 1)
        met = np.take_along_axis(there.ids, inside[..., None], axis=1)
        kept = shown[..., None] & (np.asarray(batch.token_weights) == 1)
        counts += count_pairs(here.ids, met, kept, model.codebook_size)
        errors.append(here.distances[kept])
    distances = np.concatenate(errors)
    spread = float(distances.mean()) if len(distances) else 0.0
    return substitution_scores(counts, tokenizer.codebook, spread)
