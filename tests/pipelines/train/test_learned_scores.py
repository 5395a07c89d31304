"""Substitution scores from the tiles of a run: what is planted comes out."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.pipelines.training import MODEL
from ulmo.config import ModelSettings, TrainSettings
from ulmo.dataset import Loudness, split_by_recording
from ulmo.encoding import Columns
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.substitution import learn_scores
from ulmo.preprocessing.store import TileStore


class Planted:
    """A tokenizer whose ids are the column of the tile, halved; in each second call one more."""

    def __init__(self, model):
        self.manifest = SimpleNamespace(model=model)
        codebook = 100 * np.eye(model.codebook_size, dtype=np.float32)
        self.bundle = SimpleNamespace(weights=lambda: {"codebook": codebook})
        self.calls = 0

    def encode_tiles(self, tiles, valid):
        model = self.manifest.model
        columns = -(-tiles.shape[2] // model.time_stride)
        ids = np.arange(columns, dtype=np.int32)[:, None] // 2 * 2 + self.calls % 2
        self.calls += 1
        shape = (len(tiles), columns, model.bands)
        return Columns(np.broadcast_to(ids, shape), np.ones(shape, np.float32))


@pytest.fixture
def feed(tiny_tiles):
    store = TileStore(tiny_tiles)
    model = ModelSettings(tile_size=store.tile_size, **MODEL)
    return Feed(Loudness(store, model), TrainSettings(), wants=frozenset())


def test_ids_that_meet_at_the_same_moment_stand_for_each_other(feed, tiny_tiles):
    store = TileStore(tiny_tiles)
    model = ModelSettings(tile_size=store.tile_size, **MODEL)
    rows = split_by_recording(store, 0.1, 0).train
    planted = Planted(model)
    scores = learn_scores(planted, feed, rows, seed=0)
    assert planted.calls > 4
    assert scores.shape == (model.bands, 16, 16)
    for band in scores:
        for even in range(0, 8, 2):
            assert band[even, even + 1] == band[even].max() > 0.5
            others = np.delete(band[even], [even, even + 1])
            assert others.max() < band[even, even + 1] - 1
    again = learn_scores(Planted(model), feed, rows, seed=0)
    np.testing.assert_array_equal(scores, again)


def test_a_vocabulary_that_is_too_large_has_no_scores(feed):
    model = ModelSettings(codebook_size=8192)
    assert learn_scores(Planted(ModelSettings()), feed, np.arange(0), seed=0) is not None
    large = SimpleNamespace(manifest=SimpleNamespace(model=model))
    assert learn_scores(large, feed, np.arange(3), seed=0) is None
