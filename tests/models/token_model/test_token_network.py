"""The token model in Keras: its scan against a slow loop, and its twin in NumPy."""

import keras
import numpy as np
import pytest

from tests.token_models import TINY, VOCABULARY, tokens
from ulmo.bundle.token_weights import weight_shapes
from ulmo.config import UserError
from ulmo.config.token_model import CHUNK, SIZES, TokenModelSettings
from ulmo.models.token_model.model import TokenModel
from ulmo.models.token_model.scan import scan
from ulmo.sequence.network import Network, attention_bias


def built(settings=TINY, **options):
    shapes = weight_shapes(settings)
    codes = np.random.default_rng(3).normal(size=shapes["codes"]).astype(np.float32)
    return TokenModel(settings, shapes, codes, attention_bias(settings.heads), **options)


def with_bos(ids):
    return np.concatenate([np.full((1, ids.shape[1]), VOCABULARY.bos), ids]).astype(np.int32)[None]


@pytest.mark.parametrize("columns", [32, 64, 128])
def test_the_scan_is_the_slow_loop(columns):
    rng = np.random.default_rng(0)
    kept = rng.uniform(0, 1, (2, columns, 5)).astype(np.float32)
    kept[0, columns // 2] = 0
    added = rng.normal(size=kept.shape).astype(np.float32)
    before = rng.normal(size=(2, 5)).astype(np.float32)
    found, last = scan(*(keras.ops.convert_to_tensor(each) for each in (kept, added, before)))
    state = before
    for column in range(columns):
        state = kept[:, column] * state + added[:, column]
        np.testing.assert_allclose(np.asarray(found[:, column]), state, atol=1e-5)
    np.testing.assert_allclose(np.asarray(last), state, atol=1e-5)


@pytest.mark.parametrize("attention_every", [0, 1, 2])
def test_numpy_gives_the_guesses_of_keras_and_goes_on_where_it_was(attention_every):
    settings = TokenModelSettings(**{**dict(TINY), "attention_every": attention_every})
    model = built(settings, seed=4)
    ids = tokens(4 * CHUNK)  # with a gap
    whole, _ = model(with_bos(ids), model.begin(1))
    expected = np.asarray(keras.ops.log_softmax(whole))[0]
    network = Network(settings, model.weights_of())
    state, found = network.begin(), []
    for start in range(0, len(ids), CHUNK):
        some, state = network.chunk(ids[start : start + CHUNK], state)
        found.append(some)
    logs = np.log(np.concatenate(found, axis=1)).transpose(1, 0, 2)
    np.testing.assert_allclose(logs, expected, atol=2e-4)
    first, known = model(with_bos(ids)[:, : 2 * CHUNK + 1], model.begin(1))
    second, _ = model(with_bos(ids)[:, 2 * CHUNK :], known)
    parts = np.concatenate([np.asarray(first), np.asarray(second)], axis=1)
    np.testing.assert_allclose(parts, np.asarray(whole), atol=2e-4)


def test_every_weight_is_used_and_all_but_the_codes_are_trained():
    model = built(seed=1)
    ids = with_bos(tokens(2 * CHUNK))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits, _ = model(ids, model.begin(1), training=True)
        loss = tf.reduce_mean(tf.nn.log_softmax(logits)[..., 0])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(each is not None for each in gradients)
    names = {variable.name for variable in model.trainable_variables}
    assert len(names) == len(weight_shapes(TINY)) - 1
    assert "codes" not in names


def test_sizes():
    numbers = {
        name: sum(
            int(np.prod(shape)) for shape in weight_shapes(TokenModelSettings(**values)).values()
        )
        for name, values in SIZES.items()
    }
    assert 0.7e6 < numbers["small"] < 0.8e6
    assert 3.6e6 < numbers["base"] < 4.4e6


@pytest.mark.parametrize(
    ("values", "words"),
    [({"heads": 5}, "heads 5 must divide width 144"), ({"width": 5000}, "width = 5000")],
)
def test_settings_that_do_not_fit(values, words):
    with pytest.raises(UserError, match=words):
        TokenModelSettings.read(values)
