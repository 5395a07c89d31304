import keras
import numpy as np
import pytest

from ulmo.config import ModelSettings
from ulmo.models import Encoder

PLANS = [
    {},
    {"encoder_layers": 1},
    {"encoder_layers": 3, "frequency_stride": 56, "time_stride": 4},
    {"encoder_layers": 2, "frequency_stride": 8, "time_stride": 21},
    {"encoder_layers": 6, "frequency_stride": 32, "time_stride": 8},
]


def settings_of(plan):
    return ModelSettings(width=8, embedding_dim=6, **plan)


def encoder_of(plan, **options):
    return Encoder(settings_of(plan), **options)


def tiles(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("plan", PLANS)
def test_shape_and_norm_of_the_latents(plan):
    settings = settings_of(plan)
    latents = encoder_of(plan)(tiles(2, 224, 224, 1)).numpy()
    assert latents.shape == (2, settings.columns, settings.bands, 6)
    assert latents.dtype == np.float32
    np.testing.assert_allclose(latents.mean(axis=-1), 0, atol=1e-4)
    power = np.square(latents).mean(axis=-1)
    assert power.max() < 1.0001
    assert np.median(power) > 0.9


def test_end_of_an_odd_tile_is_padded_with_zeros():
    encoder = encoder_of({"tile_size": 65})
    tile = tiles(1, 65, 65, 1)
    padded = np.pad(tile, ((0, 0), (0, 0), (0, 15), (0, 0)))
    assert encoder(tile).shape == (1, 5, 5, 6)
    np.testing.assert_array_equal(encoder(tile), encoder(padded))


@pytest.mark.parametrize("plan", PLANS)
def test_a_chunk_with_a_halo_has_the_latents_of_the_whole(plan):
    settings, encoder = settings_of(plan), encoder_of(plan)
    stride = settings.time_stride
    halo = -(-max(settings.time_context) // stride)  # in columns
    whole_tile = tiles(1, 224, stride * (4 * halo + 9) - 1, 1)
    whole = encoder(whole_tile).numpy()
    first, last = halo + 2, halo + 6
    chunk_tile = whole_tile[:, :, (first - halo) * stride : (last + halo) * stride]
    chunk = encoder(chunk_tile).numpy()[:, halo : halo + 4]
    np.testing.assert_allclose(chunk, whole[:, first:last], atol=1e-5)


@pytest.mark.parametrize("plan", PLANS)
def test_time_context_is_what_a_column_sees_and_no_more(plan):
    settings, encoder = settings_of(plan), encoder_of(plan)
    stride, (before, after) = settings.time_stride, settings.time_context
    column = -(-before // stride) + 1
    start, stop = column * stride - before, (column + 1) * stride + after
    tile = tiles(1, 224, stop + 3 * stride, 1)
    expected = encoder(tile).numpy()[:, column]

    def changed(frame):
        other = tile.copy()
        other[:, :, frame] += 10
        return np.abs(encoder(other).numpy()[:, column] - expected).max()

    assert changed(slice(0, start)) < 1e-5
    assert changed(slice(stop, None)) < 1e-5
    assert changed(slice(start, stop)) > 1e-2
    assert changed(start) > 0
    assert changed(stop - 1) > 0


def test_weights_depend_on_the_seed_alone():
    first, second, other = (encoder_of({}, seed=seed) for seed in (3, 3, 4))
    tile = tiles(1, 224, 16, 1)
    np.testing.assert_array_equal(first(tile), second(tile))
    assert np.abs(first(tile) - other(tile)).max() > 0.1


def test_config_round_trip():
    encoder = encoder_of(PLANS[2], seed=5, dtype="mixed_bfloat16")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoder))
    assert isinstance(twin, Encoder)
    assert twin.get_config() == encoder.get_config()


def test_latents_are_float32_under_mixed_precision():
    encoder = encoder_of({}, dtype="mixed_bfloat16")
    latents = encoder(tiles(1, 224, 32, 1))
    assert latents.dtype == "float32"
    assert encoder.blocks[0].compute_dtype == "bfloat16"
    assert np.median(np.square(latents).mean(axis=-1)) > 0.9
