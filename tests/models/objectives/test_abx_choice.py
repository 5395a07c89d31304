import math

import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import begun, compared, encoded_of, learned, noise, notes
from tests.oracles import cosine
from ulmo.config import MOST_BESIDE, ModelSettings
from ulmo.models.objectives.abx_choice import choose_a, tallied


def triples(batch, step=0, **options):
    objective, model = begun("abx_choice", **options)
    latents = model.encode(batch.pair[0].tiles, batch.pair[0].valid_frames)
    found = objective.triples(encoded_of(model, batch, step), latents)
    return objective, [np.asarray(part) for part in found]


def test_b_is_near_in_time_another_column_and_no_padding():
    batch = compared(notes(4, 0), valid=[32, 21, 6, 0])
    columns = (16, 11, 3, 0)
    objective, (tile, column, others, there) = triples(batch, nearest=3, farthest=9, others=6)
    assert (objective.least, objective.most) == (2, 4)
    assert sorted(zip(tile.tolist(), column.tolist(), strict=True)) == [
        *((0, c) for c in range(16)),
        *((1, c) for c in range(11)),
        (2, 0),
        (2, 2),
    ]
    for x, c, row, real in zip(tile, column, others, there, strict=True):
        near = {b for b in range(columns[x]) if 2 <= abs(b - c) <= 4}
        chosen = row[real].tolist()
        assert len(chosen) == len(set(chosen)) == min(6, len(near))
        assert set(chosen) <= near


def test_b_is_anywhere_near_and_drawn_anew_at_each_step():
    batch = compared(notes(4, 0))
    _, (_, column, others, _) = triples(batch, others=1)
    away = np.abs(others[:, 0] - column)
    assert away.min() == 4
    assert away.max() >= 12
    assert not np.array_equal(others, triples(batch, 1, others=1)[1][2])


def test_b_is_never_of_the_columns_own_frames_however_long_they_are():
    for stride, bounds in ((2, (1, 1)), (16, (1, 1)), (1, (1, 2))):
        settings = ModelSettings(tile_size=32, width=8, frequency_stride=16, time_stride=stride)
        objective, _ = begun("abx_choice", settings, nearest=0, farthest=2)
        assert (objective.least, objective.most) == bounds


def test_silence_is_rare_as_x_and_as_b():
    weights = np.ones((4, 16, 2))
    weights[:, ::2] = 0.01
    batch = compared(notes(4, 0), weights=weights)
    objective, model = begun("abx_choice", anchors=8, others=1)
    latents = model.encode(batch.pair[0].tiles)
    found = [objective.triples(encoded_of(model, batch, step), latents) for step in range(12)]
    for part in (1, 2):
        assert np.mean(np.concatenate([np.ravel(one[part]) for one in found]) % 2 == 0) < 0.06


def test_loss_is_what_a_slow_loop_says():
    x, a, b = noise(5, 4, seed=1), noise(5, 4, seed=2), noise(5, 3, 4, seed=3)
    there = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]], bool)
    told = choose_a(*map(tf.constant, (x, a, b)), tf.constant(there), 0.2)
    total = 0.0
    for i in range(5):
        right = cosine(x[i], a[i])
        logits = [cosine(x[i], b[i, k]) / 0.2 for k in range(3) if there[i, k]]
        total += math.log(sum(math.exp(one - right / 0.2) for one in [*logits, right / 0.2]))
        for k in range(3):
            lead = float(told.lead[i, k])
            assert lead == pytest.approx(right - cosine(x[i], b[i, k]), abs=1e-5)
    assert float(told.loss) == pytest.approx(total / 5, rel=1e-5)
    one_b = choose_a(
        tf.constant(x), tf.constant(a), tf.constant(b[:, :1]), tf.ones((5, 1), "bool"), 0.2
    )
    logistic = [math.log1p(math.exp(-float(lead) / 0.2)) for lead in one_b.lead[:, 0]]
    assert float(one_b.loss) == pytest.approx(sum(logistic) / 5, rel=1e-5)


@pytest.mark.parametrize("last", [5, 6, 16])
def test_choices_are_counted_by_front_ends_and_a_tie_is_half_of_one(last):
    """16: the last of as many folders as --beside takes."""
    first, second = tf.constant([0, last, 0, 2]), tf.constant([1, 3, 1, 0])
    lead = tf.constant([[0.5, -0.1], [0.0, 0.2], [0.3, 0.3], [-1.0, -1.0]])
    there = tf.constant([[True, True], [True, True], [True, False], [False, False]])
    tally = np.asarray(tallied(first, second, lead, there))
    expected = np.zeros((1 + MOST_BESIDE, 1 + MOST_BESIDE, 2))
    expected[0, 1] = 2, 3
    expected[last, 3] = 1.5, 2
    np.testing.assert_array_equal(tally, expected)
    objective, _ = begun("abx_choice")
    assert objective.report(tally) == {"0_1": pytest.approx(2 / 3), f"{last}_3": 0.75}


def test_an_encoder_that_hears_nothing_has_half_of_it_right():
    objective, model = begun("abx_choice")
    for variable in model.encoder.variables:
        variable.assign(tf.zeros_like(variable))
    outcome = objective.measure(encoded_of(model, compared(notes(4, 0))))
    assert float(outcome.score) == float(outcome.chance) == 0.5


def test_the_same_moment_is_chosen_through_another_front_end():
    learner, before, after, tallies = learned(
        "abx_choice", notes, batches=60, anchors=64, nearest=4, farthest=30
    )
    assert float(before["abx_choice_score"]) < 0.7
    assert float(after["abx_choice_score"]) > 0.9
    report = learner.tasks["abx_choice"].report(np.asarray(tallies["abx_choice"]))
    assert report == {"1_4": pytest.approx(float(after["abx_choice_score"]), abs=1e-6)}
