"""What holds for every objective that compares two views, or two front ends."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.pairs import compared, notes, unchanged
from tests.models.objectives.small import GRIDS, SMALL, batch_of, begun, encoded_of, noise
from ulmo.models.objectives.base import EncodedBatch

TWO_SIDED = ("simclr", "byol", "abx_choice")


def gradients_of(objective, model, batch):
    """The outcome, and gradients by the encoder's and the objective's own variables."""
    with tf.GradientTape() as tape:
        outcome = objective.measure(EncodedBatch(model, batch, tf.constant(0), True))
    variables = model.encoder.trainable_variables + objective.trainable_variables
    return outcome, tape.gradient(outcome.loss, variables)


@pytest.mark.parametrize("name", TWO_SIDED)
@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
def test_every_grid_and_hardly_any_sound_give_finite_gradients(name, settings):
    objective, model = begun(name, settings)
    for valid in ([0], [1], [16, 3]):
        tiles = noise(len(valid), settings.tile_size, settings.tile_size, 1)
        outcome, gradients = gradients_of(objective, model, compared(tiles, settings, valid=valid))
        told = [outcome.loss, outcome.score, outcome.chance]
        told += [gradient for gradient in gradients if gradient is not None]
        assert all(np.isfinite(np.asarray(value)).all() for value in told)
        assert 0 <= float(outcome.score) <= 1
        assert sum(valid) or float(outcome.loss) == 0


@pytest.mark.parametrize("name", TWO_SIDED)
def test_every_weight_learns_and_the_step_rules_what_is_drawn(name):
    objective, model = begun(name, anchors=20)
    batch = compared(notes(4, 0))
    _, gradients = gradients_of(objective, model, batch)
    assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in gradients)
    losses = [float(objective.measure(encoded_of(model, batch, step)).loss) for step in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", TWO_SIDED)
def test_what_lies_in_the_padding_changes_nothing(name):
    options = {} if name == "abx_choice" else {"background": unchanged}
    objective, model = begun(name, **options)
    tiles, valid = notes(4, 0), [32, 20, 7, 0]
    louder = tiles.copy()
    for tile, frames in zip(louder, valid, strict=True):
        tile[:, frames:] = 50
    losses = [
        float(objective.measure(encoded_of(model, compared(seen, valid=valid))).loss)
        for seen in (tiles, louder)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", TWO_SIDED)
def test_a_batch_without_the_other_side_is_refused(name):
    objective, model = begun(name)
    with pytest.raises(ValueError, match="the objective wants"):
        objective.measure(encoded_of(model, batch_of(notes(2, 0), SMALL)))
