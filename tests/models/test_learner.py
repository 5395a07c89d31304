import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives import small
from ulmo.config import ModelSettings, ObjectiveTraits, loss_names
from ulmo.models import OBJECTIVES, QUANTIZERS, build_vqvae, weights_of
from ulmo.models.learner import FOLLOWED, Learner
from ulmo.models.objectives.base import Objective, TaskResult

SETTINGS = ModelSettings(
    **{"tile_size": 16, "encoder_layers": 2, "decoder_layers": 2, "embedding_dim": 4},
    **{"codebook_size": 8, "width": 8, "frequency_stride": 8, "time_stride": 4},
)
OF_QUANTIZER = {
    "fsq": {"embedding_dim": 3, "fsq_levels": (2, 2, 2)},
    "residual": {"stage_sizes": (4, 2)},
}


class Nothing(Objective):
    """Learns nothing, and is glad."""

    traits = ObjectiveTraits("learns nothing")

    def measure(self, encoded):
        return TaskResult(loss=tf.zeros(()), score=tf.ones(()), chance=tf.zeros(()))


class Taught(Nothing):
    traits = ObjectiveTraits("learns nothing", teaches_codebook=True)


class Sameness(Objective):
    """Is the better done the more alike all latents are."""

    traits = ObjectiveTraits("makes all latents equal")

    def measure(self, encoded):
        one = tf.constant([1.0, -1.0, 1.0, -1.0])
        loss = tf.reduce_mean(tf.square(encoded.latents - one))
        return TaskResult(loss=loss, score=-loss, chance=tf.zeros(()))


class Counting(Nothing):
    """Remembers how far training was after each step."""

    def begin(self, model):
        self.seen = self.add_weight(name="seen", shape=(), initializer="zeros", trainable=False)

    def after_step(self, model, progress):
        self.seen.assign_add(progress)


def batch_of(count=8, seed=0):
    rng = np.random.default_rng(seed)
    tiles = rng.normal(size=(count, 16, 16, 1))
    return small.batch_of(tiles, SETTINGS, valid=rng.integers(1, 17, count))


def learner_of(settings=SETTINGS, **objectives):
    model = build_vqvae(settings, seed=3)
    made = {name: (kind(settings, 0), weight) for name, (kind, weight) in objectives.items()}
    learner = Learner(model, made)
    learner.compile(optimizer=keras.optimizers.Adam(1e-2))
    learner.optimizer.build(learner.trainable_variables)
    return learner


def test_reconstruct_alone_is_the_vqvaes_own_training():
    learner = learner_of(reconstruct=(OBJECTIVES["reconstruct"], 1.0))
    model = build_vqvae(SETTINGS, seed=3)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    for step in range(3):
        batch = batch_of(seed=step)
        told = learner.train_step(batch)
        expected = model.train_step((batch.tiles, batch.valid_frames, batch.token_weights))
        for name, value in expected.items():
            assert float(told[name]) == pytest.approx(float(value), rel=1e-6), name
    for name, weights in weights_of(model).items():
        np.testing.assert_array_equal(weights_of(learner.vqvae)[name], weights)


def test_a_step_tells_what_the_logs_name():
    learner = learner_of(
        reconstruct=(OBJECTIVES["reconstruct"], 1.0), denoise=(OBJECTIVES["denoise"], 0.5)
    )
    told = learner.train_step(batch_of())
    assert tuple(told) == learner.names == loss_names(["reconstruct", "denoise"])
    losses = [float(told[f"{name}_loss"]) for name in ("reconstruct", "denoise")]
    assert float(told["total"]) == pytest.approx(losses[0] + 0.5 * losses[1], rel=1e-6)
    assert float(told["reconstruct_score"]) > float(told["reconstruct_chance"]) - 1


def test_what_follows_learns_and_never_reaches_the_encoder():
    learner = learner_of(nothing=(Nothing, 1.0))
    before = weights_of(learner.vqvae)
    step = tf.function(learner.train_step, autograph=False)
    told = [step(batch_of(seed=seed)) for seed in range(40)]
    after = weights_of(learner.vqvae)
    for name, weights in before.items():
        assert np.array_equal(weights, after[name]) is name.startswith("encoder."), name
    assert float(told[-1]["reconstruction"]) < float(told[0]["reconstruction"])
    assert float(told[0]["total"]) == 0


def test_a_codebook_that_its_objective_teaches_does_not_follow():
    learner = learner_of(nothing=(Taught, 1.0))
    before = weights_of(learner.vqvae)
    learner.train_step(batch_of())
    after = weights_of(learner.vqvae)
    np.testing.assert_array_equal(before["codebook"], after["codebook"])
    assert not np.array_equal(before["decoder.layer_0.kernel"], after["decoder.layer_0.kernel"])


def test_followed_is_one_tile_in_some():
    learner, batch = learner_of(nothing=(Nothing, 1.0)), batch_of()
    few = -(-len(batch.tiles) // FOLLOWED)
    told, _ = learner.test_step(batch)
    model = learner.vqvae
    alone = model.autoencode(
        batch.tiles[:few],
        model.encode(batch.tiles[:few], batch.valid_frames[:few]),
        batch.valid_frames[:few],
        batch.token_weights[:few],
        training=False,
    )
    assert float(told["reconstruction"]) == pytest.approx(float(alone["reconstruction"]), rel=1e-6)


def test_measuring_changes_nothing():
    learner = learner_of(reconstruct=(OBJECTIVES["reconstruct"], 1.0), counting=(Counting, 1.0))
    before = [np.asarray(variable) for variable in learner.variables]
    first, tallies = learner.test_step(batch_of(), 5)
    again, _ = learner.test_step(batch_of(), 5)
    assert {name: float(value) for name, value in first.items()} == {
        name: float(value) for name, value in again.items()
    }
    assert tallies == {}
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_objectives_hear_how_far_training_is():
    learner = learner_of(counting=(Counting, 1.0))
    for progress in (0.25, 0.5):
        learner.progress.assign(progress)
        learner.train_step(batch_of())
    assert float(learner.tasks["counting"].seen) == 0.75


def test_fitting_moves_codebook_and_decoder_alone():
    learner = learner_of(infill=(OBJECTIVES["infill"], 1.0))
    learner.train_step(batch_of())
    before = weights_of(learner.vqvae)
    heads = [np.asarray(weight) for weight in learner.tasks["infill"].weights]
    told = learner.fit_step(batch_of(seed=1))
    assert tuple(told) == learner.names
    after = weights_of(learner.vqvae)
    for name, weights in before.items():
        assert np.array_equal(weights, after[name]) is name.startswith("encoder."), name
    for weight, value in zip(learner.tasks["infill"].weights, heads, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_quantizer_follows(quantizer):
    settings = SETTINGS.model_copy(
        update={"quantizer": quantizer, **OF_QUANTIZER.get(quantizer, {})}
    )
    learner = learner_of(settings, nothing=(Nothing, 1.0))
    before = weights_of(learner.vqvae)
    told = [learner.train_step(batch_of()), learner.fit_step(batch_of())]
    assert np.isfinite([float(value) for losses in told for value in losses.values()]).all()
    after = weights_of(learner.vqvae)
    np.testing.assert_array_equal(before["encoder.conv_0.kernel"], after["encoder.conv_0.kernel"])
    if learner.vqvae.quantizer.learns_by_gradient:
        assert not np.array_equal(before["codebook"], after["codebook"])


def test_a_collapse_is_noticed_where_it_happens():
    learner = learner_of(sameness=(Sameness, 1.0))
    spreads = []
    step = tf.function(learner.train_step, autograph=False)
    for seed in range(60):
        told = step(batch_of(seed=seed))
        spreads.append((float(told["latent_variance"]), float(told["pair_similarity"])))
    assert (spreads[0][0] > 0.05, spreads[0][1] < 0.95) == (True, True)
    assert (spreads[-1][0] < 0.05, spreads[-1][1] > 0.95) == (True, True)


def test_a_codebook_learns_once_a_step():
    learner = learner_of(
        reconstruct=(OBJECTIVES["reconstruct"], 1.0), denoise=(OBJECTIVES["denoise"], 1.0)
    )
    learner.train_step(batch_of())
    assert int(learner.vqvae.quantizer.step) == 1
