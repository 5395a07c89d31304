"""What is particular to `ema`; the contract of every quantizer is in test_quantizers.py."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from tests.oracles import Averages, ema_step, perplexity
from ulmo.models import VectorQuantizerEMA, kmeans_start

SIZE, DIM = 16, 4


def quantizer_of(revive=True, **options):
    layer = VectorQuantizerEMA(**{"codebook_size": SIZE, "embedding_dim": DIM, **options})
    layer.build((None, None, None, layer.embedding_dim))
    layer.revive.assign(revive)
    return layer


def random_latents(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def state_of(layer):
    return Averages(*(v.numpy() for v in (layer.codebook, layer.ema_count, layer.ema_sum)))


def line(values):
    """A codebook or latents (n, DIM) whose first coordinate tells them apart."""
    return np.pad(np.asarray(values, np.float32)[:, None], ((0, 0), (0, DIM - 1)))


def test_the_lowest_id_wins_a_tie():
    layer = quantizer_of()
    layer.start(line([1, 0, 0, 1] * 4), np.ones(SIZE))
    np.testing.assert_array_equal(layer(line([0, 1, 0])[None, None]).ids, [[[1, 0, 1]]])


def test_gradient_goes_straight_through_and_none_reaches_the_codebook():
    layer = quantizer_of()
    latents, slope = tf.constant(random_latents(2, 3, 3, DIM)), random_latents(2, 3, 3, DIM, seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(latents)
        tape.watch(layer.codebook.value)
        out = layer(latents, training=True)
        reached = tf.reduce_sum(out.quantized * slope)
        everything = reached + out.commitment + out.codebook
    np.testing.assert_array_equal(tape.gradient(reached, latents), slope)
    assert tape.gradient(everything, layer.codebook.value) is None
    assert layer.trainable_variables == []
    old_codes = quantizer_of().embed(out.ids)
    expected = 2 * (latents - old_codes) / tf.size(latents, tf.float32)
    np.testing.assert_allclose(tape.gradient(out.commitment, latents), expected, atol=1e-6)
    assert tape.gradient(out.codebook, latents) is None


def test_a_step_is_the_oracles():
    layer = quantizer_of(revive=False, ema_coeff=0.9)
    expected = state_of(layer)
    for step in (0, 1, 2, 500):
        layer.step.assign(step)
        latents = random_latents(2, 6, 3, DIM, seed=step)
        weights = np.random.default_rng(step).choice([0, 0.25, 1], (2, 6, 3))
        layer(latents, weights=weights, training=True)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = ema_step(expected, latents.reshape(-1, DIM), weights.ravel(), decay, 1e-5)
        for found, right in zip(state_of(layer), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=2e-4, atol=1e-5)


def test_the_losses_see_the_codebook_before_the_step():
    layer, latents = quantizer_of(), random_latents(1, 4, 4, DIM)
    still, trained = layer(latents), layer(latents, training=True)
    for before, after in zip(still, trained, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_batch_of_padding_changes_nothing():
    layer = quantizer_of()
    before = state_of(layer)
    out = layer(random_latents(1, 6, 3, DIM), weights=np.zeros((1, 6, 3)), training=True)
    assert out.commitment == 0
    for found, right in zip(state_of(layer), before, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def dying(dead, **options):
    """A quantizer on a line, codes at 0, 1, 2 ... , whose last `dead` codes are unused."""
    layer = quantizer_of(**options)
    counts = np.ones(SIZE)
    counts[SIZE - dead :] = 1e-3
    layer.start(line(100.0 * np.arange(SIZE)), counts)
    layer.step.assign(1000)
    return layer


def test_dead_codes_become_distinct_vectors_of_the_batch():
    layer = dying(5)
    latents = line(np.arange(200) / 10)[None, None]
    layer(latents, training=True)
    codebook, count, total = state_of(layer)
    revived = codebook[-5:, 0]
    assert len(set(revived)) == 5
    assert set(revived) <= set(latents[0, 0, :, 0])
    np.testing.assert_allclose(total[-5:], codebook[-5:] * count[-5:, None], rtol=1e-6)
    np.testing.assert_array_equal(codebook[:11, 1:], 0)


def test_a_revived_code_is_not_overwritten_from_old_sums():
    """EnCodec's first bug: the next step would put an expired code back where it was."""
    layer = dying(5)
    layer(line(np.arange(200) / 10)[None, None], training=True)
    revived, count = layer.codebook.numpy()[-5:], layer.ema_count.numpy()
    mean = ((count.sum() - 5 * count[-1]) + 5 * 0.99e-3) / SIZE
    np.testing.assert_allclose(count[-5:], mean, rtol=1e-4)
    layer(line([500.0] * 30)[None, None], training=True)
    np.testing.assert_allclose(layer.codebook.numpy()[-5:], revived, rtol=1e-4)


def test_a_started_codebook_does_not_shrink():
    """EnCodec's second bug: sums of centroids over counts of clusters shrink every code."""
    centres = 10 * random_latents(SIZE, DIM)
    offsets = random_latents(20, DIM, seed=1) * 0.01
    offsets -= offsets.mean(axis=0)
    vectors = (centres[:, None] + offsets).reshape(-1, DIM)
    centroids, counts = kmeans_start(vectors, SIZE, tokens_per_batch=len(vectors))
    np.testing.assert_allclose(counts, 20, rtol=1e-6)
    layer = quantizer_of()
    layer.start(centroids, counts)
    layer(vectors[None, None], training=True)
    np.testing.assert_allclose(layer.codebook, centroids, rtol=1e-4, atol=1e-5)


def test_no_more_codes_are_revived_than_there_are_valid_tokens():
    layer = dying(5)
    latents = line([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[None, None]
    weights = np.array([[[0, 1, 0, 0, 1, 0]]])
    layer(latents, weights=weights, training=True)
    codebook = layer.codebook.numpy()[-5:, 0]
    assert set(codebook[:2]) == {2.0, 5.0}
    assert (codebook[2:] > 1000).all()


def test_draws_depend_on_seed_and_step_alone():
    latents = line(np.arange(200) / 10)[None, None]

    def draw(seed, step):
        layer = dying(5, seed=seed)
        layer.step.assign(step)
        layer(latents, training=True)
        assert layer.step.numpy() == step + 1
        return layer.codebook.numpy()[-5:, 0].tolist()

    assert draw(1, 7) == draw(1, 7)
    assert draw(1, 7) != draw(1, 8)
    assert draw(1, 7) != draw(2, 7)


def test_perplexity_and_usage_by_hand():
    layer = quantizer_of()
    layer.start(line(np.arange(SIZE)), np.ones(SIZE))
    even = layer(line([0, 1, 2, 3])[None, None])
    assert float(even.perplexity) == pytest.approx(4, rel=1e-6)
    assert even.usage == 4 / SIZE
    alone = layer(line([5, 5, 5, 5])[None, None])
    assert alone.perplexity == 1
    weighted = layer(line([0, 1, 2, 3])[None, None], weights=np.array([[[1, 0.5, 0.25, 0]]]))
    assert float(weighted.perplexity) == pytest.approx(
        perplexity([0, 1, 2], [1, 0.5, 0.25]), rel=1e-6
    )
    assert weighted.usage == 3 / SIZE


def test_commitment_is_the_weighted_mean_square():
    layer = quantizer_of()
    layer.start(line(np.zeros(SIZE)), np.ones(SIZE))
    out = layer(line([1, 2, 3])[None, None], weights=np.array([[[1, 0.5, 0]]]))
    assert float(out.commitment) == pytest.approx((1 + 0.5 * 4) / 1.5 / DIM)


def test_kmeans_start_is_deterministic_and_scales_its_counts():
    vectors = random_latents(300, DIM)
    first = kmeans_start(vectors, SIZE, 3, tokens_per_batch=50)
    second = kmeans_start(vectors, SIZE, 3, tokens_per_batch=50)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[0].shape == (SIZE, DIM)
    assert first[0].dtype == first[1].dtype == np.float32
    assert first[1].sum() == pytest.approx(50)


@pytest.mark.parametrize("distinct", [1, 5, SIZE])
def test_kmeans_start_with_few_distinct_vectors(distinct):
    vectors = np.repeat(random_latents(distinct, DIM), 7, axis=0)
    centroids, counts = kmeans_start(vectors, SIZE, tokens_per_batch=64)
    assert np.isfinite(centroids).all()
    assert (counts > 0).all()
    assert counts.sum() == pytest.approx(64)
    assert len(np.unique(centroids, axis=0)) == SIZE
    assert {tuple(row) for row in vectors} <= {tuple(row) for row in centroids}


def test_kmeans_start_refuses_nothing_at_all():
    with pytest.raises(ValueError, match="at least 1"):
        kmeans_start(np.zeros((0, DIM), np.float32), SIZE, tokens_per_batch=1)


def test_start_refuses_a_wrong_shape():
    with pytest.raises(ValueError, match="shape"):
        quantizer_of().start(np.zeros((SIZE + 1, DIM)), np.ones(SIZE + 1))


def handicapped(latents, weights, codebook, counts, balance, dead_below):
    """Ids of latents (n, DIM), one after the other, in float64."""
    squares = ((latents[:, None].astype(float) - codebook) ** 2).sum(axis=2)
    mean = (squares.min(axis=1) * weights).sum() / weights.sum()
    shares = np.maximum(counts / counts.mean(), dead_below)
    return (squares + balance * mean * np.log(shares)).argmin(axis=1)


@pytest.mark.parametrize("balance", [0.1, 0.5, 2])
def test_codes_in_much_use_are_handicapped_in_training_alone(balance):
    layer = quantizer_of(balance=balance)
    rng = np.random.default_rng(3)
    counts = rng.gamma(0.5, 20, SIZE).astype(np.float32)
    counts[0] = 0
    codebook = layer.codebook.numpy()
    layer.start(codebook, counts)
    latents, weights = random_latents(2, 20, 3, DIM), rng.choice([0, 0.25, 1], (2, 20, 3))
    expected = handicapped(
        latents.reshape(-1, DIM), weights.ravel(), codebook, counts, balance, layer.dead_below
    )
    plain = quantizer_of()
    plain.start(codebook, counts)
    np.testing.assert_array_equal(layer(latents).ids, plain(latents).ids)
    found = layer(latents, weights=weights, training=True).ids.numpy()
    np.testing.assert_array_equal(found.ravel(), expected)
    assert (found != plain(latents).ids.numpy()).mean() > 0.02


def test_balance_evens_the_use_of_the_nearest_codes():
    """Tokens that lie dense in one place and thin over a wide one."""

    def entropy_after(balance):
        rng = np.random.default_rng(0)

        def batch():
            scale = np.where(rng.random((8, 32, 1, 1)) < 0.3, 3, 0.3)
            return (scale * rng.normal(size=(8, 32, 1, DIM))).astype(np.float32)

        layer = quantizer_of(revive=False, balance=balance)
        layer.begin(np.concatenate([batch().reshape(-1, DIM) for _ in range(8)]), 256)
        step = tf.function(partial(layer, training=True), autograph=False)
        for _ in range(150):
            step(batch())
        counts = np.bincount(
            np.concatenate([layer(batch()).ids.numpy().ravel() for _ in range(8)]), minlength=SIZE
        )
        shares = counts[counts > 0] / counts.sum()
        return -(shares * np.log(shares)).sum() / np.log(SIZE)

    assert entropy_after(0.5) > entropy_after(0) + 0.1


def test_balance_with_padding_alone_stays_finite():
    layer = quantizer_of(balance=0.5)
    layer(random_latents(1, 4, 4, DIM), weights=np.zeros((1, 4, 4)), training=True)
    assert np.isfinite(layer.codebook.numpy()).all()
