import numpy as np
import onnx
import pytest

from tests.bundles import run_graph
from ulmo.bundle.graph import decoder_graph, encoder_graph, encoder_size
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings
from ulmo.models import build_vqvae, set_weights_of, weights_of

SMALL = {"width": 8, "codebook_size": 64, "embedding_dim": 6}
PLANS = [
    {},
    {"tile_size": 65, "encoder_layers": 1, "decoder_layers": 1},
    {"tile_size": 100, "encoder_layers": 2, "decoder_layers": 6},
    {"encoder_layers": 3, "frequency_stride": 56, "time_stride": 4},
    {"tile_size": 128, "decoder_layers": 2, "frequency_stride": 32, "time_stride": 8},
    {"tile_size": 65, "encoder_layers": 2, "frequency_stride": 5, "time_stride": 21},
    {"tile_size": 33, "frequency_stride": 1, "time_stride": 16},
    {"tile_size": 32, "quantizer": "fsq", "embedding_dim": 2, "fsq_levels": (8, 8)},
    {"tile_size": 32, "quantizer": "residual", "stage_sizes": (2, 8, 4)},
    {"tile_size": 32, "quantizer": "gradient", "distance": "cosine"},
    {"tile_size": 32, "quantizer": "rim"},
    {"tile_size": 32, "quantizer": "kmeans"},
]


def settings_of(plan):
    return ModelSettings(**{**SMALL, **plan})


def model_of(settings):
    """A model with nonzero biases, so that they are compared too."""
    model, rng = build_vqvae(settings, 1), np.random.default_rng(1)
    weights = weights_of(model)
    for name, values in weights.items():
        if name.endswith("bias"):
            weights[name] = rng.normal(0, 0.1, values.shape).astype(np.float32)
    set_weights_of(model, weights)
    return model


def tiles(settings, columns, batch=2):
    shape = (batch, settings.tile_size, columns * settings.time_stride, 1)
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("plan", PLANS)
def test_encoder_agrees_with_keras(plan):
    """Latents are a third output; ids and distances stay the same."""
    settings = settings_of(plan)
    model = model_of(settings)
    weights = weights_of(model)
    shapes = {name: values.shape for name, values in weights.items()}
    assert (list(shapes), shapes) == (list(weight_shapes(settings)), weight_shapes(settings))
    for columns in (settings.columns, 3):
        x = tiles(settings, columns)
        ids, distances = run_graph(encoder_graph(settings, weights).to_bytes(), x)
        *others, latents = run_graph(encoder_graph(settings, weights, latents=True).to_bytes(), x)
        np.testing.assert_array_equal(others, [ids, distances])
        expected = model(x)
        assert ids.shape == distances.shape == (2, columns, settings.bands)
        assert ids.dtype == np.int32
        np.testing.assert_allclose(distances, expected.distances, atol=1e-3)
        assert_same_ids(ids, expected, model.quantizer.codebook.numpy())
        if settings.quantizer == "fsq":  # which bounds latents itself, by 8 levels each
            expected = expected._replace(latents=np.tanh(expected.latents) * 8 / 7)
        assert latents.shape == (2, columns, settings.bands, settings.embedding_dim)
        np.testing.assert_allclose(latents, expected.latents, atol=1e-3)


def assert_same_ids(ids, expected, codebook):
    """Ids may differ only where two codes are equally near up to rounding."""
    differ = ids != expected.ids.numpy()
    latents = expected.latents.numpy()[differ].astype(np.float64)
    distances = np.sort(np.square(latents[:, None] - codebook).sum(axis=-1), axis=1)
    assert (distances[:, 1] - distances[:, 0] < 1e-4).all()
    assert differ.mean() < 0.01


@pytest.mark.parametrize("plan", PLANS)
def test_decoder_agrees_with_keras(plan):
    settings = settings_of(plan)
    model = model_of(settings)
    graph = decoder_graph(settings, weights_of(model))
    for columns in (settings.columns, 3):
        shape = (2, columns, settings.bands)
        ids = np.random.default_rng(3).integers(0, 64, shape).astype(np.int32)
        (found,) = run_graph(graph.to_bytes(), ids)
        frames = columns * settings.time_stride
        expected = model.decoder(model.quantizer.embed(ids), frames=frames)
        assert found.shape == (2, settings.tile_size, frames, 1)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def random_weights(settings):
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(settings).items()
    }


@pytest.mark.parametrize("make", [encoder_graph, decoder_graph])
@pytest.mark.parametrize("plan", PLANS)
def test_graphs_are_plain_old_and_deterministic(make, plan):
    settings = settings_of(plan)
    content = make(settings, random_weights(settings)).to_bytes()
    graph = onnx.load_model_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.SerializeToString(deterministic=True) == content
    assert {node.domain for node in graph.graph.node} == {""}
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 17)]
    assert graph.ir_version == 8
    assert make is decoder_graph or encoder_size(settings) == len(content)
    assert make(settings, random_weights(settings)).to_bytes() == content


def test_norms_are_summed_in_one_order():
    """Sums in float64, in the order of the dimensions, rounded once: equal on all machines."""
    settings = ModelSettings(embedding_dim=64, width=8, codebook_size=32)
    weights = random_weights(settings)
    graph = onnx.load_model_from_string(encoder_graph(settings, weights).to_bytes())
    norms = next(entry for entry in graph.graph.initializer if entry.name == "codebook.norms")
    expected = []
    for code in weights["codebook"].tolist():
        total = 0.0
        for coordinate in code:
            total += coordinate * coordinate
        expected.append(np.float32(total))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(norms), expected)


@pytest.mark.parametrize("make", [encoder_graph, decoder_graph])
def test_weights_that_do_not_fit_are_refused(make):
    settings = settings_of({})
    weights = random_weights(settings)
    with pytest.raises(ValueError, match=r"codebook has shape \(64, 5\), not \(64, 6\)"):
        make(settings, {**weights, "codebook": weights["codebook"][:, :5]})
    del weights["codebook"]
    with pytest.raises(ValueError, match="missing: codebook"):
        make(settings, weights)
