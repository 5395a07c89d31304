"""Malicious bundles are refused in one line; tests/test_hostile.py bounds time and memory."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bundles import ENCODER, FILES, MANIFEST, WEIGHTS, refusal, replace, rewrite
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.manifest import BundleManifest
from ulmo.bundle.weights import check_size, count_bytes, weight_shapes
from ulmo.config import ModelSettings


@pytest.fixture(scope="module")
def shared(original, tmp_path_factory):
    """A bundle that hypothesis damages repeatedly."""
    return shutil.copytree(original, tmp_path_factory.mktemp("shared") / "tokenizer")


def put(values, path, value):
    *tables, key = path.split("/")
    for table in tables:
        values = values[table]
    values[key] = value


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema_version": 3}, "newer ulmo .*3.*upgrade"),
        ({"schema_version": 1}, "older ulmo .*1.*train again"),
        ({"schema_version": 10**50}, r"newer ulmo \(schema 1000.*\): upgrade"),
        ({"schema_version": 0}, "schema_version = 0"),
        ({"schema_version": "2"}, "schema_version = '2'"),
        ({"schema_version": True}, "schema_version = True"),
        ({"schema_version": 2.0}, "schema_version = 2.0"),
        ({"extra": 1}, "unknown setting 'extra'"),
        ({"model/extra": 1}, "unknown setting 'model.extra'"),
        ({"a\x1b[2J\nb": 1}, r"unknown setting 'a\\x1b\[2J\\nb'"),
        ({"vocabulary_size": 128}, "vocabulary does not fit"),
        ({"vocabulary_size": 64.0}, "vocabulary_size = 64.0"),
        ({"special_tokens/<pad>": 18, "special_tokens/<bos>": 17}, "vocabulary does not fit"),
        ({"special_tokens/<sep>": 22}, "vocabulary does not fit"),
        ({"model/codebook_size": 64}, "vocabulary does not fit"),
        ({"model/codebook_size": "16"}, "model.codebook_size = '16'"),
        ({"model/width": True}, "model.width = True"),
        ({"prep/tile_size": 64}, "different tile sizes"),
        ({"normalization": None}, "constants do not fit the mode"),
        ({"prep/normalization": "tile"}, "constants do not fit the mode"),
        ({"normalization/scale": 0}, "normalization.scale"),
        ({"normalization/scale": 10**400}, "normalization.scale"),
        ({"prep/frontend": "../x"}, "prep.frontend"),
        ({"hashes/encoder.onnx": "0" * 63}, "hashes.encoder.onnx"),
        ({"hashes": {}}, "hashes must be of"),
        ({"hashes/../../etc/passwd": "0" * 64}, "hashes must be of"),
        ({"card/notes": "x" * 4097}, "card.notes"),
        ({"card/notes": "\x1b]0;title\x07"}, r"card.notes = '\\x1b"),
        ({"card/notes": "\u202egnp.exe"}, r"card.notes = '\\u202e"),
        ({"card/notes": "\ud800"}, "json"),
        ({"card/corpora": [{}] * 65}, "card.corpora"),
        ({"model/width": 2048, "model/encoder_layers": 8}, "MiB of weights, over the limit"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change, text, folder):
    def apply(values):
        for path, value in change.items():
            if path.startswith("hashes/"):
                values["hashes"][path.removeprefix("hashes/")] = value
            else:
                put(values, path, value)

    rewrite(folder, apply)
    line = refusal(folder)
    assert line is not None
    assert re.search(text, line), line


def test_every_setting_must_stand_there(folder):
    """Otherwise this version's default would apply, although the fingerprint fits."""
    rewrite(folder, lambda values: values["prep"].update(hop_length=160))
    assert refusal(folder) is None

    def leave_out(values):
        del values["prep"]["hop_length"]

    rewrite(folder, leave_out, seal=lambda values: values)
    assert "is damaged (settings are missing): copy" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no JSON", id="text"),
        pytest.param(b"\xff\xfe\0", id="no UTF-8"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b"[" * 900 + b"]" * 900, id="lists that json can read"),
        *(pytest.param(text, id=text.decode()) for text in (b"[]", b"null", b"3", b'"t"', b"{}")),
        pytest.param(b" " * (1 << 16) + b"{}", id="long"),
    ],
)
def test_a_manifest_that_is_none_is_refused(content, folder):
    (folder / MANIFEST).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / MANIFEST} is ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_manifest_with_numbers_that_are_none_is_refused(number, folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("-40.5", number))
    assert "normalization.offset = " in refusal(folder)


@st.composite
def damage(draw, content):
    """Change, insert, remove or cut off bytes."""
    place = draw(st.integers(0, len(content) - 1))
    piece = draw(st.binary(min_size=1, max_size=8))
    kept = draw(st.sampled_from([place, place + len(piece), place + draw(st.integers(1, 64))]))
    return content[:place] + piece * draw(st.integers(0, 1)) + content[kept:]


@pytest.mark.parametrize("name", [WEIGHTS, ENCODER])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_under_a_hash_that_fits_is_refused(name, data, original, shared):
    """Other decoder weights are valid: they make another tokenizer."""
    for file in FILES:
        shutil.copyfile(original / file, shared / file)
    content = (original / name).read_bytes()
    damaged = data.draw(damage(content))
    replace(shared, name, damaged)
    if refusal(shared) is None:
        changed, kept = read_bundle(shared), read_bundle(original)
        same = damaged == content
        assert (changed.manifest.fingerprint == kept.manifest.fingerprint) is same
        assert changed.encoder == kept.encoder
        assert all(
            np.array_equal(values, kept.weights()[weight])
            for weight, values in changed.weights().items()
            if same or not weight.startswith("decoder")
        )


def test_the_bounds_of_settings():
    check_size(ModelSettings())
    with pytest.raises(ValueError, match=r"\d+ MiB of weights.*set a smaller width"):
        check_size(ModelSettings(width=2048, encoder_layers=4, frequency_stride=32))
    assert count_bytes(weight_shapes(ModelSettings())) == 4_021_440


def test_the_manifest_is_closed():
    """Every table refuses unknown keys."""
    schema = BundleManifest.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables)
