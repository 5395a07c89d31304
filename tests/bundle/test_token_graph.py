"""The token model's network as ONNX, against that in NumPy."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.token_models import TINY, VOCABULARY, random_tensors, tokens
from ulmo.bundle.token_graph import network_graph, network_size
from ulmo.bundle.token_model import DEFAULT_LM, read_token_model
from ulmo.config.token_model import CHUNK, SIZES, TokenModelSettings
from ulmo.sequence.network import Network

SETTINGS = {
    "tiny": TINY,
    "one band and head": TINY.model_copy(update={"bands": 1, "heads": 1}),
    "attention alone": TINY.model_copy(update={"attention_every": 1}),
    "recurrent alone": TINY.model_copy(update={"attention_every": 0, "codebook_size": 60}),
}


def tensors_of(settings):
    """Numbers that float16 holds."""
    tensors = random_tensors(settings)
    return {name: each.astype(np.float16).astype(np.float32) for name, each in tensors.items()}


def run(content, ids, settings, bos):
    """Probabilities (columns, bands, CB), chunk by chunk, as a program without ulmo gets them.

    Columns that are missing at the end are 0.
    """
    session = onnxruntime.InferenceSession(content)
    names = [each.name for each in session.get_outputs()]
    known = {
        each.name: np.zeros(each.shape, np.float32 if "float" in each.type else np.int32)
        for each in session.get_inputs()
    }
    known["previous"][:], known["segments"][:] = bos, -1
    found = []
    for start in range(0, len(ids), CHUNK):
        known["ids"] = np.zeros((CHUNK, settings.bands), np.int32)
        known["ids"][: len(ids) - start] = ids[start : start + CHUNK]
        results = dict(zip(names, session.run(names, known), strict=True))
        logits = results["logits"].astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        found.append(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
        known = {name.removeprefix("next_"): each for name, each in results.items()}
        del known["logits"]
    return np.concatenate(found)[: len(ids)]


def guesses_of(ids, settings, tensors):
    network = Network(settings, tensors)
    state, found = network.begin(), []
    for start in range(0, len(ids), CHUNK):
        chunk = np.full((CHUNK, settings.bands), network._vocabulary.pad, np.int32)
        chunk[: len(ids) - start] = ids[start : start + CHUNK]
        some, state = network.chunk(chunk, state)
        found.append(some.transpose(1, 0, 2))
    return np.concatenate(found)[: len(ids)]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_graph_gives_what_numpy_gives(name):
    settings = SETTINGS[name]
    tensors = tensors_of(settings)
    ids = tokens(4 * CHUNK + 30, bands=settings.bands, codes=settings.codebook_size)  # with a gap
    bos = VOCABULARY.bos - TINY.codebook_size + settings.codebook_size
    content = network_graph(settings, tensors).to_bytes()
    found = run(content, ids, settings, bos)
    np.testing.assert_allclose(found, guesses_of(ids, settings, tensors), atol=2e-4)


def test_the_one_that_ships_gives_what_numpy_gives():
    bundle = read_token_model(DEFAULT_LM)
    settings = bundle.manifest.model
    ids = tokens(2 * CHUNK + 9, bands=settings.bands, codes=settings.codebook_size)
    found = run(bundle.network, ids, settings, settings.codebook_size + 2)
    np.testing.assert_allclose(found, guesses_of(ids, settings, bundle.tensors()), atol=2e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_plain_and_old_and_the_same_each_time(name):
    settings = SETTINGS[name]
    content = network_graph(settings, tensors_of(settings)).to_bytes()
    graph = onnx.load_model_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.SerializeToString(deterministic=True) == content
    assert {node.domain for node in graph.graph.node} == {""}
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 17)]
    assert network_size(settings) == len(content)
    assert network_graph(settings, tensors_of(settings)).to_bytes() == content


def test_its_size_is_known_without_weights():
    base = TokenModelSettings(**SIZES["base"])
    assert 2 * 3_900_000 < network_size(base) < 2 * 4_200_000
