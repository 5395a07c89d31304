"""One description of the network: a kind of layer that exists only here, and all that follows."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.bundles import run_graph
from ulmo.bundle import bundle
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.graph import decoder_graph, encoder_graph, encoder_size
from ulmo.bundle.weights import weight_shapes, weights_size
from ulmo.config import Convolution, ModelSettings, PrepSettings
from ulmo.models import build_vqvae, set_weights_of, weights_of

MODEL = {"tile_size": 40, "width": 8, "codebook_size": 16, "embedding_dim": 4, "time_stride": 4}
PREP = PrepSettings(frontend="stft", tile_size=40, sample_rate=8000, hop_length=64)


@dataclass(frozen=True)
class Dilated(Convolution):
    """A kind that ulmo does not have: its kernel skips every second frame."""

    @property
    def padding(self):
        rows, (before, after) = super().padding
        return rows, (2 * before, 2 * after)

    @property
    def keras_options(self):
        return {**super().keras_options, "dilation_rate": (1, 2)}

    @property
    def onnx_options(self):
        return {**super().onnx_options, "dilations": [1, 2]}

    def frames_seen(self, first, last):
        before, after = self.padding[1]
        return first - before, last + after


@pytest.fixture
def settings(monkeypatch):
    """Both parts have a dilated layer after their first."""
    for part in ("encoder", "decoder"):
        plain = getattr(ModelSettings, part).fget

        def layers(self, plain=plain):
            first, *rest = plain(self)
            return [first, Dilated("dilated", first.outputs, first.outputs, (1, 5)), *rest]

        monkeypatch.setattr(ModelSettings, part, property(layers))
    return ModelSettings(**MODEL)


@pytest.fixture
def model(settings):
    """All weights are random, biases too."""
    model, rng = build_vqvae(settings), np.random.default_rng(0)
    shapes = {name: values.shape for name, values in weights_of(model).items()}
    random = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    set_weights_of(model, {name: values.astype(np.float32) for name, values in random.items()})
    return model


def extent(function, values, wanted):
    """First and last index on axis 2 of the values that changes what is wanted of the result."""
    expected = wanted(function(values))
    seen = []
    for index in range(values.shape[2]):
        changed = values.copy()
        changed[:, :, index] += 10
        if np.abs(wanted(function(changed)) - expected).max() > 0:
            seen.append(index)
    return seen[0], seen[-1]


def test_names_and_shapes_of_the_weights(settings, model):
    shapes = weight_shapes(settings)
    assert shapes["encoder.dilated.kernel"] == (1, 5, 4, 4)
    assert shapes["decoder.dilated.kernel"] == (1, 5, 8, 8)
    found = {name: values.shape for name, values in weights_of(model).items()}
    assert (list(found), found) == (list(shapes), shapes)


def test_the_encoders_graph_and_time_context(settings, model):
    tiles = np.random.default_rng(1).normal(size=(1, 40, 120, 1)).astype(np.float32)
    graph = encoder_graph(settings, weights_of(model), latents=True)
    _, distances, latents = run_graph(graph.to_bytes(), tiles)
    expected = model(tiles)
    np.testing.assert_allclose(latents, expected.latents, atol=1e-4)
    np.testing.assert_allclose(distances, expected.distances, atol=1e-3)
    before, after = settings.time_context
    seen = extent(lambda x: model.encode(x).numpy(), tiles, lambda latents: latents[:, 15])
    assert seen == (60 - before, 63 + after)


def test_the_decoders_graph_and_time_context(settings, model):
    ids = np.random.default_rng(2).integers(0, 16, (1, 30, settings.bands)).astype(np.int32)
    latents = model.quantizer.embed(ids)
    (tiles,) = run_graph(decoder_graph(settings, weights_of(model)).to_bytes(), ids)
    np.testing.assert_allclose(tiles, model.decoder(latents, frames=120), atol=1e-4)
    before, after = settings.decoder_time_context

    def decode(latents):  # time on axis 2, as `extent` expects
        return model.decoder(latents.transpose(0, 2, 1, 3), frames=120).numpy()

    turned = np.array(latents).transpose(0, 2, 1, 3)
    assert extent(decode, turned, lambda x: x[:, :, 60:64]) == (15 - before, 15 + after)


def test_a_bundle_is_written_and_checked(settings, make_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "LARGE", 0)
    options = {name: value for name, value in MODEL.items() if name != "tile_size"}
    read = read_bundle(make_bundle(tmp_path / "tokenizer", PREP, **options))
    assert read.manifest.model == settings
    assert len(read.packed) == weights_size(settings)
    assert len(read.encoder) == encoder_size(settings)
    assert b"encoder.dilated.kernel" in read.encoder
