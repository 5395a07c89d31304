import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.bundles import run_graph
from tests.oracles import codebook_figures, reconstruction_figures, sound_tokens
from tests.outputs import write_table
from tests.sealed import hashes_of
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.graph import decoder_graph
from ulmo.config import PrepSettings, TrainSettings, UserError
from ulmo.dataset import split_by_recording
from ulmo.evaluation.codebook import CodebookHealth
from ulmo.evaluation.silence import FLOOR_MARGIN_DB, SILENCE_DB
from ulmo.evaluation.tally import Metrics
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.store import TileStore
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.run_manifest import RunManifest
from ulmo.storage.sealed import json_values, write_sealed

STRIDES = (12, 5)
"""Neither divides the tiles' 32 bins and frames."""
FRACTION, SEED = 0.3, 3
NAN = float("nan")

pytestmark = pytest.mark.usefixtures("no_pixels")


@pytest.fixture(scope="module")
def store(tiny_tiles):
    return TileStore(tiny_tiles)


def write_run(folder, store, *, fraction=FRACTION, fingerprint=None):
    """What ulmo-train leaves, as far as it is read here."""
    manifest = RunManifest(
        model=read_bundle(folder / "tokenizer").manifest.model,
        train=TrainSettings(validation_fraction=fraction, seed=SEED),
        tiles="somewhere",
        tiles_fingerprint=fingerprint or store.manifest.fingerprint,
        versions={},
    )
    write_sealed(folder / "train.json", manifest)


@pytest.fixture(scope="module")
def tokenizer_folder(store, make_bundle, tmp_path_factory):
    return make_bundle(
        tmp_path_factory.mktemp("bundle") / "tokenizer",
        store.manifest.settings,
        contents={"normalization": store.manifest.normalization},
        frequency_stride=STRIDES[0],
        time_stride=STRIDES[1],
    )


@pytest.fixture
def run_dir(store, tokenizer_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tokenizer_folder, folder / "tokenizer")
    write_run(folder, store)
    return folder


def expected_figures(run_dir, store, rows):
    """The figures of some tiles by loops, with the bundle's two graphs run by hand."""
    bundle = read_bundle(run_dir / "tokenizer")
    tiles, valid = store.read(rows), store.valid_frames[rows]
    padded = np.zeros((len(rows), 32, 35, 1), np.float32)
    for i, frames in enumerate(valid):
        padded[i, :, :frames] = tiles[i, :, :frames]
    ids, distances = run_graph(bundle.encoder, padded)
    graph = decoder_graph(bundle.manifest.model, bundle.weights()).to_bytes()
    (made,) = run_graph(graph, ids)
    sound = sound_tokens(
        np.concatenate([store.normalization(row).undo(store.read([row]))[..., 0] for row in rows]),
        list(store.recordings[rows]),
        valid_frames=valid,
        strides=STRIDES,
        silence_db=SILENCE_DB,
        quietest_db=store.manifest.settings.floor_db + FLOOR_MARGIN_DB,
    )
    values = reconstruction_figures(
        *(tiles[..., 0], made[:, :, :32, 0], ids, distances),
        valid_frames=valid,
        scales_db=store.scales_db[rows],
        sound=sound,
        strides=STRIDES,
    )
    values["commitment"] /= bundle.manifest.model.embedding_dim
    inside = np.broadcast_to((np.arange(7) * 5 < valid[:, None])[:, :, None], ids.shape)
    values["codebook"] = codebook_figures(ids[inside].tolist(), 16)
    values["sound_codebook"] = codebook_figures(ids[inside & sound].tolist(), 16)
    return values


def assert_same_figures(found, expected):
    assert list(found) == list(Metrics._fields)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5, nan_ok=True), name


@pytest.fixture(scope="module")
def held_out(store):
    return split_by_recording(store, FRACTION, SEED).validation


def test_the_total_is_that_of_loops(run_dir, store, held_out):
    told = []
    done = evaluate(
        run_dir, store.folder, batch_size=13, progress=lambda *told_now: told.append(told_now)
    )
    assert (store.valid_frames[held_out] < 32).any()
    assert 0 < done.tiles.total.sound_tokens < done.tiles.total.tokens
    assert (done.tiles.part, done.tiles.total.tiles) == ("validation", len(held_out))
    assert_same_figures(json_values(done.tiles.total), expected_figures(run_dir, store, held_out))
    batches = -(-len(held_out) // 13)
    assert told == [("tiles", i + 1, batches) for i in range(batches)]
    assert [metrics.tiles for metrics in done.tiles.batches[:-1]] == [13] * (batches - 1)


def test_a_recordings_peak_is_of_all_its_tiles(run_dir, store, held_out):
    done = evaluate(run_dir, store.folder, batch_size=len(held_out) - 1)
    expected = expected_figures(run_dir, store, held_out)
    first = json_values(done.tiles.batches[0])
    assert first["tiles"] == expected["tiles"] - 1
    parts = [json_values(metrics) for metrics in done.tiles.batches]
    for name in ("tokens", "sound_tokens"):
        assert sum(part[name] for part in parts) == expected[name]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_json_says_all(elsewhere, run_dir, store, tmp_path):
    report = tmp_path / "report.json" if elsewhere else None
    done = evaluate(run_dir, store.folder, batch_size=16, report=report)
    assert done.report == (report or run_dir / "eval.json")
    assert (run_dir / "eval.json").exists() is not elsewhere
    values = json.loads(done.report.read_text())
    assert list(values) == ["schema_version", "tokenizer", "tiles", "audio", "pictures"]
    assert values["schema_version"] == 4
    assert values["tokenizer"] == read_bundle(run_dir / "tokenizer").manifest.fingerprint
    assert values["tokenizer"] == done.fingerprint
    assert values["audio"] is None
    tiles = values["tiles"]
    assert list(tiles) == ["folder", "part", "verdict", "total", "reconstruction", "batches"]
    assert tiles["folder"] == str(store.folder.resolve())
    assert tiles["part"] == "validation"
    assert tiles["total"] == json_values(done.tiles.total)
    assert tiles["batches"] == [json_values(metrics) for metrics in done.tiles.batches]


def test_errors_of_bands_and_frames_fit_the_total(run_dir, store):
    """Bands of 12, 12 and 8 bins; the mean square is no less than the square of the mean."""
    done = evaluate(run_dir, store.folder, part="all")
    total = done.tiles.total
    values = json.loads(done.report.read_text())["tiles"]["reconstruction"]
    assert len(values["edges_hz"]) == len(values["band_errors"]) + 1 == 4
    pairs = {"band_errors": total.reconstruction, "band_errors_db": total.reconstruction_db}
    for name, expected in pairs.items():
        assert np.average(values[name], weights=[12, 12, 8]) == pytest.approx(expected, rel=1e-9)
    assert 0 < values["log_spectral_distance"] <= math.sqrt(total.reconstruction_db)
    assert values["frames"] == store.valid_frames.sum()
    assert 0 < values["sound_frames"] < values["frames"]


@pytest.mark.parametrize(
    ("asked", "measured"),
    [("auto", "validation"), ("validation", "validation"), ("train", "train"), ("all", "all")],
)
def test_parts_of_the_runs_own_tiles(asked, measured, run_dir, store):
    split = split_by_recording(store, FRACTION, SEED)
    sizes = {"validation": len(split.validation), "train": len(split.train), "all": len(store)}
    done = evaluate(run_dir, store.folder, part=asked)
    assert (done.tiles.part, done.tiles.total.tiles) == (measured, sizes[measured])


def test_without_held_out_recordings_or_of_other_tiles_all_are_measured(run_dir, store):
    write_run(run_dir, store, fraction=0)
    assert evaluate(run_dir, store.folder).tiles.part == "all"
    with pytest.raises(UserError, match=r"has no tiles to measure \(validation\)"):
        evaluate(run_dir, store.folder, part="validation")
    write_run(run_dir, store, fingerprint="0" * 64)
    assert evaluate(run_dir, store.folder).tiles.part == "all"
    assert evaluate(run_dir, store.folder, part="all").tiles.total.tiles == len(store)
    for part in ("validation", "train"):
        with pytest.raises(UserError, match="trained on other tiles: only --part all"):
            evaluate(run_dir, store.folder, part=part)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hop_length": 32}, "hop_length there 64, here 32"),
        (
            {"sample_rate": 4000, "floor_db": -90},
            r"there 8000, here 4000, .*floor_db there -100\.0",
        ),
        ({"frontend": "mel"}, "frontend there 'stft', here 'mel'"),
        ({"normalization": "tile"}, "normalization there 'level', here 'tile'"),
    ],
)
def test_tiles_of_other_settings_are_refused(change, text, store, make_bundle, tmp_path):
    prep = store.manifest.settings.model_copy(update=change)
    make_bundle(tmp_path / "run" / "tokenizer", prep)
    with pytest.raises(UserError, match=f"with other settings than the run's tiles .*{text}"):
        evaluate(tmp_path / "run", store.folder, part="all")


def test_overlap_and_channels_may_differ(store, make_bundle, tmp_path):
    values = {**store.manifest.settings.model_dump(), "overlap": 5, "channels": "each"}
    make_bundle(tmp_path / "run" / "tokenizer", PrepSettings(**values))
    assert evaluate(tmp_path / "run", store.folder, part="all").tiles.total.tiles == len(store)


def test_other_tiles_are_normalised_as_the_tokenizer_would_have(
    run_dir, store, make_bundle, tmp_path
):
    """The same tiles in other units: the model is given what the bundle's constants make."""
    other = Normalization(offset=-70.5, scale=8.25)
    folder = tmp_path / "other" / "run"
    make_bundle(
        folder / "tokenizer",
        store.manifest.settings,
        contents={"normalization": other},
        frequency_stride=STRIDES[0],
        time_stride=STRIDES[1],
    )
    found = evaluate(folder, store.folder, part="all").tiles.total
    before = evaluate(run_dir, store.folder, part="all").tiles.total
    scale = store.manifest.normalization.scale / other.scale
    for name in ("baseline_constant", "baseline_bands", "baseline_tile"):
        assert getattr(found, name) == pytest.approx(scale**2 * getattr(before, name), rel=1e-4)
    assert found.reconstruction_db == pytest.approx(8.25**2 * found.reconstruction, rel=1e-5)
    assert found.sound_tokens == before.sound_tokens
    assert found.codebook != before.codebook


def test_a_run_that_is_none_is_refused(run_dir, store, tmp_path):
    with pytest.raises(UserError, match="is not a tokenizer"):
        evaluate(tmp_path / "nowhere", store.folder)
    with pytest.raises(UserError, match="holds no tiles"):
        evaluate(run_dir, tmp_path)
    (run_dir / "train.json").unlink()
    with pytest.raises(UserError, match="holds no run"):
        evaluate(run_dir, store.folder, part="validation")
    with pytest.raises(UserError, match="nothing to measure on"):
        evaluate(run_dir)


def test_a_bundle_may_be_named_alone(run_dir, store, monkeypatch):
    """Its run is read where it lies in one; the report lies in it, or else where one works."""
    bundle = run_dir / "tokenizer"
    monkeypatch.chdir(bundle)
    done = evaluate(Path(), store.folder)
    assert (done.tiles.part, done.report) == ("validation", run_dir / "eval.json")
    (run_dir / "train.json").unlink()
    monkeypatch.chdir(run_dir.parent)
    done = evaluate(bundle, store.folder)
    assert done.report == run_dir.parent / "eval.json"
    assert (done.tiles.part, done.tiles.total.tiles) == ("all", len(store))
    assert read_bundle(bundle).manifest.fingerprint == done.fingerprint


@pytest.mark.parametrize("content", [b"", b"[" * 10_000, b"[]", b"{}", b'{"schema_version": 2}'])
def test_a_damaged_run_is_refused_in_one_line(content, run_dir, store):
    (run_dir / "train.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"train\.json (is damaged|is not JSON|was written by a newer ulmo)"
    ) as caught:
        evaluate(run_dir, store.folder)
    assert "\n" not in str(caught.value)


def test_tiles_without_any_are_refused(run_dir, store, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    write_table(tiles / "tiles.parquet", [], TILES_SCHEMA)
    changes = {"tiles": 0, "recordings": 0, "hashes": hashes_of(tiles)}
    write_sealed(tiles / "prep.json", store.manifest.model_copy(update=changes))
    with pytest.raises(UserError, match=r"has no tiles to measure \(all\)"):
        evaluate(run_dir, tiles, part="all")


def test_what_could_not_be_measured_is_null():
    nothing = CodebookHealth(NAN, NAN, NAN, NAN)
    metrics = Metrics(1, 2, 0, 0.5, 0.25, NAN, math.inf, 1.0, 1.0, 1.0, nothing, nothing)
    values = json_values(metrics)
    assert values["sound_reconstruction_db"] is values["commitment"] is None
    assert values["codebook"] == dict.fromkeys(("usage", "entropy", "perplexity", "top1"))
    assert (values["tiles"], values["reconstruction"]) == (1, 0.5)
