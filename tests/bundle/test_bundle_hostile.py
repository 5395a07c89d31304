"""Malicious bundles are refused in one line, with little time and memory."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bundles import ENCODER, FILES, MANIFEST, WEIGHTS, refusal, replace, rewrite
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.graph import encoder_size
from ulmo.bundle.manifest import BundleManifest
from ulmo.bundle.weights import check_size, count_bytes, weight_shapes, weights_size
from ulmo.config import ModelSettings, PrepSettings, UserError

PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=8000, hop_length=64)


@pytest.fixture(scope="module")
def original(make_bundle, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tokenizer", PREP)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tokenizer")


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
        pytest.param(b"[" * 60_000, id="deep lists"),
        pytest.param(b'{"a":' * 10_000, id="deep tables"),
        pytest.param(b"[" * 900 + b"]" * 900, id="lists that json can read"),
        pytest.param(b"1" * 60_000, id="a long number"),
        pytest.param(b"[" + b"{}," * 20_000 + b"{}]", id="many tables"),
        pytest.param(b'{"schema_version": 1, "schema_version": 1}', id="a key twice"),
        *(pytest.param(text, id=text.decode()) for text in (b"[]", b"null", b"3", b'"t"', b"{}")),
        pytest.param(b"{" + b",".join(b'"%d":0' % i for i in range(8000)) + b"}", id="many keys"),
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


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def leaves(table, path=()):
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


@given(data=st.data(), value=values)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_in_any_place_is_refused_or_means_the_same(data, value, original, shared):
    manifest = json.loads((original / MANIFEST).read_text())
    path = data.draw(st.sampled_from(list(leaves(manifest))))
    inner = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (shared / MANIFEST).write_text(json.dumps(manifest))
    if refusal(shared) is None:
        assert read_bundle(shared).manifest == read_bundle(original).manifest


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
    check_size(ModelSettings(tile_size=2048))
    with pytest.raises(ValueError, match=r"\d+ MiB of weights.*set a smaller width"):
        check_size(ModelSettings(width=2048, encoder_layers=4, frequency_stride=32))
    with pytest.raises(ValueError, match=r"4\.0 GiB inside the model.*set larger strides"):
        check_size(ModelSettings(tile_size=2048, frequency_stride=2, time_stride=1, width=512))
    assert count_bytes(weight_shapes(ModelSettings())) == 4_021_440


SCRIPT = """
import resource, sys, time
from pathlib import Path
from ulmo.bundle.bundle import read_bundle
from ulmo.config import UserError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

idle, began = peak(), time.process_time()
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (50 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
try:
    read_bundle(Path(sys.argv[1]))
    print("read")
except UserError as error:
    print(error)
print(time.process_time() - began, (peak() - idle) / 1024)
"""


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)


def large_model(folder):
    """600 MB, all of them present and none of them right."""
    prep = PrepSettings(tile_size=32)
    model = ModelSettings(tile_size=32, width=2000, encoder_layers=3, decoder_layers=3)

    def apply(values):
        values["prep"] = prep.model_dump(mode="json")
        values["model"] = model.model_dump(mode="json")
        values["vocabulary_size"] = 576
        names = list(values["special_tokens"])
        values["special_tokens"] = {name: 512 + place for place, name in enumerate(names)}

    rewrite(folder, apply)
    assert weights_size(model) > 300_000_000
    sparse(folder / ENCODER, encoder_size(model))
    sparse(folder / WEIGHTS, weights_size(model))


ATTACKS = {
    "manifest of 2 GB": lambda folder: sparse(folder / MANIFEST, 2 << 30),
    "weights of 2 GB": lambda folder: sparse(folder / WEIGHTS, 2 << 30),
    "encoder of 2 TB": lambda folder: sparse(folder / ENCODER, 2 << 40),
    "large model": large_model,
    "many tables": lambda folder: (folder / MANIFEST).write_bytes(
        b'{"special_tokens":{' + b",".join(b'"%d":{}' % i for i in range(6000)) + b"}}"
    ),
    "deep lists": lambda folder: (folder / MANIFEST).write_bytes(b"[" * 65_000),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("attack", ["nothing", *ATTACKS])
def test_time_and_memory_are_bounded(attack, folder):
    """The system limits the address space to 50 MB above the idle process."""
    ATTACKS.get(attack, lambda folder: None)(folder)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    line, measured = done.stdout.splitlines()
    assert (line == "read") is (attack == "nothing")
    assert "tokenizer" in line or attack == "nothing"
    seconds, megabytes = map(float, measured.split())
    print(f"{attack}: {seconds:.3f} s, {megabytes:.1f} MB: {line}")
    assert megabytes < 50
    assert seconds < 5  # at most 0.7 s, of the large model, where it was written


def test_the_manifest_is_closed():
    """Every table refuses unknown keys."""
    schema = BundleManifest.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables)


def test_refusals_are_user_errors(folder):
    (folder / MANIFEST).write_text("{")
    with pytest.raises(UserError, match="is not JSON: copy the bundle again"):
        read_bundle(folder)
