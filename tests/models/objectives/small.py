"""Small models, batches, their other views, and trainings, for the tests of objectives."""

import keras
import numpy as np
import tensorflow as tf

from ulmo.config import ModelSettings
from ulmo.models import OBJECTIVES, build_vqvae
from ulmo.models.learner import Learner
from ulmo.models.objectives.base import EncodedBatch, Side, TrainingBatch

SMALL = ModelSettings(
    tile_size=32,
    encoder_layers=2,
    decoder_layers=2,
    width=16,
    embedding_dim=8,
    codebook_size=16,
    frequency_stride=16,
    time_stride=2,
)
"""16 columns of 2 bands; a column sees 3 frames before and after its own."""
TINY = {"encoder_layers": 2, "decoder_layers": 2, "width": 4, "embedding_dim": 4}
GRIDS = {
    "one band": ModelSettings(tile_size=16, **TINY, frequency_stride=16, time_stride=1),
    "two columns": ModelSettings(tile_size=16, **TINY, frequency_stride=4, time_stride=8),
    "odd": ModelSettings(tile_size=19, **TINY, frequency_stride=5, time_stride=3),
}


def noise(*shape, seed=0):
    """float32 of mean 0 and spread 1."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def batch_of(tiles, settings=SMALL, *, valid=None, weights=None):
    """A TrainingBatch of tiles; all of it valid, and of weight 1, unless told."""
    count, frames = len(tiles), tiles.shape[2]
    columns = -(-frames // settings.time_stride)
    if valid is None:
        valid = np.full(count, frames)
    if weights is None:
        weights = np.ones((count, columns, settings.bands))
    return TrainingBatch(
        tiles=tf.constant(tiles, tf.float32),
        valid_frames=tf.constant(valid, tf.int32),
        token_weights=tf.constant(weights, tf.float32),
        edges=edges_of(count, frames, settings),
    )


def edges_of(count, frames, settings=SMALL, pace=1.0):
    """(count, columns + 1): when the columns of tiles begin and end whose frames last `pace`."""
    columns = -(-frames // settings.time_stride)
    edges = settings.time_stride * pace * np.arange(columns + 1)
    return tf.constant(np.tile(edges, (count, 1)), tf.float32)


def changed(name, **options):
    """The class of an objective with other constants."""
    assert all(hasattr(OBJECTIVES[name], option) for option in options)
    return type(name, (OBJECTIVES[name],), options)


def begun(name, settings=SMALL, **options):
    """An objective with its heads, and the model that they were made for."""
    model = build_vqvae(settings)
    objective = changed(name, **options)(settings)
    objective.check(name, settings.columns)
    objective.begin(model)
    return objective, model


def encoded_of(model, batch, step=0, *, training=False):
    """What a model makes of a batch."""
    return EncodedBatch(model, batch, tf.constant(step), training)


def notes(count, seed):
    """Tiles (count, 32, 32, 1): a tone that jumps every 2 frames, over faint noise."""
    rng = np.random.default_rng(1000 + seed)
    pitch = np.repeat(rng.integers(0, 32, (count, 16)), 2, axis=1)
    tiles = -0.5 + 0.1 * rng.normal(size=(count, 32, 32))
    np.put_along_axis(tiles, pitch[:, None], 4, axis=1)
    return tiles[..., None].astype(np.float32)


def upside_down(tiles):
    """Another view, or front end, of tiles: fainter, and the lowest bin comes last."""
    return 0.5 * tiles[:, ::-1] - 0.2


@staticmethod
def unchanged(tiles, draws):
    """In place of a background: the tiles."""
    return tiles


def side_of(tiles, settings=SMALL, *, valid=None, pace=1.0, frontend=0):
    """A Side of tiles; all of it valid unless told."""
    count, frames = len(tiles), tiles.shape[2]
    return Side(
        tiles=tf.constant(tiles, tf.float32),
        valid_frames=tf.constant(np.full(count, frames) if valid is None else valid, tf.int32),
        edges=edges_of(count, frames, settings, pace),
        frontend=tf.fill([count], np.int32(frontend)),
    )


def compared(tiles, settings=SMALL, *, valid=None, weights=None):
    """A TrainingBatch of tiles with their upside-down view, and as a pair of front ends 1 and 4."""
    first = side_of(tiles, settings, valid=valid, frontend=1)
    second = side_of(upside_down(tiles), settings, valid=valid, frontend=4)
    batch = batch_of(tiles, settings, valid=valid, weights=weights)
    return batch._replace(other=second, pair=(first, second))


def learned(name, tiles_of, *, batches, settings=SMALL, rate=3e-3, **options):
    """A Learner of one objective after some steps on `tiles_of(count, seed)`, what it told before
    and after of tiles that it never saw, and its tallies of them."""
    learner = Learner(build_vqvae(settings), {name: (changed(name, **options)(settings), 1.0)})
    learner.optimizer = keras.optimizers.Adam(rate)
    learner.optimizer.build(learner.trainable_variables)
    step = tf.function(learner.train_step, autograph=False)
    judged = compared(tiles_of(32, 10_000), settings)
    before, _ = learner.test_step(judged)
    for seed in range(batches):
        learner.progress.assign(seed / batches)
        step(compared(tiles_of(16, seed), settings))
    after, tallies = learner.test_step(judged)
    return learner, before, after, tallies
