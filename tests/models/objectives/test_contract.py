"""What holds for every objective: finite losses and gradients, whatever a batch holds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import (
    GRIDS,
    SMALL,
    begun,
    compared,
    encoded_of,
    noise,
    notes,
    unchanged,
)
from ulmo.config import OBJECTIVE_TRAITS, UserError
from ulmo.models import OBJECTIVES, build_vqvae
from ulmo.models.learner import Learner

TWO_SIDED = [name for name, one in OBJECTIVE_TRAITS.items() if one.wants != "tiles"]
each_objective = pytest.mark.parametrize("name", OBJECTIVES)


def gradients_of(objective, model, batch):
    """The outcome, and gradients by the encoder's, the objective's and the decoder's variables."""
    with tf.GradientTape() as tape:
        outcome = objective.measure(encoded_of(model, batch, training=True))
    parts = (model.encoder, objective, model.decoder)
    return outcome, tape.gradient(outcome.loss, [part.trainable_variables for part in parts])


@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
@each_objective
def test_any_grid_and_any_padding_gives_finite_losses_and_gradients(name, settings):
    try:
        objective, model = begun(name, settings)
    except UserError:
        assert (name, settings) == ("next_frame", GRIDS["two columns"])  # nothing to predict
        return
    size = settings.tile_size
    for valid in ([0], [1], [size, 3, 0]):
        tiles = noise(len(valid), size, size, 1)
        weights = np.random.default_rng(1).choice(
            [0.1, 1], (len(valid), settings.columns, settings.bands)
        )
        batch = compared(tiles, settings, valid=valid, weights=weights)
        outcome, gradients = gradients_of(objective, model, batch)
        told = [outcome.loss, outcome.score, outcome.chance]
        told += [one for part in gradients for one in part if one is not None]
        if outcome.tally is not None:
            told += [outcome.tally, *objective.report(outcome.tally.numpy()).values()]
        assert all(np.isfinite(tf.convert_to_tensor(value)).all() for value in told), valid
        assert name not in TWO_SIDED or 0 <= float(outcome.score) <= 1
        if name != "wav2vec2":  # whose codes are spread whatever there is to hear
            assert sum(valid) or float(outcome.loss) == 0


@each_objective
def test_every_weight_learns(name):
    objective, model = begun(name)
    _, (encoder, heads, decoder) = gradients_of(objective, model, compared(notes(4, 0)))
    assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in (*encoder, *heads))
    assert all((gradient is not None) is objective.traits.teaches_decoder for gradient in decoder)


@each_objective
def test_what_lies_in_the_padding_changes_nothing(name):
    options = {"background": unchanged} if name in ("simclr", "byol") else {}
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
    batch = compared(notes(2, 0))._replace(other=None, pair=None)
    with pytest.raises(ValueError, match="the objective wants"):
        objective.measure(encoded_of(model, batch))


@each_objective
def test_a_step_in_mixed_precision_is_finite_and_near_that_in_float32(name):
    batch = compared(noise(3, 32, 32, 1), valid=[32, 0, 7])

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


@each_objective
def test_what_is_drawn_is_ruled_by_seed_and_step(name):
    model = build_vqvae(SMALL, seed=1)
    batch = compared(notes(64, 0))  # so many that `next_frame` draws columns

    def loss(seed, step):
        objective = OBJECTIVES[name](SMALL, seed)
        objective.begin(model)
        return float(objective.measure(encoded_of(model, batch, step)).loss)

    first, again, later = loss(2, 3), loss(2, 3), loss(2, 4)
    assert first == pytest.approx(again, rel=1e-6)
    assert (first == pytest.approx(later, rel=1e-6)) is not OBJECTIVES[name].draws
