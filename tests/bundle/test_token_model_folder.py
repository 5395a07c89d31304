"""The token model's folder: what is written is read, and nothing else is."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
import safetensors.numpy

from tests.bundles import digest
from tests.token_models import TINY, TOKENIZER, bundle_at, random_tensors
from ulmo.bundle.token_model import (
    DEFAULT_LM,
    TokenModelCard,
    build_token_model,
    check_tensors_size,
    read_token_model,
)
from ulmo.bundle.token_weights import tensor_shapes
from ulmo.config import UserError
from ulmo.config.token_model import TokenModelSettings
from ulmo.tokenizer import load_tokenizer


@pytest.fixture
def folder(tmp_path):
    bundle_at(tmp_path / "lm").write()
    return tmp_path / "lm"


def rewrite(folder, change):
    """Change the values of lm.json, and seal it as an attacker would."""
    path = folder / "lm.json"
    values = json.loads(path.read_text())
    change(values)
    named = ("schema_version", "model", "tokenizer", "weights", "network")
    values["fingerprint"] = digest({name: values[name] for name in named})
    values["card_hash"] = digest(values["card"])
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def replace_weights(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    rewrite(folder, lambda values: values.update(weights=sha256(content).hexdigest()))


def test_what_is_written_is_read(folder):
    bundle = read_token_model(folder)
    tensors = bundle.tensors()
    assert {name: each.shape for name, each in tensors.items()} == tensor_shapes(TINY)
    for name, each in random_tensors().items():
        np.testing.assert_array_equal(tensors[name], each.astype(np.float16))
    assert bundle.manifest.tokenizer == TOKENIZER
    assert bundle.manifest.card.notes == "random"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    bundle.write()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_corrected_card_keeps_the_fingerprint(tmp_path):
    cards = (TokenModelCard(notes="one"), TokenModelCard(notes="other"))
    one, other = (
        build_token_model(tmp_path, TINY, TOKENIZER, random_tensors(), card) for card in cards
    )
    assert one.manifest.fingerprint == other.manifest.fingerprint
    assert one.manifest.card_hash != other.manifest.card_hash


def infinite(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-2:] = np.array(np.inf, "<f2").tobytes()
    replace_weights(folder, bytes(content))


def huge(name, value):
    """Write a token model in which the first number of a tensor is this."""

    def change(folder):
        tensors = read_token_model(folder).tensors()
        tensors[name].flat[0] = value
        halves = {each: values.astype(np.float16) for each, values in tensors.items()}
        replace_weights(folder, safetensors.numpy.save(halves))

    return change


def other_header(folder):
    content = (folder / "model.safetensors").read_bytes()
    replace_weights(folder, content.replace(b'"usual"', b'"usuak"'))


def other_graph(folder):
    """Another number in the graph than in the weights."""
    path = folder / "network.onnx"
    content = bytearray(path.read_bytes())
    content[content.index(b"embed.kernel.half\x4a") - 5] ^= 1
    path.write_bytes(content)
    digest_of = sha256(content).hexdigest()
    rewrite(folder, lambda values: values.update(network=digest_of))


CHANGES = {
    "a byte of the weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-1] + b"\x01"
        ),
        "is not the file that the settings name",
    ),
    "fewer weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
        "bytes",
    ),
    "a number that is not finite": (infinite, "is not finite"),
    "impossible scores": (huge("scores", 6e4), "scores is not from -64 to 64"),
    "impossible frequencies": (huge("usual", 1), "usual is not from -64 to 0"),
    "another header": (other_header, "its header is not the one"),
    "another graph": (other_graph, "network.onnx does not fit its settings .* differs"),
    "an older ulmo": (
        lambda folder: rewrite(folder, lambda values: values.update(schema_version=1)),
        "older ulmo .*: train again",
    ),
    "another width": (
        lambda folder: rewrite(folder, lambda values: values["model"].update(width=10)),
        "bytes",
    ),
    "a width beyond bounds": (
        lambda folder: rewrite(folder, lambda values: values["model"].update(width=1 << 20)),
        "width",
    ),
    "a foreign file": (lambda folder: (folder / "run.py").write_text("1"), "'run.py', not part"),
    "a newer ulmo": (
        lambda folder: rewrite(folder, lambda values: values.update(schema_version=3)),
        "newer ulmo",
    ),
    "no JSON": (lambda folder: (folder / "lm.json").write_text("{"), "not JSON"),
    "no manifest": (lambda folder: (folder / "lm.json").unlink(), "is not a token model"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_folder_is_refused_in_one_line(name, folder):
    change, words = CHANGES[name]
    change(folder)
    with pytest.raises(UserError, match=words) as refused:
        read_token_model(folder)
    assert str(refused.value).isprintable()


def test_a_kill_between_the_two_moves_leaves_the_old_one(folder):
    folder.rename(folder.with_name(".lm.old"))
    assert read_token_model(folder).manifest.tokenizer == TOKENIZER


def test_a_folder_with_foreign_files_is_not_replaced(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"'notes\.txt', which is not ulmo's: move it away"):
        bundle_at(folder).write()


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_that_are_not_the_models_are_refused(change, tmp_path):
    tensors = random_tensors()
    if change == "missing":
        del tensors["norm"]
    elif change == "extra":
        tensors["more"] = tensors["norm"]
    else:
        tensors["norm"] = tensors["norm"][:-1]
    with pytest.raises(ValueError, match="not those that the settings give"):
        build_token_model(tmp_path, TINY, TOKENIZER, tensors, TokenModelCard())


def test_a_model_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="set a smaller width"):
        check_tensors_size(TokenModelSettings(width=1024, hidden=4096, blocks=32))


def test_the_one_that_ships_is_small_names_its_sources_and_fits_its_tokenizer(tmp_path):
    bundle = read_token_model(DEFAULT_LM)
    assert sum(path.stat().st_size for path in DEFAULT_LM.iterdir()) < 6_000_000
    assert bundle.manifest.tokenizer == load_tokenizer(threads=1).manifest.fingerprint
    card = bundle.manifest.card
    assert card.corpora
    assert all(corpus.name and corpus.licence for corpus in card.corpora)
    assert "Held out by the recipe" in card.notes
    shutil.copytree(DEFAULT_LM, tmp_path / "copy")
    assert read_token_model(tmp_path / "copy").manifest == bundle.manifest
