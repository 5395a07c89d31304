import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmo.config import ModelSettings
from ulmo.models import (
    VQVAE,
    Decoder,
    Encoder,
    VectorQuantizerEMA,
    VQVAEOutput,
    build_vqvae,
    set_weights_of,
    weights_of,
)

SMALL = ModelSettings(
    tile_size=32,
    encoder_layers=2,
    decoder_layers=2,
    width=8,
    codebook_size=16,
    embedding_dim=4,
    frequency_stride=8,
    time_stride=8,
)
LOSSES = {"total", "reconstruction", "commitment", "codebook", "perplexity", "usage"}


def tiles(count, size=32, seed=0):
    """Tiles with something to learn: smooth bands that change over time."""
    rng = np.random.default_rng(seed)
    rows, frames = np.mgrid[:size, :size] / size
    pitch, rate = rng.uniform(0, 1, (2, count, 1, 1))
    shape = np.exp(-50 * (rows - pitch) ** 2) * np.cos(6 * rate * frames)
    return shape[..., None].astype(np.float32)


def state_of(model):
    return [variable.numpy() for variable in model.variables]


def trained(model, steps, first=0):
    for step in range(first, first + steps):
        model.train_on_batch(tiles(8, seed=step))
    return model


def compiled(seed=0, settings=SMALL):
    """A model whose few steps are not traced, which would take longer than they do."""
    model = build_vqvae(settings, seed)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=True)
    return model


@pytest.mark.parametrize("size", [224, 128, 100, 65])
def test_output_has_the_shape_of_the_input_whatever_the_layers(size):
    shared = {"tile_size": size, "embedding_dim": 4, "width": 8}
    quantizer = VectorQuantizerEMA(codebook_size=8, embedding_dim=4)
    for layers in range(1, 7):
        encoder = Encoder(ModelSettings(encoder_layers=layers, **shared))
        decoder = Decoder(ModelSettings(decoder_layers=7 - layers, **shared))
        output = VQVAE(encoder, quantizer, decoder)(tiles(2, size))
        assert isinstance(output, VQVAEOutput)
        assert output.reconstruction.shape == (2, size, size, 1)
        assert output.ids.shape == (2, -(-size // 16), -(-size // 16))


def test_parts_that_do_not_fit_are_refused_with_both_shapes():
    model = VQVAE(
        Encoder(SMALL.model_copy(update={"time_stride": 16})),
        VectorQuantizerEMA(codebook_size=8, embedding_dim=4),
        Decoder(SMALL),
    )
    with pytest.raises(ValueError, match=r"\(1, 32, 16, 1\) for tiles \(1, 32, 32, 1\)"):
        model(tiles(1))


def test_losses_are_means_over_valid_frames():
    model, x = compiled(), tiles(3)
    valid = np.array([32, 12, 0], np.int32)
    losses = model.test_on_batch(x, valid, return_dict=True)
    masked = x * (np.arange(32) < valid[:, None])[:, None, :, None]
    error = (model(masked).reconstruction.numpy() - masked) ** 2
    cells = sum(error[index, :, :count].sum() for index, count in enumerate(valid))
    assert losses.keys() == LOSSES
    assert losses["reconstruction"] == pytest.approx(cells / (32 * valid.sum()), rel=1e-5)
    assert losses["total"] == pytest.approx(
        losses["reconstruction"] + 0.25 * losses["commitment"], rel=1e-5
    )


def test_a_token_weighs_with_its_valid_frames():
    model = build_vqvae(SMALL)
    weights = model.inside(tf.zeros((3, 4, 2, 4)), np.array([32, 13, 0], np.int32))
    assert weights.shape == (3, 4, 2)
    np.testing.assert_array_equal(weights[:, :, 1], [[1] * 4, [1, 0.625, 0, 0], [0] * 4])


def test_padding_changes_neither_losses_nor_state():
    valid = np.array([32, 12, 0, 20], np.int32)
    x = tiles(4)
    other = x.copy()
    for index, count in enumerate(valid):
        other[index, :, count:] = np.nan
    model, twin = compiled(), compiled()
    first = model.train_on_batch(x, valid, return_dict=True)
    second = twin.train_on_batch(other, valid, return_dict=True)
    assert first == pytest.approx(second, rel=1e-6)
    assert all(np.isfinite(list(first.values())))
    for one, two in zip(state_of(model), state_of(twin), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_all_frames_valid_is_the_same_as_saying_nothing():
    model, x = compiled(), tiles(3)
    said = model.test_on_batch(x, np.full(3, 32, np.int32), return_dict=True)
    assert said == pytest.approx(model.test_on_batch(x, return_dict=True), rel=1e-6)


def test_fit_on_a_toy_lowers_the_loss():
    model = build_vqvae(SMALL)
    model.compile(keras.optimizers.Adam(3e-3))
    x, valid = tiles(64), np.full(64, 32, np.int32)
    history = model.fit(x, valid, batch_size=16, epochs=30, verbose=0, validation_data=(x, valid))
    losses = history.history["reconstruction"]
    assert losses[-1] < 0.6 * losses[0]
    assert history.history.keys() == LOSSES | {f"val_{name}" for name in LOSSES}


def test_the_seed_rules_all_weights():
    first, second, other = (weights_of(build_vqvae(SMALL, seed)) for seed in (1, 1, 2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        if not name.endswith("bias"):
            assert np.abs(values - other[name]).max() > 0


def test_config_round_trip():
    model = build_vqvae(SMALL)
    twin = VQVAE.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert keras.saving.get_registered_name(VQVAE) == "ulmo>VQVAE"


def test_a_loaded_model_gives_the_same_ids_and_trains_on_as_if_never_stopped(tmp_path):
    model = trained(compiled(), 3)
    model.quantizer.revive.assign(False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = tiles(8, seed=99)
    np.testing.assert_array_equal(loaded(x).ids, model(x).ids)
    assert not loaded.quantizer.revive.numpy()
    for part in (model, loaded):
        part.quantizer.revive.assign(True)
        trained(part, 3, first=3)
    assert loaded.quantizer.step.numpy() == 6
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    for one, two in zip(state_of(loaded), state_of(model), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_codebook_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build_vqvae(SMALL)
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
        losses = trained(model, 2).train_on_batch(tiles(8), return_dict=True)
        output = model(tiles(2))
    finally:
        keras.config.set_dtype_policy("float32")
    for part in (model.encoder, model.decoder):
        assert part.blocks[0].compute_dtype == policy.removeprefix("mixed_")
    assert all(np.isfinite(list(losses.values())))
    assert output.reconstruction.dtype == output.latents.dtype == tf.float32
    assert model.quantizer.codebook.dtype == model.quantizer.ema_sum.dtype == "float32"
    assert all(values.dtype == np.float32 for values in weights_of(model).values())


def test_weights_by_name_make_an_equal_model():
    model, other = build_vqvae(SMALL, 1), build_vqvae(SMALL, 2)
    set_weights_of(other, weights_of(model))
    x = tiles(4)
    np.testing.assert_array_equal(other(x).ids, model(x).ids)
    np.testing.assert_array_equal(other(x).reconstruction, model(x).reconstruction)
    book, count, total = (
        getattr(other.quantizer, name).numpy() for name in ("codebook", "ema_count", "ema_sum")
    )
    np.testing.assert_array_equal(total, book * count[:, None])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda weights: weights.pop("codebook"), "missing: codebook"),
        (lambda weights: weights.update(extra=np.zeros(1)), "unknown: extra"),
        (lambda weights: weights.update(codebook=np.zeros((3, 4))), r"\(3, 4\), not \(16, 4\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(change, complaint):
    model = build_vqvae(SMALL)
    weights = {name: values + 1 for name, values in weights_of(model).items()}
    change(weights)
    before = weights_of(model)
    with pytest.raises(ValueError, match=complaint):
        set_weights_of(model, weights)
    for name, values in weights_of(model).items():
        np.testing.assert_array_equal(values, before[name])
