import math

import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import noise
from tests.oracles import cosine
from ulmo.models.objectives.info_nce import choose


def slow(queries, candidates, allowed, weights, temperature):
    """Loss, score and chance of (groups, n, D), one query at a time."""
    sums, total = np.zeros(3), 0.0
    for group, i in np.ndindex(weights.shape):
        query = np.float64(queries[group, i])
        right = cosine(query, np.float64(candidates[group, i])) / temperature
        wrong = [
            cosine(query, np.float64(candidates[group, j])) / temperature
            for j in range(weights.shape[1])
            if j != i and allowed[group, i, j]
        ]
        if not wrong:
            continue
        loss = -right + math.log(sum(math.exp(logit) for logit in [right, *wrong]))
        row = loss, float(right > max(wrong)), 1 / (1 + len(wrong))
        sums += weights[group, i] * np.array(row)
        total += weights[group, i]
    return sums / total


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    queries = noise(2, 7, 4)
    candidates = queries + 2 * noise(2, 7, 4, seed=1)
    allowed = rng.uniform(size=(2, 7, 7)) < 0.4
    allowed[0, 2] = False
    weights = rng.uniform(size=(2, 7)).astype(np.float32)
    return queries, candidates, allowed, weights


def test_is_what_a_slow_loop_says(case):
    np.testing.assert_allclose(choose(*case, 0.3), slow(*case, 0.3), rtol=1e-4)


def test_the_right_one_is_a_candidate_whether_it_is_allowed_or_not(case):
    queries, candidates, allowed, weights = case
    own = np.eye(7, dtype=bool)
    with_own, without = (
        choose(queries, candidates, other, weights) for other in (allowed | own, allowed & ~own)
    )
    np.testing.assert_array_equal(with_own, without)


def test_what_is_not_allowed_changes_nothing(case):
    queries, candidates, allowed, weights = case
    allowed[:, :, 3], weights[:, 3] = False, 0
    other = candidates.copy()
    other[:, 3] *= -9
    np.testing.assert_array_equal(
        choose(queries, candidates, allowed, weights), choose(queries, other, allowed, weights)
    )


@pytest.mark.parametrize("nothing", ["allowed", "weights"])
def test_without_a_choice_all_is_zero_and_so_is_the_gradient(case, nothing):
    queries, candidates, allowed, weights = case
    if nothing == "allowed":
        allowed[:] = False
    else:
        weights[:] = 0
    queries = tf.constant(queries)
    with tf.GradientTape() as tape:
        tape.watch(queries)
        choice = choose(queries, candidates, allowed, weights)
    assert [float(value) for value in choice] == [0, 0, 0]
    np.testing.assert_array_equal(tape.gradient(choice.loss, queries), np.zeros((2, 7, 4)))


def test_one_who_cannot_tell_them_apart_is_never_right():
    same = np.ones((1, 5, 3), np.float32)
    choice = choose(same, same, np.ones((1, 5, 5), bool), np.ones((1, 5), np.float32))
    assert float(choice.score) == 0
    assert float(choice.chance) == pytest.approx(1 / 5)
    assert float(choice.loss) == pytest.approx(math.log(5))


def test_vectors_of_zeros_give_numbers():
    zeros = tf.zeros((1, 3, 2))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        choice = choose(zeros, zeros, np.ones((1, 3, 3), bool), np.ones((1, 3), np.float32))
    assert np.isfinite(choice).all()
    assert np.isfinite(tape.gradient(choice.loss, zeros)).all()
