import keras
import numpy as np
import pytest

from tests.oracles import rearrange
from ulmo.config import ModelSettings
from ulmo.models import Decoder

PLANS = [
    {},
    {"decoder_layers": 1},
    {"decoder_layers": 3, "frequency_stride": 56, "time_stride": 4},
    {"decoder_layers": 2, "frequency_stride": 8, "time_stride": 21},
    {"decoder_layers": 6, "frequency_stride": 32, "time_stride": 8},
]


def settings_of(plan):
    return ModelSettings(width=8, embedding_dim=6, **plan)


def decoder_of(plan, **options):
    return Decoder(settings_of(plan), **options)


def latents(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("plan", PLANS)
def test_a_tile_by_default_and_any_number_of_frames(plan):
    settings, decoder = settings_of(plan), decoder_of(plan)
    codes = latents(2, settings.columns, settings.bands, 6)
    assert decoder(codes).shape == (2, 224, 224, 1)
    assert decoder(codes).dtype == "float32"
    assert decoder(codes[:, :3], frames=2 * settings.time_stride + 1).shape == (
        2,
        224,
        2 * settings.time_stride + 1,
        1,
    )


@pytest.mark.parametrize("plan", PLANS)
def test_time_context_covers_what_a_column_of_frames_depends_on(plan):
    settings, decoder = settings_of(plan), decoder_of(plan)
    before, after = settings.decoder_time_context
    stride, column = settings.time_stride, before + 2
    codes = latents(1, column + after + 3, settings.bands, 6)
    frames = codes.shape[1] * stride
    window = slice(column * stride, (column + 1) * stride)
    expected = decoder(codes, frames=frames).numpy()[:, :, window]

    def changed(columns):
        other = codes.copy()
        other[:, columns] += 10
        return np.abs(decoder(other, frames=frames).numpy()[:, :, window] - expected).max()

    assert changed(slice(0, column - before)) < 1e-5
    assert changed(slice(column + after + 1, None)) < 1e-5
    assert changed(column - before) > 0
    assert changed(column + after) > 0


def test_the_last_layer_is_rearranged_as_the_oracle_does():
    decoder = decoder_of({"decoder_layers": 1, "frequency_stride": 3, "time_stride": 2})
    cells = latents(1, 4, 5, 6)
    np.testing.assert_array_equal(
        decoder._rearrange(cells)[0, :, :, 0], rearrange(cells[0], 3, 2).astype(np.float32)
    )


def test_config_round_trip():
    decoder = decoder_of(PLANS[2], seed=5, dtype="mixed_bfloat16")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decoder))
    assert isinstance(twin, Decoder)
    assert twin.get_config() == decoder.get_config()


def test_tiles_are_float32_under_mixed_precision():
    decoder = decoder_of({}, dtype="mixed_bfloat16")
    tile = decoder(latents(1, 2, 14, 6), frames=32)
    assert tile.dtype == "float32"
    assert decoder.blocks[0].compute_dtype == "bfloat16"
