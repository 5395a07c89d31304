import numpy as np
import pytest
import safetensors.numpy

from ulmo.config import ModelSettings
from ulmo.weights import blank_weights, pack_weights, unpack_weights, weight_shapes, weights_size

PLANS = [
    {},
    {"tile_size": 65, "encoder_layers": 1, "decoder_layers": 1},
    {"encoder_layers": 8, "decoder_layers": 8, "width": 2},
]


def settings_of(plan):
    return ModelSettings(**{"width": 8, "codebook_size": 12, "embedding_dim": 5, **plan})


def random_weights(settings):
    rng = np.random.default_rng(0)
    shapes = weight_shapes(settings).items()
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes}


@pytest.mark.parametrize("plan", PLANS)
def test_the_file_is_what_safetensors_writes_and_reads(plan):
    settings = settings_of(plan)
    weights = random_weights(settings)
    packed = pack_weights(settings, weights)
    assert (packed == safetensors.numpy.save(weights)) is True
    assert len(packed) == weights_size(settings)
    for read in (safetensors.numpy.load(packed), unpack_weights(settings, packed)):
        assert read.keys() == weights.keys()
        for name, values in weights.items():
            np.testing.assert_array_equal(read[name], values)
            assert read[name].dtype == np.float32


def test_what_is_read_cannot_be_written_to():
    settings = settings_of({})
    read = unpack_weights(settings, pack_weights(settings, random_weights(settings)))
    with pytest.raises(ValueError, match="read-only"):
        read["codebook"][0, 0] = 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"codebook": np.zeros((12, 4), np.float32)}, r"codebook has shape \(12, 4\), not"),
        ({"codebook": np.zeros((12, 5))}, "codebook is float64, not float32"),
        ({"more": np.zeros(1, np.float32)}, "weights that the model has not: more"),
        ({"codebook": np.full((12, 5), np.inf, np.float32)}, "codebook is not finite"),
    ],
)
def test_other_weights_are_not_written(change, text):
    settings = settings_of({})
    weights = random_weights(settings)
    with pytest.raises(ValueError, match=text):
        pack_weights(settings, {**weights, **change})
    del weights["encoder.project.bias"]
    with pytest.raises(ValueError, match=r"weights are missing: encoder\.project\.bias"):
        pack_weights(settings, weights)


def test_blank_weights_take_no_memory():
    settings = ModelSettings(width=2048)
    assert {name: v.shape for name, v in blank_weights(settings).items()} == weight_shapes(settings)
    assert all(not any(values.strides) for values in blank_weights(settings).values())
