import json
import os
import shutil
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import pytest

import ulmo.bundle
from ulmo.bundle import MAX_BYTES, read_bundle
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.normalize import Normalization

MANIFEST, WEIGHTS, ENCODER = FILES = ("tokenizer.json", "model.safetensors", "encoder.onnx")
PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=8000, hop_length=64)


@pytest.fixture(scope="module")
def original(make_bundle, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tokenizer", PREP)


@pytest.fixture
def folder(original, tmp_path):
    """A bundle of this test's own."""
    return shutil.copytree(original, tmp_path / "tokenizer")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sealed(values):
    """A manifest whose fingerprint fits, whatever else it says."""
    rest = {name: value for name, value in values.items() if name != "fingerprint"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return {**rest, "fingerprint": sha256(text.encode()).hexdigest()}


def rewrite(folder, change, seal=sealed):
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(seal(values)))


def refused(folder, text):
    with pytest.raises(UserError, match=text) as caught:
        read_bundle(folder).weights()
    assert "\n" not in str(caught.value)


def test_round_trip(make_bundle, tmp_path):
    weights = {"b": np.ones((2, 3), np.float32), "a": np.array([np.pi], np.float32)}
    constants = Normalization(offset=-60.1, scale=0.1 + 0.2)
    folder = make_bundle(
        tmp_path / "x" / "tokenizer",
        PREP,
        contents={"weights": weights, "encoder": b"onnx", "normalization": constants},
        time_stride=4,
    )
    bundle = read_bundle(folder)
    assert (bundle.folder, bundle.encoder) == (folder, b"onnx")
    assert (bundle.manifest.prep, bundle.manifest.normalization) == (PREP, constants)
    assert (bundle.manifest.model.time_stride, bundle.manifest.model.codebook_size) == (4, 16)
    assert (bundle.manifest.vocabulary_size, bundle.manifest.special_tokens["<unk>"]) == (64, 16)
    assert bundle.manifest.card == {"trained on": "nothing"}
    read = bundle.weights()
    assert set(read) == {"a", "b"}
    for name, values in weights.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == np.float32


def test_golden_keys(original):
    assert sorted(contents(original)) == sorted(FILES)
    text = (original / MANIFEST).read_text()
    values = json.loads(text)
    assert text == json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    assert list(values) == [
        *("schema_version", "prep", "normalization", "model", "vocabulary_size"),
        *("special_tokens", "card", "hashes", "fingerprint"),
    ]
    assert values["schema_version"] == 1
    assert values["normalization"] == {"offset": -45.5, "scale": 17.25}
    assert list(values["prep"]) == list(PrepSettings.model_fields)
    assert values["hashes"] == {
        name: sha256((original / name).read_bytes()).hexdigest() for name in (WEIGHTS, ENCODER)
    }
    assert values["fingerprint"] == sealed(values)["fingerprint"]


def test_the_same_contents_give_the_same_bytes(original, make_bundle, tmp_path):
    assert contents(make_bundle(tmp_path / "tokenizer", PREP)) == contents(original)


def test_a_bundle_takes_the_place_of_another(original, folder, make_bundle):
    (folder / "left over").write_text("by someone")
    make_bundle(folder, PREP, seed=1)
    assert sorted(contents(folder)) == sorted(FILES)
    read = read_bundle(folder)
    assert read.manifest.fingerprint != read_bundle(original).manifest.fingerprint
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", FILES)
def test_an_error_while_writing_leaves_the_old_bundle(name, folder, make_bundle, monkeypatch):
    publish = ulmo.bundle.publish

    @contextmanager
    def failing(path):
        with publish(path) as file:
            if path.name == name:
                file.write(b"the beginning")
                raise OSError("no space left")
            yield file

    before = contents(folder)
    monkeypatch.setattr(ulmo.bundle, "publish", failing)
    with pytest.raises(OSError, match="no space left"):
        make_bundle(folder, PREP, seed=1)
    assert contents(folder) == before
    monkeypatch.undo()
    make_bundle(folder, PREP, seed=1)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(name, folder):
    (folder / name).unlink()
    refused(folder, f"{name}.* is missing|has no {name}")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "nowhere is no tokenizer: it has no tokenizer.json")


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_file_with_one_byte_changed_is_refused(name, place, folder):
    content = bytearray((folder / name).read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, f"{name} is not the file that tokenizer.json speaks of")


def test_a_manifest_with_any_byte_changed_is_refused_or_means_the_same(folder):
    content = (folder / MANIFEST).read_bytes()
    expected = read_bundle(folder).manifest
    harmless = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        (folder / MANIFEST).write_bytes(changed)
        try:
            manifest = read_bundle(folder).manifest
        except UserError:
            continue
        assert manifest == expected
        harmless += 1
    assert harmless < 0.01 * len(content)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"schema_version": 2}, "newer ulmo .*2.*upgrade", id="newer schema"),
        pytest.param({"schema_version": 0}, "schema_version = 0", id="schema 0"),
        pytest.param({"schema_version": "1"}, "schema_version = '1'", id="schema as text"),
        pytest.param({"extra": 1}, "unknown setting 'extra'", id="unknown key"),
        pytest.param({"model.extra": 1}, "unknown setting 'model.extra'", id="unknown setting"),
        pytest.param({"vocabulary_size": 128}, "vocabulary does not fit", id="vocabulary size"),
        pytest.param(
            {"special_tokens.<pad>": 18, "special_tokens.<bos>": 17},
            "vocabulary does not fit",
            id="tokens swapped",
        ),
        pytest.param({"special_tokens.<sep>": 22}, "vocabulary does not fit", id="a token more"),
        pytest.param({"model.codebook_size": 64}, "vocabulary does not fit", id="codebook"),
        pytest.param({"prep.tile_size": 64}, "different tile sizes", id="tile sizes"),
        pytest.param({"normalization": None}, "constants do not fit the mode", id="no constants"),
        pytest.param(
            {"prep.normalization": "tile"}, "constants do not fit the mode", id="other mode"
        ),
        pytest.param({"card.long": "x" * 4097}, "card.long", id="long card"),
        pytest.param({f"card.{i}": "" for i in range(64)}, "card = ", id="many cards"),
        pytest.param({"hashes.encoder.onnx": "0" * 63}, "hashes", id="short hash"),
        pytest.param({"hashes": {}}, "is not the file", id="no hashes"),
        pytest.param({"prep.frontend": "../x"}, "prep.frontend", id="front end"),
        pytest.param({"normalization.scale": 0}, "normalization.scale", id="no scale"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change, text, folder):
    def apply(values):
        for path, value in change.items():
            table, _, key = path.partition(".")
            inner = values[table] if key else values
            inner[key or table] = value

    rewrite(folder, apply)
    refused(folder, text)


def test_a_kill_between_the_two_moves_costs_neither_bundle(folder, make_bundle):
    before = contents(folder)
    old = folder.with_name(f".{folder.name}.old")
    folder.rename(old)
    with pytest.raises(ValueError, match="at most 4096"):
        make_bundle(folder, PREP, contents={"card": {"x" * 5000: "too long"}})
    assert {name: (old / name).read_bytes() for name in before} == before
    make_bundle(folder, PREP, seed=1)
    assert contents(folder) != before
    assert not old.exists()


def test_a_manifest_that_was_edited_is_refused(folder):
    rewrite(folder, lambda values: values["prep"].update(hop_length=65), seal=lambda values: values)
    refused(folder, "the fingerprint does not fit the contents")
    rewrite(folder, lambda values: None)
    assert read_bundle(folder).manifest.prep.hop_length == 65


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no JSON", id="text"),
        pytest.param(b"\xff\xfe\0", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="deep lists"),
        pytest.param(b'{"a":' * 100_000, id="deep tables"),
        pytest.param(b"1" * 5000, id="a long number"),
    ],
)
def test_a_manifest_that_is_not_json_is_refused(content, folder):
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "tokenizer.json is not JSON")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{}"])
def test_a_manifest_of_another_kind_is_refused(content, folder):
    (folder / MANIFEST).write_text(content)
    refused(folder, "tokenizer.json is damaged")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_manifest_with_numbers_that_are_none_is_refused(number, folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("-45.5", number))
    refused(folder, r"normalization\.offset = ")


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER])
def test_a_file_over_its_size_is_refused(name, folder, monkeypatch):
    size = (folder / name).stat().st_size
    monkeypatch.setitem(MAX_BYTES, name, size)
    read_bundle(folder).weights()
    monkeypatch.setitem(MAX_BYTES, name, size - 1)
    refused(folder, f"{name} is larger than {size - 1} bytes")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_plain_file_is_refused(name, kind, folder, tmp_path):
    kept = (folder / name).rename(tmp_path / name)
    match kind:
        case "link":
            (folder / name).symlink_to(kept)
        case "folder":
            (folder / name).mkdir()
        case "pipe":
            os.mkfifo(folder / name)
    refused(folder, f"{name} is (missing, or )?no plain file|has no {name}")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_weights_that_are_none_are_refused(content, folder):
    (folder / WEIGHTS).write_bytes(content)
    rewrite(folder, lambda v: v["hashes"].update({WEIGHTS: sha256(content).hexdigest()}))
    refused(folder, "model.safetensors is damaged")
