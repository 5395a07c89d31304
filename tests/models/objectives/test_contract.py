"""What holds for every objective: finite losses and gradients, whatever a batch holds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import SMALL
from ulmo.models import OBJECTIVES, build_vqvae
from ulmo.models.learner import Learner
from ulmo.models.objectives.base import EncodedBatch, Side, TrainingBatch

GRIDS = [(32, 2), (8, 4)]
"""Strides of bins and of frames: one band, and four."""
VALID = [[32], [0], [32, 0, 7]]


def side_of(rng, valid, frontend):
    count = len(valid)
    return Side(
        tiles=tf.constant(rng.normal(size=(count, 32, 32, 1)).astype(np.float32)),
        valid_frames=tf.constant(valid, tf.int32),
        pace=tf.constant(rng.uniform(0.8, 1.2, count).astype(np.float32)),
        frontend=tf.fill((count,), np.int32(frontend)),
    )


def batch_of(settings, valid, *, seed=0):
    rng = np.random.default_rng(seed)
    first = side_of(rng, valid, 0)
    other = side_of(rng, valid, 0)
    pair = tuple(
        side_of(rng, valid, number)._replace(pace=tf.ones(len(valid))) for number in (1, 4)
    )
    shape = (len(valid), settings.columns, settings.bands)
    weights = tf.constant(rng.choice([0.1, 1.0], shape).astype(np.float32))
    return TrainingBatch(first.tiles, first.valid_frames, weights, tf.ones(len(valid)), other, pair)


@pytest.mark.parametrize("strides", GRIDS, ids=str)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_are_finite_for_any_batch(name, strides):
    settings = SMALL.model_copy(update={"frequency_stride": strides[0], "time_stride": strides[1]})
    model = build_vqvae(settings, seed=1)
    objective = OBJECTIVES[name](settings, 2)
    objective.begin(model)
    for valid in VALID:
        batch = batch_of(settings, valid)
        with tf.GradientTape() as tape:
            outcome = objective.measure(EncodedBatch(model, batch, 3, training=True))
        variables = [*model.encoder.trainable_variables, *objective.trainable_variables]
        gradients = [one for one in tape.gradient(outcome.loss, variables) if one is not None]
        told = [float(value) for value in (outcome.loss, outcome.score, outcome.chance)]
        assert np.isfinite(told).all(), (valid, told)
        assert all(np.isfinite(tf.convert_to_tensor(one)).all() for one in gradients), valid
        if valid == [32, 0, 7]:
            assert max(float(tf.reduce_max(tf.abs(one))) for one in gradients) > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_in_mixed_precision_is_finite_and_near_that_in_float32(name):
    batch = batch_of(SMALL, [32, 0, 7])

    def losses(policy):
        keras.config.set_dtype_policy(policy)
        try:
            learner = Learner(build_vqvae(SMALL, seed=1), {name: (OBJECTIVES[name](SMALL, 2), 1.0)})
            learner.optimizer = keras.optimizers.Adam(1e-3)
            learner.optimizer.build(learner.trainable_variables)
            told = learner.train_step(batch)
        finally:
            keras.config.set_dtype_policy("float32")
        assert all(np.isfinite(values.numpy()).all() for values in learner.variables)
        return {loss: float(value) for loss, value in told.items()}

    mixed, exact = losses("mixed_bfloat16"), losses("float32")
    assert mixed[f"{name}_loss"] == pytest.approx(exact[f"{name}_loss"], rel=0.05)
    assert all(np.isfinite(value) for value in mixed.values())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_drawn_is_ruled_by_seed_and_step(name):
    model = build_vqvae(SMALL, seed=1)
    batch = batch_of(SMALL, [32] * 64)  # so many that `next_frame` takes some columns of each

    def loss(seed, step):
        objective = OBJECTIVES[name](SMALL, seed)
        objective.begin(model)
        return float(objective.measure(EncodedBatch(model, batch, step, training=False)).loss)

    assert loss(2, 3) == loss(2, 3)
    assert (loss(2, 3) == loss(2, 4)) is not OBJECTIVES[name].draws
