import math

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
from ulmo.models.objectives.simclr import among_others, nt_xent


def slow(first, second, negative, temperature):
    """One vector at a time."""
    losses = []
    for mine, theirs in ((first, second), (second, first)):
        for i in range(len(mine)):
            right = math.exp(cosine(mine[i], theirs[i]) / temperature)
            wrong = 0.0
            for j in range(len(mine)):
                if negative[i, j]:
                    wrong += math.exp(cosine(mine[i], mine[j]) / temperature)
                    wrong += math.exp(cosine(mine[i], theirs[j]) / temperature)
            if wrong:
                losses.append(-math.log(right / (right + wrong)))
    return sum(losses) / len(losses)


@pytest.fixture
def negative():
    """SharedMoments 0 and 1 are near each other; the last is near all."""
    apart = ~np.eye(7, dtype=bool)
    apart[0, 1] = apart[1, 0] = False
    apart[6] = apart[:, 6] = False
    return apart


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_what_a_slow_loop_says(negative, temperature):
    first, second = noise(7, 5, seed=1), noise(7, 5, seed=2)
    told = nt_xent(tf.constant(first), tf.constant(second), tf.constant(negative), temperature)
    assert float(told) == pytest.approx(slow(first, second, negative, temperature), rel=1e-5)


def test_moments_that_are_near_are_no_negatives():
    first, second = noise(3, 5, seed=1), noise(3, 5, seed=2)
    alone = np.array([[False, True, False], [True, False, False], [False, False, False]])

    def loss(first, second):
        return float(nt_xent(tf.constant(first), tf.constant(second), tf.constant(alone), 0.1))

    other = [vectors.copy() for vectors in (first, second)]
    for vectors in other:
        vectors[2] = noise(5, seed=9)
    assert loss(*other) == loss(first, second)
    for vectors in other:
        vectors[1] = noise(5, seed=8)
    assert loss(*other) != loss(first, second)


def test_the_score_is_of_choosing_among_what_is_apart(negative):
    vectors = tf.eye(7)
    found = among_others(vectors, tf.roll(vectors, 1, axis=0), tf.constant(negative))
    assert float(found.score) == 0
    found = among_others(vectors, vectors, tf.constant(negative))
    assert float(found.score) == 1
    assert float(found.chance) == pytest.approx((2 / 5 + 4 / 6) / 6)


def test_moments_of_one_tile_are_negatives_where_they_are_apart():
    tiles = notes(3, 0)
    counts = []
    for apart in (0.0, 4.0, 99.0):
        objective, model = begun("simclr", anchors=99, apart=apart)
        counts.append(1 / float(objective.measure(encoded_of(model, compared(tiles))).chance))
    assert counts[0] == pytest.approx(3 * 16)
    assert counts[2] == pytest.approx(1 + 2 * 16)
    assert counts[2] < counts[1] < counts[0]


def test_notes_are_told_apart_whichever_way_up_they_are_seen():
    _, before, after, _ = learned(
        "simclr", notes, batches=60, rate=1e-2, anchors=48, apart=4.0, background=unchanged
    )
    assert float(before["simclr_score"]) < 0.1
    assert float(after["simclr_score"]) > 0.5
    assert float(after["simclr_loss"]) < 0.5 * float(before["simclr_loss"])
    assert float(after["simclr_chance"]) < 0.03
