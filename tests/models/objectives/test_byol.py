import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import (
    begun,
    compared,
    encoded_of,
    learned,
    noise,
    notes,
    unchanged,
)
from tests.oracles import cosine
from ulmo.models.objectives.byol import regression


def weights_of(parts):
    return [np.asarray(variable) for part in parts for variable in part.variables]


def test_regression_is_what_a_slow_loop_says():
    one, two = noise(6, 4, seed=1), noise(6, 4, seed=2)
    cosines = [cosine(a, b) for a, b in zip(one, two, strict=True)]
    told = regression(tf.constant(one), tf.constant(two))
    assert float(told) == pytest.approx(sum(1 - cosine for cosine in cosines) / 6, rel=1e-5)
    assert float(regression(tf.zeros((0, 4)), tf.zeros((0, 4)))) == 0


def test_the_target_begins_as_what_is_trained():
    objective, model = begun("byol")
    online = weights_of((model.encoder, objective.projector))
    target = weights_of((objective.target_encoder, objective.target_projector))
    assert len(online) == len(target) > 0
    for one, other in zip(online, target, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_gradient_reaches_the_target():
    objective, model = begun("byol")
    target = [*objective.target_encoder.variables, *objective.target_projector.variables]
    with tf.GradientTape() as tape:
        tape.watch([variable.value for variable in target])
        outcome = objective.measure(encoded_of(model, compared(notes(4, 0)), training=True))
    assert tape.gradient(outcome.loss, [variable.value for variable in target]) == [None] * len(
        target
    )
    mine = {id(variable) for variable in objective.trainable_variables}
    assert not mine & {id(variable) for variable in target}


@pytest.mark.parametrize(("progress", "tau"), [(0, 0.9), (0.5, 0.95), (1, 1.0)])
def test_after_a_step_the_target_moves_by_the_schedule(progress, tau):
    objective, model = begun("byol", momentum=0.9)
    for variable in (*model.encoder.variables, *objective.projector.variables):
        variable.assign(variable + 1)
    online = weights_of((model.encoder, objective.projector))
    before = weights_of((objective.target_encoder, objective.target_projector))
    objective.after_step(model, tf.constant(float(progress)))
    after = weights_of((objective.target_encoder, objective.target_projector))
    for new, old, aim in zip(after, before, online, strict=True):
        np.testing.assert_allclose(new, tau * old + (1 - tau) * aim, atol=1e-6)
    for kept, aim in zip(weights_of((model.encoder, objective.projector)), online, strict=True):
        np.testing.assert_array_equal(kept, aim)


def test_both_views_predict_each_other():
    objective, model = begun("byol", background=unchanged)
    batch = compared(notes(4, 0))
    swapped = batch._replace(tiles=batch.other.tiles, other=batch.other._replace(tiles=batch.tiles))
    losses = [float(objective.measure(encoded_of(model, one)).loss) for one in (batch, swapped)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    alike = batch._replace(other=batch.other._replace(tiles=batch.tiles))
    assert float(objective.measure(encoded_of(model, alike)).loss) != pytest.approx(losses[0])


def test_notes_are_told_apart_without_negatives_and_nothing_collapses():
    learner, before, after, _ = learned(
        "byol", notes, batches=80, anchors=48, apart=4.0, momentum=0.9, background=unchanged
    )
    assert float(before["byol_score"]) < 0.1
    assert float(after["byol_score"]) > 0.3
    assert float(after["byol_loss"]) < 0.5 * float(before["byol_loss"])
    assert float(after["latent_variance"]) > 0.3
    target = weights_of((learner.tasks["byol"].target_encoder,))
    for one, other in zip(target, weights_of((learner.vqvae.encoder,)), strict=True):
        assert not np.array_equal(one, other)
