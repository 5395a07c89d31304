"""Large bundles are checked in blocks, and refused for the same reasons as small ones."""

import shutil

import numpy as np
import pytest

from tests.bundles import ENCODER, PREP, WEIGHTS, refusal
from ulmo.bundle import bundle, large_bundle
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.large_bundle import check_large
from ulmo.bundle.weights import tensor_places, tensor_shapes
from ulmo.config import ModelSettings

PLANS = {
    "ema": {"codebook_size": 6},  # the norms take as many bytes as the head before them
    "residual": {"quantizer": "residual", "codebook_size": 16, "stage_sizes": (4, 4)},
    "cosine": {"distance": "cosine", "encoder_layers": 2},
    "rim": {"quantizer": "rim", "encoder_layers": 2},
    "fsq": {"quantizer": "fsq", "codebook_size": 64, "embedding_dim": 2},
}


@pytest.fixture(params=PLANS)
def folder(request, make_bundle, tmp_path, monkeypatch):
    """A small bundle that counts as large, checked in blocks of few rows."""
    monkeypatch.setattr(large_bundle, "BLOCK", 200)
    monkeypatch.setattr(bundle, "LARGE", 0)
    return make_bundle(tmp_path / "tokenizer", PREP, **PLANS[request.param])


def settings_of(folder) -> ModelSettings:
    return bundle.read_bundle(folder).manifest.model


def check(folder, settings):
    check_large(settings, folder / WEIGHTS, folder / ENCODER, remedy="copy it")


def test_a_good_one_is_read(folder):
    assert refusal(folder) is None


def test_every_changed_byte_of_the_encoder_is_seen(folder):
    settings = settings_of(folder)
    content = (folder / ENCODER).read_bytes()
    places = np.random.default_rng(0).choice(len(content), 60, replace=False)
    for place in [*places.tolist(), 0, len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1
        (folder / ENCODER).write_bytes(changed)
        with pytest.raises(ValueError, match="differs"):
            check(folder, settings)


def test_every_tensor_is_looked_at(folder):
    """The last number of each tensor is not finite, including decoder and thresholds."""
    settings = settings_of(folder)
    content = (folder / WEIGHTS).read_bytes()
    for name, place in tensor_places(settings).items():
        values = np.frombuffer(content, "<f4", np.prod(tensor_shapes(settings)[name]), place)
        changed = bytearray(content)
        end = place + values.nbytes
        changed[end - 4 : end] = np.array(np.nan, "<f4").tobytes()
        (folder / WEIGHTS).write_bytes(changed)
        with pytest.raises(ValueError, match=f"{name} is not finite"):
            check(folder, settings)


def test_every_weight_of_the_encoder_is_compared(folder):
    settings = settings_of(folder)
    content = (folder / WEIGHTS).read_bytes()
    for name, place in tensor_places(settings).items():
        if name.startswith(("encoder.", "codebook")):
            changed = bytearray(content)
            changed[place] ^= 1
            (folder / WEIGHTS).write_bytes(changed)
            with pytest.raises(ValueError, match="of the encoder differs"):
                check(folder, settings)


def test_header_and_thresholds_are_looked_at(folder):
    settings = settings_of(folder)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(b"\0" + content[1:])
    with pytest.raises(ValueError, match="header of the weights"):
        check(folder, settings)
    place = tensor_places(settings)["unk.thresholds"]
    (folder / WEIGHTS).write_bytes(content[:place] + b"\0\0\x80\xbf" + content[place + 4 :])
    with pytest.raises(ValueError, match="negative"):
        check(folder, settings)


def test_blocks_of_any_size_see_the_same(make_bundle, tmp_path, monkeypatch):
    folder = make_bundle(tmp_path / "tokenizer", PREP)
    settings = settings_of(folder)
    for size in (1, 64, 1000, 1 << 20):
        monkeypatch.setattr(large_bundle, "BLOCK", size)
        check(folder, settings)
    copy = shutil.copytree(folder, tmp_path / "copy")
    with (copy / ENCODER).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match="of the encoder differs"):
        check(copy, settings)


def test_names_of_constants_that_are_made_of_weights(make_bundle, tmp_path):
    """Every constant that is made of weights is compared with them; the others are fixed."""
    folder = make_bundle(tmp_path / "tokenizer", PREP)
    read = bundle.read_bundle(folder)
    graph = encoder_graph(read.manifest.model, read.weights())
    assert {tensor.name.split(".")[-1] for tensor in graph.tensors} == {
        *("kernel", "bias", "codebook", "scaled", "norms", "ones", "last_axis")
    }
