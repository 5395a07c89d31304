import math

import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import SMALL, batch_of, begun, encoded_of, learned, noise
from tests.oracles import cosine
from ulmo.models.draws import Draws
from ulmo.models.objectives.wav2vec2 import choose_codes

SPANS = {"frames": 4, "share": 0.4, "width": 32}


def scales(count, seed):
    """Tiles of a tone that climbs by one interval each 4 frames, from anywhere."""
    rng = np.random.default_rng(1000 + seed)
    notes = (rng.integers(0, 32, (count, 1)) + 5 * np.arange(8)) % 32
    tiles = -0.5 + 0.1 * rng.normal(size=(count, 32, 32))
    for tile, frame in np.ndindex(count, 32):
        tiles[tile, notes[tile, frame // 4], frame] += 4
    return tiles[..., None].astype(np.float32)


def test_what_is_hidden_cannot_be_seen_by_the_context_and_the_rest_can():
    objective, _ = begun("wav2vec2", **SPANS)
    latents = noise(2, 16, 2, 8)
    hidden = np.zeros((2, 16), bool)
    hidden[0, 3:6] = hidden[1, 13:] = True
    guess = objective.predict(latents, hidden).numpy()
    changed = np.where(hidden[..., None, None], latents + 9, latents)
    np.testing.assert_array_equal(objective.predict(changed, hidden), guess)
    changed = np.where(hidden[..., None, None], latents, latents + noise(2, 16, 2, 8, seed=2))
    assert (objective.predict(changed, hidden).numpy()[hidden] != guess[hidden]).all()
    none = np.zeros_like(hidden)
    assert (objective.predict(latents, none).numpy()[hidden] != guess[hidden]).all()
    assert any(variable is objective.unseen for variable in objective.trainable_variables)


def slow_choice(guess, codes, ids, hidden, weights):
    """Loss, score and chance, one token at a time."""
    sums, total = np.zeros(3), 0.0
    for tile, column, band in np.ndindex(ids.shape):
        if not hidden[tile, column]:
            continue
        mine = guess[tile, column, band].astype(float)
        right = 10 * cosine(mine, codes[tile, column, band].astype(float))
        wrong = [
            10 * cosine(mine, codes[tile, other, band].astype(float))
            for other in range(ids.shape[1])
            if hidden[tile, other]
            and weights[tile, other, band] > 0
            and ids[tile, other, band] != ids[tile, column, band]
        ]
        if wrong:
            loss = math.log(sum(math.exp(one) for one in [right, *wrong])) - right
            row = loss, float(right > max(wrong)), 1 / (1 + len(wrong))
            sums += weights[tile, column, band] * np.array(row)
            total += weights[tile, column, band]
    return sums / total


@pytest.fixture
def hidden_codes():
    rng = np.random.default_rng(2)
    book = noise(6, 4)
    ids = rng.integers(0, 6, (3, 10, 2)).astype(np.int32)
    weights = rng.choice([0, 0.1, 1], (3, 10, 2)).astype(np.float32)
    hidden = rng.uniform(size=(3, 10)) < 0.6
    guess = book[ids] + noise(3, 10, 2, 4)
    return guess, book[ids], ids, hidden, weights


def test_the_choice_is_what_a_slow_loop_says(hidden_codes):
    np.testing.assert_allclose(choose_codes(*hidden_codes), slow_choice(*hidden_codes), rtol=1e-4)


def test_distractors_are_other_codes_of_hidden_columns_of_the_same_tile_and_band():
    guess = codes = noise(2, 6, 2, 4)
    ids = np.arange(24, dtype=np.int32).reshape(2, 6, 2)
    hidden = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]], bool)
    weights = np.ones((2, 6, 2), np.float32)
    assert float(choose_codes(guess, codes, ids, hidden, weights).chance) == pytest.approx(1 / 4)
    ids[0, 1] = ids[0, 0]
    expected = (1 / 3 + 1 / 3 + 1 / 4 + 1 / 4) / 4
    assert float(choose_codes(guess, codes, ids, hidden, weights).chance) == pytest.approx(expected)
    weights[0, 1] = 0
    assert float(choose_codes(guess, codes, ids, hidden, weights).chance) == pytest.approx(1 / 3)


def test_concentration_is_what_a_slow_loop_says():
    objective, _ = begun("wav2vec2", softness=0.2)
    latents, weights, book = noise(2, 5, 2, 8), np.zeros((2, 5, 2), np.float32), noise(16, 8)
    weights[0, 2, 1], weights[1, 4, 0] = 1, 0.25
    shares = np.zeros(16)
    drawn = np.minimum((20 * Draws(0, 4).uniform((2048,)).numpy()).astype(int), 19)
    for token in drawn:
        latent, weight = latents.reshape(-1, 8)[token].astype(float), weights.reshape(-1)[token]
        soft = np.array([math.exp(-np.sum((latent - code) ** 2) / (8 * 0.2)) for code in book])
        shares += weight * soft / soft.sum()
    shares /= shares.sum()
    expected = 1 + sum(share * math.log(share) for share in shares) / math.log(16)
    found = objective.concentration(latents, weights, book, Draws(0, 4))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_concentration_is_one_for_one_code_and_zero_for_an_even_use_and_its_gradient_spreads():
    objective, _ = begun("wav2vec2")
    book = 4 * np.eye(8, dtype=np.float32)
    even, one = np.tile(book, (64, 1))[:, None, None], np.tile(book[:1], (512, 1))[:, None, None]
    weights = np.ones((512, 1, 1), np.float32)
    assert float(objective.concentration(even, weights, book, Draws(0, 0))) < 0.01
    assert float(objective.concentration(one, weights, book, Draws(0, 0))) > 0.99
    nearly = tf.Variable(one + 1.5 * noise(512, 1, 1, 8))
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = objective.concentration(nearly, weights, book, Draws(0, 0))
        nearly.assign_sub(300 * tape.gradient(loss, nearly))
    after = objective.concentration(nearly, weights, book, Draws(0, 0))
    first = objective.concentration(one + 1.5 * noise(512, 1, 1, 8), weights, book, Draws(0, 0))
    assert float(after) < 0.8 * float(first)


@pytest.mark.parametrize("quantizer", ["ema", "gradient"])
def test_the_loss_is_the_sum_of_its_terms(quantizer):
    settings = SMALL.model_copy(update={"quantizer": quantizer, "commitment_cost": 0.5})
    objective, model = begun("wav2vec2", settings, **SPANS, diversity=0.3)
    batch = batch_of(scales(3, 0), settings, valid=[32, 9, 32])
    outcome = objective.measure(encoded_of(model, batch, 5))
    encoded = encoded_of(model, batch, 5)
    latents, weights = encoded.latents, encoded.weights
    codes = model.quantizer(latents, weights=weights)
    draws = Draws(0, 5)
    hidden = objective.hide(latents, draws)
    guess = objective.predict(latents, hidden).numpy()
    loss, score, chance = slow_choice(
        guess, codes.quantized.numpy(), codes.ids.numpy(), hidden.numpy(), weights.numpy()
    )
    spread = objective.concentration(latents, weights, model.quantizer.codebook, draws)
    loss = loss + 0.3 * float(spread) + 0.5 * float(codes.commitment)
    loss += float(codes.codebook) if quantizer == "gradient" else 0.0
    assert float(outcome.loss) == pytest.approx(loss, rel=1e-4)
    assert float(outcome.score) == pytest.approx(score)
    assert float(outcome.chance) == pytest.approx(chance, rel=1e-5)


def test_the_tokenizers_own_codebook_learns_in_training_alone():
    objective, model = begun("wav2vec2", **SPANS)
    batch = batch_of(scales(4, 0))
    before = model.quantizer.codebook.numpy()
    objective.measure(encoded_of(model, batch))
    np.testing.assert_array_equal(model.quantizer.codebook, before)
    objective.measure(encoded_of(model, batch, training=True))
    assert np.abs(model.quantizer.codebook - before).max() > 0
    assert objective.traits.teaches_codebook
    assert not objective.traits.teaches_decoder


def test_targets_teach_the_encoder_straight_through_and_the_decoder_is_left_alone():
    objective, model = begun("wav2vec2", **SPANS, diversity=0.0)
    model.commitment_cost = 0.0
    objective.to_codes.kernel.assign(tf.zeros_like(objective.to_codes.kernel))
    objective.to_codes.bias.assign(noise(16))  # the guess is a constant
    with tf.GradientTape() as tape:
        loss = objective.measure(encoded_of(model, batch_of(scales(4, 0)), training=True)).loss
    parts = (model.encoder, model.decoder)
    encoder, decoder = tape.gradient(loss, [part.trainable_variables for part in parts])
    assert all(np.abs(gradient).max() > 0 for gradient in encoder)
    assert all(gradient is None for gradient in decoder)


def test_the_hidden_notes_of_a_scale_are_told_and_the_codes_are_in_use():
    _, _, losses, _ = learned("wav2vec2", scales, batches=70, **SPANS)
    assert losses["wav2vec2_score"] > 0.2 + losses["wav2vec2_chance"]
    assert losses["usage"] > 0.7
    assert losses["latent_variance"] > 0.3
