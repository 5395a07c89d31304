"""The contract of every quantizer, and what is particular to each but `ema` (test_ema.py)."""

from functools import partial
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.oracles import nearest_code, rotated
from ulmo.config import QUANTIZER_TRAITS, ModelSettings
from ulmo.models import QUANTIZERS
from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.fsq import FiniteScalarQuantizer
from ulmo.models.sphere import on_sphere

PLANS = [
    *({"quantizer": name} for name in QUANTIZERS if name != "fsq"),
    {"quantizer": "ema", "distance": "cosine", "gradient": "rotation"},
    {"quantizer": "fsq", "embedding_dim": 2, "fsq_levels": (6, 4)},
    {"quantizer": "fsq", "embedding_dim": 3, "fsq_levels": (3, 4, 2)},
    {"quantizer": "gradient", "distance": "cosine", "gradient": "rotation"},
    {"quantizer": "kmeans", "distance": "cosine"},
    {"quantizer": "residual", "stage_sizes": (2, 3, 4), "gradient": "rotation"},
]
each_plan = pytest.mark.parametrize(
    "plan", PLANS, ids=lambda plan: "-".join(map(str, plan.values()))
)


def settings_of(plan):
    return ModelSettings(**{"codebook_size": 24, "embedding_dim": 5, **plan})


def quantizer_of(plan, seed=0):
    settings = settings_of(plan)
    layer = QUANTIZERS[settings.quantizer].of(settings, seed)
    layer.build((None, None, None, settings.embedding_dim))
    return layer


def latents_of(layer, *shape, seed=1):
    normal = np.random.default_rng(seed).normal(size=(*shape, layer.embedding_dim))
    return np.asarray(on_sphere(normal.astype(np.float32)))


def test_the_table_is_the_settings_choice():
    assert list(QUANTIZERS) == list(QUANTIZER_TRAITS)


@each_plan
def test_shapes_types_and_codes(plan):
    layer = quantizer_of(plan)
    out = layer(latents_of(layer, 2, 5, 3))
    assert layer.codebook.shape == (24, layer.embedding_dim)
    assert out.ids.shape == out.distances.shape == (2, 5, 3)
    assert out.ids.dtype == tf.int32
    assert 0 <= np.min(out.ids) <= np.max(out.ids) < 24
    np.testing.assert_allclose(out.quantized, layer.embed(out.ids), atol=1e-5)
    assert np.min(out.distances) >= 0
    assert all(value.shape == () for value in out[3:])
    assert 1 <= float(out.perplexity) <= 24
    assert float(out.usage) == pytest.approx(len(np.unique(out.ids)) / 24)


@each_plan
def test_the_codes_are_sums_of_one_of_each_stage(plan):
    layer = quantizer_of(plan)
    stages = [np.asarray(stage) for stage in layer.stages]
    assert tuple(map(len, stages)) == settings_of(plan).stages
    for code, vectors in zip(layer.codebook.numpy(), product(*stages), strict=True):
        np.testing.assert_allclose(code, np.sum(vectors, axis=0), atol=1e-6)


@each_plan
@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_reaches_every_latent(plan, training):
    layer = quantizer_of(plan)
    latents = tf.constant(latents_of(layer, 1, 4, 2))
    with tf.GradientTape() as tape:
        tape.watch(latents)
        out = layer(latents, training=training)
        loss = tf.reduce_sum(out.quantized**2) + out.commitment
    slope = tape.gradient(loss, latents).numpy()
    assert np.isfinite(slope).all()
    assert (np.abs(slope).sum(axis=-1) > 0).all()


@each_plan
def test_only_a_codebook_that_learns_by_gradient_has_one(plan):
    layer = quantizer_of(plan)
    latents = latents_of(layer, 1, 4, 2)
    with tf.GradientTape() as tape:
        out = layer(latents, training=True)
        loss = out.codebook + out.commitment + tf.reduce_sum(out.quantized)
    found = tape.gradient(loss, layer.trainable_variables)
    assert bool(layer.trainable_variables) == layer.learns_by_gradient
    assert all(slope is not None for slope in found)


@each_plan
def test_without_training_nothing_changes(plan):
    layer = quantizer_of(plan)
    before = [variable.numpy() for variable in layer.variables]
    first, second = (layer(latents_of(layer, 2, 5, 3)) for _ in range(2))
    for old, new in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(first.ids, second.ids)


@each_plan
def test_tokens_of_weight_zero_count_nothing_and_teach_nothing(plan):
    layer, twin = quantizer_of(plan), quantizer_of(plan)
    latents, weights = latents_of(layer, 2, 6, 3), np.ones((2, 6, 3), np.float32)
    weights[:, 4:] = 0
    other = latents.copy()
    other[:, 4:] = latents_of(layer, 2, 2, 3, seed=9) * 50
    for training in (False, True):
        first = layer(latents, weights=weights, training=training)
        second = twin(other, weights=weights, training=training)
        for name in ("commitment", "codebook", "perplexity", "usage"):
            assert float(getattr(first, name)) == pytest.approx(float(getattr(second, name)))
    for one, two in zip(layer.variables, twin.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-6, atol=1e-6)


@each_plan
def test_loading_what_was_stored_gives_the_same_ids(plan):
    layer, twin = quantizer_of(plan, seed=0), quantizer_of(plan, seed=5)
    latents = latents_of(layer, 2, 5, 3)
    layer.begin(latents.reshape(-1, layer.embedding_dim), 30)
    twin.load([np.asarray(stage) for stage in layer.stages])
    for name, weight in layer.boundaries.items():
        twin.boundaries[name].assign(weight)
    np.testing.assert_array_equal(layer(latents).ids, twin(latents).ids)


@each_plan
def test_a_start_from_latents_lowers_the_distance(plan):
    layer = quantizer_of(plan)
    latents = latents_of(layer, 30, 5, 3)
    before = float(np.mean(layer(latents).distances))
    layer.begin(latents.reshape(-1, layer.embedding_dim), 30)
    after = float(np.mean(layer(latents).distances))
    assert (after < 0.9 * before) is layer.starts_from_latents
    assert (after == before) is not layer.starts_from_latents


@each_plan
def test_config_round_trip(plan):
    layer = quantizer_of(plan, seed=3)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(twin) is type(layer)
    assert twin.get_config() == layer.get_config()


@pytest.mark.parametrize("plan", [plan for plan in PLANS if "fsq" not in plan.values()])
def test_ids_are_chosen_greedily_stage_by_stage(plan):
    layer = quantizer_of(plan)
    latents = latents_of(layer, 3, 4, 2)
    stages = [np.asarray(stage) for stage in layer.stages]
    for vector, found, distance in zip(
        latents.reshape(-1, layer.embedding_dim),
        layer(latents).ids.numpy().ravel(),
        layer(latents).distances.numpy().ravel(),
        strict=True,
    ):
        expected = 0
        for stage in stages:
            index, left = nearest_code(vector, stage)
            expected, vector = expected * len(stage) + index, vector - stage[index]
        assert found == expected
        assert distance == pytest.approx(left, abs=1e-4)


@pytest.mark.parametrize("levels", [(2,), (3,), (8, 8, 8), (5, 2)])
def test_fsq_rounds_each_dimension(levels):
    layer = FiniteScalarQuantizer(levels=levels)
    layer.build((None, None, None, len(levels)))
    latents = np.random.default_rng(0).normal(0, 2, (1, 50, 2, len(levels))).astype(np.float32)
    found = layer(latents)
    for vector, index in zip(
        latents.reshape(-1, len(levels)), found.ids.numpy().ravel(), strict=True
    ):
        expected = 0
        for value, count in zip(vector.astype(float), levels, strict=True):
            place = (np.tanh(value) * count / (count - 1) + 1) / 2 * (count - 1)
            expected = expected * count + min(max(round(place), 0), count - 1)
        assert index == expected


def test_fsq_uses_every_code_alike_for_even_latents():
    layer = FiniteScalarQuantizer(levels=(8, 8, 8))
    layer.build((None, None, None, 3))
    even = np.random.default_rng(0).uniform(-1, 1, (1, 40_000, 1, 3))
    counts = np.bincount(layer(np.arctanh(even).astype(np.float32)).ids.numpy().ravel())
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.6 * counts.mean()


def test_fsq_refuses_a_codebook_that_is_no_grid():
    layer = quantizer_of({"quantizer": "fsq", "embedding_dim": 2, "fsq_levels": (6, 4)})
    with pytest.raises(ValueError, match="not the grid"):
        layer.load([np.zeros((24, 2), np.float32)])


def test_kmeans_lets_latents_pass_in_training():
    layer = quantizer_of({"quantizer": "kmeans"})
    latents = latents_of(layer, 1, 4, 2)
    np.testing.assert_array_equal(layer(latents, training=True).quantized, latents)
    assert float(layer(latents, training=True).commitment) == 0


@pytest.mark.parametrize(
    "plan", [plan for plan in PLANS if plan["quantizer"] in ("ema", "residual")]
)
def test_dead_codes_are_revived_unless_it_is_forbidden(plan):
    """Latents of one corner, far from most codes."""
    used = []
    for allowed in (False, True):
        layer = quantizer_of(plan)
        layer.allow_revival(allowed)
        latents = np.asarray(on_sphere(3 + 0.3 * latents_of(layer, 40, 5, 3)))
        step = tf.function(partial(layer, training=True), autograph=False)
        for _ in range(60):
            step(latents)
        used.append(float(layer(latents).usage))
    assert used[0] < used[1]


@pytest.mark.parametrize("seed", range(5))
def test_rotation_is_the_papers_matrix(seed):
    rng = np.random.default_rng(seed)
    latent, code = rng.normal(size=(2, 6)).astype(np.float32)
    slope = rng.normal(size=6).astype(np.float32)
    with tf.GradientTape() as tape:
        vector = tf.constant(latent)
        tape.watch(vector)
        out = GRADIENTS["rotation"](vector, tf.constant(code))
        loss = tf.reduce_sum(out * slope)
    matrix = rotated(latent.astype(float), code.astype(float))
    np.testing.assert_allclose(out, code, atol=1e-4)
    np.testing.assert_allclose(matrix @ latent, code, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, vector), matrix.T @ slope, atol=1e-4)


def test_rotation_of_a_vector_of_zeros_is_finite():
    with tf.GradientTape() as tape:
        vector = tf.zeros(4)
        tape.watch(vector)
        loss = tf.reduce_sum(GRADIENTS["rotation"](vector, tf.ones(4)))
    assert np.isfinite(tape.gradient(loss, vector)).all()


def test_vectors_on_the_sphere():
    vectors = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(on_sphere(vectors), axis=1), 3, rtol=1e-5)
    np.testing.assert_array_equal(on_sphere(np.zeros((1, 4), np.float32)), np.zeros((1, 4)))
