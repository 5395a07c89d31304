"""Tiles of notes, their other views, and trainings on both, for the tests of what compares two."""

import keras
import numpy as np
import tensorflow as tf

from tests.models.objectives.small import SMALL, batch_of
from ulmo.models import OBJECTIVES, build_vqvae
from ulmo.models.learner import Learner
from ulmo.models.objectives.base import Side


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


def unchanged(tiles, draws):
    """In place of a background: the tiles."""
    return tiles


def side_of(tiles, *, valid=None, pace=1.0, frontend=0):
    """A Side of tiles; all of it valid unless told."""
    count, frames = len(tiles), tiles.shape[2]
    return Side(
        tiles=tf.constant(tiles, tf.float32),
        valid_frames=tf.constant(np.full(count, frames) if valid is None else valid, tf.int32),
        pace=tf.fill([count], np.float32(pace)),
        frontend=tf.fill([count], np.int32(frontend)),
    )


def compared(tiles, settings=SMALL, *, valid=None, weights=None):
    """A TrainingBatch of tiles with their upside-down view, and as a pair of front ends 1 and 4."""
    first = side_of(tiles, valid=valid, frontend=1)
    second = side_of(upside_down(tiles), valid=valid, frontend=4)
    batch = batch_of(tiles, settings, valid=valid, weights=weights)
    return batch._replace(other=second, pair=(first, second))


def learned(name, *, steps, settings=SMALL, rate=3e-3, **options):
    """A Learner of one objective after some steps on notes, and what it told before and after
    of those that it never saw."""
    task = OBJECTIVES[name](settings, **options)
    learner = Learner(build_vqvae(settings), {name: (task, 1.0)})
    learner.optimizer = keras.optimizers.Adam(rate)
    learner.optimizer.build(learner.trainable_variables)
    step = tf.function(learner.train_step, autograph=False)
    judged = compared(notes(16, -1), settings)
    before, _ = learner.test_step(judged)
    for seed in range(steps):
        learner.progress.assign(seed / steps)
        step(compared(notes(16, seed), settings))
    after, tallies = learner.test_step(judged)
    return learner, before, after, tallies
