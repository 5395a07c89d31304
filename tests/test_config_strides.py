import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import ModelSettings
from ulmo.config.network import encoder_layers
from ulmo.config.strides import spread_stride


@given(total=st.integers(1, 512), layers=st.integers(1, 8))
def test_spread_stride_multiplies_to_the_total(total, layers):
    strides = spread_stride(total, layers)
    assert math.prod(strides) == total
    assert len(strides) == layers
    assert list(strides) == sorted(strides, reverse=True)


@given(stride=st.integers(1, 512))
def test_same_padding_leaves_the_length_divided_by_the_stride(stride):
    layer = encoder_layers([(stride, 1)], width=8, embedding_dim=6)[0]
    before, after = layer.padding[0]
    length = 5 * stride
    assert (length + before + after - layer.kernel[0]) // stride + 1 == 5
    assert 0 <= after - before <= 1


@pytest.mark.parametrize(
    ("options", "encoder", "decoder"),
    [
        ({}, (30, 30), (2, 2)),
        ({"encoder_layers": 1, "decoder_layers": 1}, (8, 8), (1, 1)),
        ({"time_stride": 4, "frequency_stride": 56}, (14, 14), (4, 4)),
        ({"time_stride": 7, "encoder_layers": 1}, (3, 4), (4, 4)),
    ],
)
def test_time_context_of_known_plans(options, encoder, decoder):
    settings = ModelSettings(**options)
    assert settings.time_context == encoder
    assert settings.decoder_time_context == decoder
