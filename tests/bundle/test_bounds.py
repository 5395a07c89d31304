"""Weights that are finite, and with which distances are not."""

import json

import numpy as np
import pytest
import safetensors.numpy

from tests.bundles import PREP, WEIGHTS, refusal, replace, run_graph, write_small_bundle
from ulmo.bundle.bounds import check_bounds
from ulmo.bundle.bundle import DEFAULT, read_bundle
from ulmo.bundle.graph import decoder_graph, encoder_graph
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings
from ulmo.preprocessing.normalize import Normalization, largest_value

SETTINGS = [
    {},
    {"distance": "cosine"},
    {"quantizer": "rim"},
    {"quantizer": "fsq", "fsq_levels": (4, 3), "embedding_dim": 2},
    {"quantizer": "residual", "stage_sizes": (3, 4)},
    {"encoder_layers": 1, "decoder_layers": 4},
]


def model(**options):
    small = {"tile_size": 16, "encoder_layers": 3, "decoder_layers": 2, "width": 4}
    small |= {"embedding_dim": 3, "codebook_size": 12, "frequency_stride": 8, "time_stride": 8}
    return ModelSettings(**{**small, **options})


def random_weights(settings, scale):
    rng = np.random.default_rng(0)
    shapes = weight_shapes(settings).items()
    return {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes}


def accepted(settings, weights, largest):
    try:
        check_bounds(settings, weights, largest)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("options", SETTINGS)
def test_with_weights_that_are_accepted_all_numbers_are_finite(options):
    """The largest scale that is accepted, at the extreme tiles of the range."""
    settings, largest = model(**options), 300.0
    scales = [10.0**power for power in range(-2, 37)]
    fits = [
        scale for scale in scales if accepted(settings, random_weights(settings, scale), largest)
    ]
    assert fits == scales[: len(fits)]
    assert 1 < fits[-1] < 1e20
    weights = random_weights(settings, fits[-1])
    rng = np.random.default_rng(1)
    tiles = largest * rng.choice([-1, 1], size=(64, 16, 16, 1)).astype(np.float32)
    tiles[0], tiles[1] = largest, -largest
    ids, distances = run_graph(encoder_graph(settings, weights).to_bytes(), tiles)
    assert np.isfinite(distances).all()
    decoded = run_graph(decoder_graph(settings, weights).to_bytes(), ids)[0]
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize(
    ("name", "quantizer"),
    [
        *((name, "ema") for name in ("encoder.conv_0.kernel", "codebook", "decoder.layer_0.bias")),
        *((name, "rim") for name in ("boundaries.kernel", "boundaries.bias")),
    ],
)
def test_a_bundle_whose_distances_may_be_infinite_is_refused_in_one_line(name, quantizer, tmp_path):
    """So is one whose scores may be, which decide between the codes of `rim`."""
    folder = write_small_bundle(tmp_path / "bundle", PREP, quantizer=quantizer)
    assert refusal(folder) is None
    tensors = safetensors.numpy.load_file(folder / WEIGHTS)
    assert name in tensors, sorted(tensors)
    tensors[name] = np.full_like(tensors[name], 3e38)
    replace(folder, WEIGHTS, safetensors.numpy.save(tensors))
    assert "the weights are too large: numbers may become infinite at" in refusal(folder)


def test_constants_count():
    """The same weights, for tiles of larger values."""
    settings = model()
    weights = random_weights(settings, 1e3)
    assert accepted(settings, weights, largest_value(PREP, Normalization(offset=-60, scale=20)))
    tiny = Normalization(offset=1e25, scale=1e-6)
    assert not accepted(settings, weights, largest_value(PREP, tiny))


def test_the_shipped_tokenizer_is_far_from_the_limit():
    bundle = read_bundle(DEFAULT)
    check_bounds(bundle.manifest.model, bundle.weights(), 1e9)
    assert json.loads((DEFAULT / "tokenizer.json").read_text())["normalization"] is not None
