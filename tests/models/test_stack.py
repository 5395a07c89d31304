"""Encoder and decoder by themselves: shapes, and what a column depends on."""

import numpy as np
import pytest

from tests.oracles import rearrange
from ulmo.config import ModelSettings
from ulmo.models import Decoder, Encoder

PLANS = [
    {},
    {"encoder_layers": 1, "decoder_layers": 1},
    {"encoder_layers": 3, "decoder_layers": 3, "frequency_stride": 56, "time_stride": 4},
    {"encoder_layers": 2, "decoder_layers": 2, "frequency_stride": 8, "time_stride": 21},
    {"encoder_layers": 6, "decoder_layers": 6, "frequency_stride": 32, "time_stride": 8},
]


def settings_of(plan):
    return ModelSettings(width=8, embedding_dim=6, **plan)


def encoder_of(plan):
    return Encoder(settings_of(plan))


def noise(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("plan", PLANS)
def test_shape_and_norm_of_the_latents(plan):
    settings = settings_of(plan)
    latents = encoder_of(plan)(noise(2, 224, 224, 1)).numpy()
    assert latents.shape == (2, settings.columns, settings.bands, 6)
    assert latents.dtype == np.float32
    np.testing.assert_allclose(latents.mean(axis=-1), 0, atol=1e-4)
    power = np.square(latents).mean(axis=-1)
    assert power.max() < 1.0001
    assert np.median(power) > 0.9


def test_end_of_an_odd_tile_is_padded_with_zeros():
    encoder = encoder_of({"tile_size": 65})
    tile = noise(1, 65, 65, 1)
    padded = np.pad(tile, ((0, 0), (0, 0), (0, 15), (0, 0)))
    assert encoder(tile).shape == (1, 5, 5, 6)
    np.testing.assert_array_equal(encoder(tile), encoder(padded))


@pytest.mark.parametrize("plan", PLANS)
def test_time_context_is_what_a_column_sees_and_no_more(plan):
    settings, encoder = settings_of(plan), encoder_of(plan)
    stride, (before, after) = settings.time_stride, settings.time_context
    column = -(-before // stride) + 1
    start, stop = column * stride - before, (column + 1) * stride + after
    tile = noise(1, 224, stop + 3 * stride, 1)
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


def decoder_of(plan):
    return Decoder(settings_of(plan))


@pytest.mark.parametrize("plan", PLANS)
def test_a_tile_by_default_and_any_number_of_frames(plan):
    settings, decoder = settings_of(plan), decoder_of(plan)
    codes = noise(2, settings.columns, settings.bands, 6)
    assert decoder(codes).shape == (2, 224, 224, 1)
    assert decoder(codes).dtype == "float32"
    frames = 2 * settings.time_stride + 1
    assert decoder(codes[:, :3], frames=frames).shape == (2, 224, frames, 1)


@pytest.mark.parametrize("plan", PLANS)
def test_the_decoders_time_context_covers_what_a_column_of_frames_depends_on(plan):
    settings, decoder = settings_of(plan), decoder_of(plan)
    before, after = settings.decoder_time_context
    stride, column = settings.time_stride, before + 2
    codes = noise(1, column + after + 3, settings.bands, 6)
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
    cells = noise(1, 4, 5, 6)
    np.testing.assert_array_equal(
        decoder._rearrange(cells)[0, :, :, 0], rearrange(cells[0], 3, 2).astype(np.float32)
    )
