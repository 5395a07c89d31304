"""Several devices give what one gives, to rounding: losses, weights, codebooks and all heads.

A device is here named twice or three times: that parts are computed on different ones is shown in
tests/pipelines/train/test_train_stopped.py.
"""

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bounded import some_of
from tests.models.objectives.small import SMALL, compared, notes
from ulmo.models import OBJECTIVES, QUANTIZERS, build_vqvae
from ulmo.models.devices import spread_rows
from ulmo.models.learner import Learner

HERE = "/device:CPU:0"
OPTIONS = {
    "ema": {"balance": 0.5},
    "fsq": {"embedding_dim": 3, "fsq_levels": (4, 2, 2)},
    "residual": {"stage_sizes": (4, 4)},
    "kmeans": {},
    "gradient": {"distance": "cosine", "gradient": "rotation"},
    "rim": {},
}
OTHERS = [name for name in QUANTIZERS if name != "ema"]


def learned(devices, quantizer, objectives, step="train_step"):
    """What two steps tell, and all variables after them. The last batch is of three tiles."""
    settings = SMALL.model_copy(update={"quantizer": quantizer, **OPTIONS[quantizer]})
    model = build_vqvae(settings, 1, (HERE,) * devices)
    tasks = {name: (OBJECTIVES[name](settings, 2), 1.0) for name in objectives}
    learner = Learner(model, tasks)
    # Adam makes a whole step of a gradient that is 0 but for rounding.
    learner.optimizer = keras.optimizers.SGD(0.01)
    learner.optimizer.build(learner.trainable_variables)
    valid = [32, 20, 7, 32, 32, 0]
    weights = np.random.default_rng(0).choice([0.1, 1], (6, settings.columns, settings.bands))
    told = []
    for number, count in enumerate((6, 3)):
        batch = compared(
            notes(count, number), settings, valid=valid[:count], weights=weights[:count]
        )
        losses = getattr(learner, step)(batch)
        told.append({name: float(value) for name, value in losses.items()})
    return told, [np.asarray(variable) for variable in learner.variables]


def assert_alike(quantizer, objectives, step="train_step", devices=2):
    """One device and several tell the same, and end with the same variables."""
    (told, values), (other_told, other_values) = (
        learned(count, quantizer, objectives, step) for count in (1, devices)
    )
    for one, other in zip(told, other_told, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    for one, other in zip(values, other_values, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
    assert told[1]["total"] != told[0]["total"]


def test_all_objectives_at_once_with_moving_averages():
    assert_alike("ema", list(OBJECTIVES))


@pytest.mark.parametrize("quantizer", OTHERS)
def test_every_other_quantizer_and_more_devices_than_tiles(quantizer):
    assert_alike(quantizer, ["reconstruct"], devices=4)


def test_mixed_precision():
    """In which a sum of two parts is rounded twice."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        (told, _), (other, _) = (learned(devices, "ema", ["reconstruct"]) for devices in (1, 2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert other[0] == pytest.approx(told[0], rel=1e-5)
    assert other[1]["total"] == pytest.approx(told[1]["total"], rel=0.02)


def test_codebook_and_decoder_are_fitted_to_a_frozen_encoder_alike():
    assert_alike("ema", ["infill"], "fit_step")


@pytest.mark.parametrize(
    ("quantizer", "objective"), some_of(product(QUANTIZERS, OBJECTIVES), most=2)
)
def test_every_quantizer_with_every_objective(quantizer, objective):
    assert_alike(quantizer, [objective], devices=3)


def test_rows_and_gradients_come_together_in_their_order():
    weight = tf.Variable([2.0, -1.0])
    rows, numbers = tf.constant(np.arange(10.0, dtype=np.float32).reshape(5, 2)), tf.range(5)

    def made(rows, numbers):
        return {"a": rows * weight, "b": (numbers + 1, tf.reduce_sum(rows, axis=1))}

    found, slopes = [], []
    for devices in ((), (HERE, HERE, HERE)):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            some = spread_rows(made, [rows, numbers], devices)
            loss = tf.reduce_sum(tf.square(some["a"])) + tf.reduce_sum(some["b"][1][:2])
        found.append(tf.nest.flatten(some))
        slopes.append(tape.gradient(loss, [weight, rows]))
    for one, other in zip(found[0] + slopes[0], found[1] + slopes[1], strict=True):
        np.testing.assert_array_equal(other, one)


def test_the_backward_part_is_placed_where_the_forward_part_is():
    kernel = tf.Variable(np.ones((3, 3, 1, 2), np.float32))
    devices = ("/device:CPU:0", "/device:CPU:1")

    def step(tiles):
        with tf.GradientTape() as tape:
            made = spread_rows(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), [tiles], devices)
            loss = tf.reduce_mean(made)
        return tape.gradient(loss, kernel)

    graph = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec((None, 4, 4, 1)))
    placed = {}
    for operation in graph.graph.get_operations():
        if operation.type.startswith("Conv2D"):
            placed.setdefault(operation.type, set()).add(operation.device)
    assert placed["Conv2D"] == placed["Conv2DBackpropFilter"] == set(devices)
