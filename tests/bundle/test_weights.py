import numpy as np
import pytest
import safetensors.numpy

from ulmo.bundle.weights import (
    THRESHOLDS,
    blank_weights,
    pack_weights,
    unpack_thresholds,
    unpack_weights,
    weight_shapes,
    weights_size,
)
from ulmo.config import ModelSettings

LEVELS = np.arange(48, dtype=np.float32).reshape(12, 4)

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
    packed = pack_weights(settings, weights, LEVELS)
    tensors = {**weights, THRESHOLDS: LEVELS}
    assert (packed == safetensors.numpy.save(tensors)) is True
    assert len(packed) == weights_size(settings)
    ours = {**unpack_weights(settings, packed), THRESHOLDS: unpack_thresholds(settings, packed)}
    assert unpack_weights(settings, packed).keys() == weights.keys()
    for read in (safetensors.numpy.load(packed), ours):
        assert read.keys() == tensors.keys()
        for name, values in tensors.items():
            np.testing.assert_array_equal(read[name], values)
            assert read[name].dtype == np.float32


def test_what_is_read_is_a_copy():
    settings = settings_of({})
    weights = random_weights(settings)
    packed = pack_weights(settings, weights, LEVELS)
    unpack_weights(settings, packed)["codebook"][:] = 0
    np.testing.assert_array_equal(unpack_weights(settings, packed)["codebook"], weights["codebook"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"codebook": np.zeros((12, 4), np.float32)}, r"codebook has shape \(12, 4\), not"),
        ({"codebook": np.zeros((12, 5))}, "codebook is float64, not float32"),
        ({"more": np.zeros(1, np.float32)}, "weights that the model does not have: more"),
        ({"codebook": np.full((12, 5), np.inf, np.float32)}, "codebook is not finite"),
    ],
)
def test_other_weights_are_not_written(change, text):
    settings = settings_of({})
    weights = random_weights(settings)
    with pytest.raises(ValueError, match=text):
        pack_weights(settings, {**weights, **change}, LEVELS)
    del weights["encoder.project.bias"]
    with pytest.raises(ValueError, match=r"weights are missing: encoder\.project\.bias"):
        pack_weights(settings, weights, LEVELS)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ((3, 0), -0.5, "a threshold of <unk> is negative"),
        ((11, 2), 44.5, "the thresholds of <unk> fall from one level to the next"),
        ((0, 3), np.inf, r"unk\.thresholds is not finite"),
        ((0, 1), np.nan, r"unk\.thresholds is not finite"),
    ],
)
def test_thresholds_that_are_none_are_neither_written_nor_read(place, value, text):
    settings = settings_of({})
    weights, changed = random_weights(settings), LEVELS.copy()
    changed[place] = value
    packed = pack_weights(settings, weights, LEVELS)
    assert packed.count(LEVELS.tobytes()) == 1
    with pytest.raises(ValueError, match=text):
        pack_weights(settings, weights, changed)
    damaged = packed.replace(LEVELS.tobytes(), changed.tobytes())
    for unpack in (unpack_weights, unpack_thresholds):
        with pytest.raises(ValueError, match=text):
            unpack(settings, damaged)


def test_thresholds_of_another_codebook_are_not_written():
    settings = settings_of({})
    with pytest.raises(ValueError, match=r"unk\.thresholds has shape \(11, 4\), not \(12, 4\)"):
        pack_weights(settings, random_weights(settings), LEVELS[1:])


def test_blank_weights_take_no_memory():
    settings = ModelSettings(width=2048)
    assert {name: v.shape for name, v in blank_weights(settings).items()} == weight_shapes(settings)
    assert all(not any(values.strides) for values in blank_weights(settings).values())
