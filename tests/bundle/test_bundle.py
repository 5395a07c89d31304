import os
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.bundles import (
    ENCODER,
    FILES,
    MANIFEST,
    PREP,
    WEIGHTS,
    contents,
    refusal,
    replace,
    rewrite,
)
from ulmo.bundle import bundle as bundle_module
from ulmo.bundle.bundle import build_bundle, read_bundle, write_bundle
from ulmo.bundle.card import Card, Corpus, Figures, Training, Versions
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings, PrepSettings
from ulmo.preprocessing.normalize import Normalization

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer.json"
CARD = Card(
    corpora=(Corpus(name="Rain", licence="CC0-1.0", recordings=3, hours=0.25),),
    training=Training(steps=200, epochs=40, tiles=94, tiles_fingerprint="0" * 64, seed=4),
    figures=Figures(
        tokens=1000,
        sound_tokens=800,
        reconstruction=0.125,
        reconstruction_db=40.5,
        sound_reconstruction_db=None,
        usage=0.75,
        entropy=0.5,
        sound_usage=0.5,
        sound_entropy=0.25,
    ),
    versions=Versions(ulmo="0.1.0", tensorflow="2.21.0", keras="3.15.1"),
    notes="Made for a test: größe.",
)


def refused(folder, text):
    line = refusal(folder)
    assert line is not None
    assert re.search(text, line), line


def golden_parts():
    """Parts whose numbers are exact on any machine and with any numpy."""
    model = ModelSettings(
        **{"tile_size": 8, "width": 2, "codebook_size": 4, "embedding_dim": 3},
        **{"encoder_layers": 2, "decoder_layers": 1, "frequency_stride": 4, "time_stride": 2},
    )
    weights = {}
    for name, shape in weight_shapes(model).items():
        ramp = np.arange(np.prod(shape)) * 37 % 101 - 50
        weights[name] = (ramp / 64).astype(np.float32).reshape(shape)
    return {
        "prep": PrepSettings(frontend="stft", tile_size=8, sample_rate=8000, fmin=0.5),
        "normalization": Normalization(offset=-60.1, scale=0.1 + 0.2),
        "model": model,
        "weights": weights,
        "thresholds": np.arange(16, dtype=np.float32).reshape(4, 4) / 64,
        "card": CARD,
    }


def test_golden_manifest_and_with_it_the_hashes_of_all_files():
    """Other bytes need a new schema version, because a reader builds encoder.onnx and compares."""
    built = build_bundle(**golden_parts())
    assert built.files[MANIFEST] == GOLDEN.read_bytes()
    assert {name: built.manifest.hashes[name] for name in (WEIGHTS, ENCODER)} == {
        name: sha256(built.files[name]).hexdigest() for name in (WEIGHTS, ENCODER)
    }


def test_round_trip(tmp_path):
    parts = golden_parts()
    write_bundle(tmp_path / "x" / "tokenizer", build_bundle(**parts))
    bundle = read_bundle(tmp_path / "x" / "tokenizer")
    assert bundle.place == tmp_path / "x" / "tokenizer"
    for name in ("prep", "normalization", "model", "card"):
        assert getattr(bundle.manifest, name) == parts[name]
    assert bundle.manifest.special_tokens["<unk>"] == 4
    assert bundle.encoder == (bundle.place / ENCODER).read_bytes()
    read = bundle.weights()
    assert list(read) == list(weight_shapes(parts["model"]))
    for name, values in parts["weights"].items():
        np.testing.assert_array_equal(read[name], values)
    np.testing.assert_array_equal(bundle.thresholds(), parts["thresholds"])


def test_a_corrected_card_is_the_same_tokenizer_and_nothing_else_is():
    parts = golden_parts()
    first = build_bundle(**parts).manifest
    other = build_bundle(**{**parts, "card": Card()}).manifest
    assert other.fingerprint == first.fingerprint
    assert other.card_hash != first.card_hash
    codebook = parts["weights"]["codebook"].copy()
    codebook[0, 0] += 1
    for changed in (
        {"prep": parts["prep"].model_copy(update={"hop_length": 161})},
        {"normalization": Normalization(offset=-60.1, scale=0.3)},
        {"model": parts["model"].model_copy(update={"ema_coeff": 0.9})},
        {"weights": {**parts["weights"], "codebook": codebook}},
        {"thresholds": parts["thresholds"] + 1},
    ):
        assert build_bundle(**{**parts, **changed}).manifest.fingerprint != first.fingerprint


def test_the_same_contents_give_the_same_bytes(original, make_bundle, tmp_path):
    assert contents(make_bundle(tmp_path / "tokenizer", PREP)) == contents(original)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(name, folder):
    (folder / name).unlink()
    refused(folder, f"{name}.* is missing: copy the bundle|has no {name}; give a folder")


def test_what_is_no_bundle_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "nowhere is not a tokenizer: it has no tokenizer.json")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "file is a file: give the folder")


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_file_with_one_byte_changed_is_refused(name, place, folder):
    content = bytearray((folder / name).read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, f"{name} is not the file that the settings name")


def test_a_manifest_with_any_byte_changed_is_refused_or_means_the_same(folder):
    content = (folder / MANIFEST).read_bytes()
    expected = read_bundle(folder).manifest
    harmless = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        (folder / MANIFEST).write_bytes(changed)
        if refusal(folder) is None:
            assert read_bundle(folder).manifest == expected
            harmless += 1
    assert harmless < 0.02 * len(content)


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"x"])
def test_another_size_is_refused_before_anything_is_read(name, change, folder, monkeypatch):
    replace(folder, name, change((folder / name).read_bytes()))
    monkeypatch.setattr(bundle_module, "read_hashed", None)
    refused(folder, rf"{name} has \d+ bytes, not \d+: copy")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "socket"])
def test_what_is_no_plain_file_is_refused(name, kind, folder, tmp_path):
    kept = (folder / name).rename(tmp_path / name)
    match kind:
        case "link":
            (folder / name).symlink_to(kept)
        case "folder":
            (folder / name).mkdir()
        case "pipe":
            os.mkfifo(folder / name)
        case "socket":
            os.mknod(folder / name, 0o140600)
    refused(folder, f"{name} is no plain file|has no {name}|the link '{name}'.*cp -RL")


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    assert read_bundle(tmp_path / "latest").manifest == read_bundle(folder).manifest


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("README.md", True),
        ("LICENSE", True),
        ("citation.cff", True),
        (".gitattributes", True),
        ("model.py", False),
        ("encoder.onnx.data", False),
        ("README.py", False),
        ("left\nover", False),
    ],
)
def test_what_may_lie_beside(name, allowed, folder):
    (folder / name).write_text("by someone")
    assert (refusal(folder) is None) is allowed
    if allowed:
        (folder / name).unlink()
        (folder / name).symlink_to(folder.parent)
        refused(folder, "holds the link")
    else:
        refused(folder, "not part of a tokenizer: move it away")


def custom_operator(graph):
    node = next(node for node in graph.graph.node if node.op_type == "Relu")
    node.op_type = "Evil"


def other_domain(graph):
    graph.opset_import[0].version = 16


def other_output(graph):
    graph.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT32


def other_weight(graph):
    graph.graph.initializer[0].raw_data = bytes(len(graph.graph.initializer[0].raw_data))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (custom_operator, r"operator relu_\d"),
        (other_domain, "the operator set"),
        (other_output, "the shape of ids"),
        (other_weight, r"constant encoder\.conv_0\.kernel"),
    ],
)
def test_a_graph_of_the_right_size_that_is_another_is_refused(change, what, folder):
    graph = onnx.load(folder / ENCODER)
    change(graph)
    replace(folder, ENCODER, graph.SerializeToString(deterministic=True))
    refused(folder, rf"does not fit its settings and weights \({what} differs\)")


def test_an_encoder_of_other_weights_is_refused(folder, make_bundle, tmp_path):
    other = make_bundle(tmp_path / "other", PREP, seed=1)
    replace(folder, WEIGHTS, (other / WEIGHTS).read_bytes())
    refused(folder, r"\(constant encoder\.conv_0\.kernel differs\)")
    replace(folder, ENCODER, (other / ENCODER).read_bytes())
    assert read_bundle(folder).manifest == read_bundle(other).manifest


def test_another_header_of_the_same_length_is_refused(folder):
    content = (folder / WEIGHTS).read_bytes()
    for old, new in ((b'"F32"', b'"I32"'), (b"codebook", b"codebool"), (b"[0,", b"[4,")):
        replace(folder, WEIGHTS, content.replace(old, new, 1))
        refused(folder, "its header is not the one that the settings give")


def test_weights_that_change_while_they_are_read_are_not_used(folder, monkeypatch):
    """The bytes in use are those that were hashed."""
    check_length = bundle_module.check_length

    def changing(path, size, **options):
        check_length(path, size, **options)
        path.write_bytes(bytes(size))

    monkeypatch.setattr(bundle_module, "check_length", changing)
    refused(folder, "is not the file")


def test_a_manifest_that_was_edited_is_refused(folder):
    def edit(values):
        values["prep"].update(hop_length=65)

    rewrite(folder, edit, seal=lambda values: values)
    refused(folder, "the fingerprint does not fit the contents")
    rewrite(folder, edit)
    assert read_bundle(folder).manifest.prep.hop_length == 65
    rewrite(folder, lambda values: values["card"].update(notes="?"), seal=lambda values: values)
    refused(folder, "card_hash does not fit the card")
