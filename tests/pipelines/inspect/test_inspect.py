"""ulmo inspect, beside what loops and the real graphs say."""

import json
import math
from functools import partial

import numpy as np
import onnx
import pytest

from tests.bundles import ENCODER, MANIFEST, PREP, rewrite
from tests.commands import assert_refused, run
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.card import Card, Corpus
from ulmo.cli.main import ulmo
from ulmo.config import ModelSettings, PrepSettings, UserError
from ulmo.pipelines.inspect import inspect as module
from ulmo.pipelines.inspect.inspect import as_json, describe_codebook, inspect_bundle
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.reports import inspect as inspect_report
from ulmo.reports.inspect import NORMALIZATION_WORDS, inspection

show = partial(run, ulmo, "inspect")


@pytest.fixture(scope="module")
def folder(make_bundle, tmp_path_factory):
    place = tmp_path_factory.mktemp("bundles") / "tokenizer"
    return make_bundle(place, PREP, frequency_stride=8, time_stride=4)


def test_facts_of_time_and_frequency(folder):
    facts = inspect_bundle(folder)
    front, grid = facts.front_end, facts.grid
    assert (front["frame_ms"], front["tile_s"], front["centres_hz"]) == (8, 0.256, [125, 4000])
    assert (grid["bands"], grid["column_ms"], grid["tokens_per_second"]) == (4, 32, 125)
    assert grid["bits_per_second"] == 500
    assert grid["edges_hz"] == [62.5, 1062.5, 2062.5, 3062.5, 4062.5]


def test_the_receptive_field_is_that_of_the_graph(folder):
    """Frames whose change changes the distance of one column, found by changing each."""
    import onnxruntime

    session = onnxruntime.InferenceSession(read_bundle(folder).encoder)
    rng = np.random.default_rng(0)
    tiles = rng.normal(size=(1, 32, 80, 1)).astype(np.float32)
    expected = session.run(["distances"], {"tiles": tiles})[0][0, 10]
    seen = []
    for frame in range(80):
        changed = tiles.copy()
        changed[:, :, frame] += rng.normal(size=(32, 1)).astype(np.float32)
        if not np.array_equal(session.run(["distances"], {"tiles": changed})[0][0, 10], expected):
            seen.append(frame)
    model = inspect_bundle(folder).model
    assert model["receptive_field_ms"] == 8 * (seen[-1] - seen[0] + 1)
    assert model["context_ms"] == [8 * (40 - seen[0]), 8 * (seen[-1] - 43)]


def test_the_plan_is_that_of_the_graph(folder):
    graph = onnx.load(folder / ENCODER).graph
    layers = [node for node in graph.node if node.op_type == "Conv"][:-1]
    kernels = {entry.name: entry.dims for entry in graph.initializer}
    strides = [onnx.helper.get_node_attr_value(node, "strides") for node in layers]
    model = inspect_bundle(folder).model
    assert [layer["stride"] for layer in model["encoder"]] == strides
    assert [layer["channels"] for layer in model["encoder"]] == [
        kernels[node.input[1]][0] for node in layers
    ]
    weights = read_bundle(folder).weights()
    assert model["parameters"] == sum(values.size for values in weights.values())
    assert math.prod(layer["stride"][0] for layer in model["decoder"]) == 8
    assert math.prod(layer["stride"][1] for layer in model["decoder"]) == 4
    for index, layer in enumerate(model["decoder"][:-1]):
        assert layer["channels"] == len(weights[f"decoder.layer_{index}.bias"])


@pytest.mark.parametrize("chunk", [512, 3])
def test_the_codebook_beside_loops(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    codebook = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    codebook[7], codebook[9], codebook[20] = codebook[3], codebook[3], codebook[4]
    codebook[4, 0], codebook[20, 0] = 0.0, -0.0
    thresholds = np.random.default_rng(1).random((40, 4)).astype(np.float32)
    facts = describe_codebook(ModelSettings(), codebook, thresholds)
    assert [level["quantile"] for level in facts["unk"]] == [0.9, 0.95, 0.99, 0.999]
    for level, column in zip(facts["unk"], thresholds.T.tolist(), strict=True):
        assert level["median"] == pytest.approx(sum(sorted(column)[19:21]) / 2)
    nearest = [
        min(math.dist(code, other) for j, other in enumerate(codebook.tolist()) if j != i)
        for i, code in enumerate(codebook.tolist())
    ]
    norms = [math.hypot(*code) for code in codebook.tolist()]
    for found, values in ((facts["nearest"], nearest), (facts["norm"], norms)):
        spread = {"least": min(values), "median": np.median(values), "most": max(values)}
        assert found == pytest.approx(spread)
    assert (facts["size"], facts["compared"], facts["duplicates"]) == (40, 40, 3)
    assert facts["latent_norm"] == pytest.approx(3**0.5)


def test_a_large_codebook_is_compared_in_part(monkeypatch):
    monkeypatch.setattr(module, "_COMPARED_CODES", 10)
    codebook = np.arange(100, dtype=np.float32)[:, None] ** 2
    facts = describe_codebook(ModelSettings(), codebook, np.zeros((100, 4), np.float32))
    assert facts["compared"] == 10
    assert (facts["nearest"]["least"], facts["nearest"]["most"]) == (1, 99**2 - 98**2)


@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("mode", NORMALIZATION_WORDS)
def test_every_kind_is_shown_on_80_columns(frontend, mode, make_bundle, tmp_path):
    prep = PrepSettings(
        frontend=frontend, tile_size=32, hop_length=40, fmin=200, normalization=mode
    )
    lines = inspection(inspect_bundle(make_bundle(tmp_path / "tokenizer", prep))).splitlines()
    text = "\n".join(lines)
    assert len(lines) <= 60
    assert max(map(len, lines[1:])) <= 80
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
    assert f"{frontend}: {FRONTENDS[frontend].words}" in text
    scales = [words for words in ("17.25 dB", "0.5", "15.75 dB") if f"scale {words}\n" in text]
    assert scales == {"corpus": ["17.25 dB"], "pcen": ["0.5"], "level": ["15.75 dB"]}.get(mode, [])
    assert ("clipped 80 dB below the tracked level" in text) is (mode == "level")
    low = build_frontend(prep).frequencies[0]
    assert f"centred on {low:.0f} Hz" in text or f"centred on {low:.3g} Hz" in text
    assert ("fmin 200" in text) is ("fmin" in FRONTENDS[frontend].settings)


def test_the_words_cover_the_tables():
    modes = PrepSettings.model_fields["normalization"].annotation.__args__
    assert list(NORMALIZATION_WORDS) == list(modes)


def test_text(folder):
    done = show(folder)
    manifest = read_bundle(folder).manifest
    assert done.exit_code == 0
    for expected in (
        manifest.fingerprint,
        "<unk> 16, <pad> 17, <bos> 18, <eos> 19, <mask> 20, <gap> 21",
        "125 tokens/s, 500 bits/s (4 bits a token)",
        "strides 4x4, 2x1, 1x1, 1x1 (bins x frames); channels 4, 8, 8, 8",
        manifest.hashes["encoder.onnx"][:12],
        f"{(folder / ENCODER).stat().st_size:,} bytes",
        "Trained on nothing.",
    ):
        assert expected in done.stdout


def test_a_card_of_many_corpora_and_long_notes_stays_short(make_bundle, tmp_path):
    corpora = tuple(
        Corpus(name=f"Corpus {i}", licence=None, recordings=i, hours=i / 40) for i in range(64)
    )
    contents = {"card": Card(corpora=corpora, notes="long " * 800)}
    text = show(make_bundle(tmp_path / "tokenizer", PREP, contents=contents)).stdout
    assert "Corpus 1: 1 recording, 1.5 minutes, licence not stated" in text
    assert "and 56 more corpora: --json shows them" in text
    assert len(text.splitlines()) <= 64


def test_json_is_strict_and_complete(folder):
    done = show(folder, "--json")
    values = json.loads(done.stdout, parse_constant=pytest.fail)
    head = {"schema_version": 1, "command": "inspect", "exit_status": 0}
    assert values == head | json.loads(json.dumps(as_json(inspect_bundle(folder))))
    assert values["manifest"] == json.loads((folder / MANIFEST).read_text())
    assert values["grid"]["tokens_per_second"] == 125
    assert values["model"]["encoder"][0] == {"stride": [4, 4], "channels": 4}
    assert [file["name"] for file in values["files"]] == [
        *("tokenizer.json", "model.safetensors", "encoder.onnx")
    ]


def test_what_is_refused_is_one_line_and_status_2(folder, tmp_path, make_bundle):
    done = show(tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"ulmo: {tmp_path} is not a tokenizer: it has no tokenizer.json; give a folder with one\n"
    )
    folder = make_bundle(tmp_path / "tokenizer", PREP)
    assert f"give {folder}\n" in show(tmp_path).stderr
    rewrite(folder, lambda values: values.update(schema_version=9))
    assert_refused(show(folder, "--json"), "newer ulmo (schema 9): upgrade ulmo")


@pytest.mark.parametrize(
    "change", [{"frontend": "none"}, {"frontend": "cqt", "bins_per_octave": 1, "tile_size": 2048}]
)
def test_a_front_end_that_cannot_be_built_is_refused(change, make_bundle, tmp_path):
    folder = make_bundle(tmp_path / "tokenizer", PREP.model_copy(update=change))
    with pytest.raises(UserError, match="no front end meets its settings"):
        inspect_bundle(folder)
    done = show(folder)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_lines_are_not_broken_inside_a_pair():
    text = ", ".join(f"<{i}>{inspect_report.GLUE}{i}" for i in range(100))
    lines = inspect_report._row("label", text)
    assert all(line.rstrip(",").split()[-1].isdigit() for line in lines)
