"""Whole runs on tiny tiles: what they write, and that stopping them changes nothing."""

import json
import re
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import ulmo
from tests.conftest import SAMPLES
from tests.openings import outward, recorded, unsafe, written
from tests.pipelines.training import BUNDLE, MODEL, SETTINGS, Silent, read_csv
from tests.sealed import reseal, spoil
from ulmo.bundle.bundle import read_bundle
from ulmo.config import JobError, ModelSettings, TrainSettings, UserError
from ulmo.dataset import Loudness, ModelOutput, split_by_recording
from ulmo.models.objectives import OBJECTIVES
from ulmo.models.vqvae import build_vqvae, set_weights_of
from ulmo.pipelines.train import export as export_module
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.train import train
from ulmo.pipelines.train.trainer import Trainer
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore
from ulmo.storage.checkpoint_files import numbers
from ulmo.storage.run_manifest import read_run
from ulmo.tokenizer import load_tokenizer

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def openings():
    """What was opened while the run was made."""
    return []


@pytest.fixture(scope="module")
def run(tiny_tiles, tmp_path_factory, openings):
    folder = tmp_path_factory.mktemp("runs") / "run"
    model = {**MODEL, "encoder_layers": 2, "decoder_layers": 3}
    with recorded() as found:
        summary = train(tiny_tiles, folder, model, SETTINGS, Silent())
    openings += found
    return folder, summary


def test_no_file_is_opened_to_write_where_a_link_may_be(run, openings):
    """Of TensorFlow's own files, no event has a name that somebody could foresee."""
    folder, _ = run
    made = {path for path, _ in written(openings)}
    assert {str(folder / name) for name in ("losses.csv", "epochs.csv", ".lock")} <= made
    assert unsafe([each for each in openings if each[1].startswith(str(folder))]) == []
    assert [each for each in outward(openings) if each.startswith("socket")] == []
    (events,) = (folder / "tensorboard").iterdir()
    assert re.fullmatch(r"events\.out\.tfevents\..*\.[0-9a-f]{16}\.v2", events.name)


def test_a_run_writes_what_the_contract_names(run, tiny_tiles):
    folder, summary = run
    store = TileStore(tiny_tiles)
    manifest = json.loads((folder / "train.json").read_text())
    assert manifest["tiles_fingerprint"] == store.manifest.fingerprint
    assert manifest["model"]["codebook_size"] == 16
    assert manifest["train"]["seed"] == 1
    assert set(manifest["versions"]) == {"ulmo", "tensorflow", "keras", "numpy"}
    batches, epochs = read_csv(folder / "losses.csv"), read_csv(folder / "epochs.csv")
    assert [int(row["step"]) for row in batches] == list(range(1, summary.steps + 1))
    assert [int(row["epoch"]) for row in epochs] == [0, 1, 2]
    assert summary.end == "epochs"
    for name in ("reconstructions.png", "losses.png"):
        assert (folder / "pictures" / name).read_bytes().startswith(b"\x89PNG")
    assert any((folder / "tensorboard").iterdir())
    assert any((folder / "checkpoints").glob("ckpt-*.index"))
    assert (summary.tokens > 300, summary.ties) == (True, 0)
    assert load_tokenizer(folder / "tokenizer").manifest.model.codebook_size == 16


def test_it_learns_and_an_epoch_is_the_mean_of_its_batches(run):
    folder, summary = run
    losses = [float(row["val_reconstruction"]) for row in read_csv(folder / "epochs.csv")]
    assert losses[-1] < losses[0]
    batches = read_csv(folder / "losses.csv")
    assert float(batches[-1]["total"]) < 0.7 * float(batches[0]["total"])
    assert summary.validation.reconstruction == pytest.approx(min(losses), rel=1e-5)
    for epoch in read_csv(folder / "epochs.csv"):
        own = [float(row["commitment"]) for row in batches if row["epoch"] == epoch["epoch"]]
        assert float(epoch["train_commitment"]) == pytest.approx(np.mean(own), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "settings", "end"),
    [
        ({"quantizer": "residual", "distance": "euclidean"}, {"mixed_precision": True}, "epochs"),
        ({"quantizer": "fsq", "embedding_dim": 2}, {"validation_fraction": 0}, "epochs"),
        (
            {"quantizer": "gradient", "distance": "cosine"},
            {"silence_weight": 1, "epochs": 50, "patience": 1, "learning_rate": 1e-30},
            "patience",
        ),
        (
            {"quantizer": "rim"},
            {"objective": "denoise", "max_minutes": 0.001},
            "max_minutes",
        ),
    ],
    ids=lambda values: "-".join(map(str, values.values())) if isinstance(values, dict) else values,
)
def test_every_quantizer_and_every_end_gives_a_bundle(model, settings, end, few_tiles, tmp_path):
    """In mixed precision too, whose bundle is in float32, and without validation."""
    folder = tmp_path / "run"
    values = {**SETTINGS, "epochs": 1, **settings}
    done = train(few_tiles, folder, {**MODEL, **model}, values, Silent())
    losses = read_csv(folder / "losses.csv")
    assert np.isfinite([float(row["total"]) for row in losses]).all()
    parts = float(losses[0]["reconstruction"]) + 0.25 * float(losses[0]["commitment"])
    drawn = float(losses[0]["codebook"]) if model["quantizer"] == "gradient" else 0
    assert float(losses[0]["total"]) == pytest.approx(parts + drawn, rel=1e-4)
    assert done.end == end
    assert (done.tokens > 300, done.ties) == (True, 0)
    tokenizer = load_tokenizer(folder / "tokenizer")
    store = TileStore(few_tiles)
    ids = tokenizer.encode_tiles(store.read([0]), store.valid_frames[[0]]).ids
    assert tokenizer.decode_ids(ids).shape[:2] == (1, store.tile_size)
    if "validation_fraction" in settings:
        assert done.validation is None
        assert read_csv(folder / "epochs.csv")[0]["val_reconstruction"] == ""
    else:
        assert np.isfinite(done.validation.reconstruction)
    if model["quantizer"] == "kmeans":
        assert done.validation.codebook.usage > 0.3


def test_the_settings_reach_the_model(few_tiles, tmp_path):
    settings = TrainSettings(objective="denoise", learning_rate=1e-3, epochs=1, batch_size=8)
    store = TileStore(few_tiles)
    model = ModelSettings(tile_size=store.tile_size, **MODEL)
    trainer = Trainer(store, tmp_path, model, settings, Silent())
    trainer.begin()
    assert list(trainer.learner.tasks) == ["denoise"]
    assert isinstance(trainer.learner.tasks["denoise"], OBJECTIVES["denoise"])
    rates = []
    for _ in range(trainer.steps_per_epoch):
        batch = trainer.feed.batch(trainer.split.train[:8], number=0)
        trainer._batch(batch, time.monotonic(), SimpleNamespace(batch=lambda row: None))
        rates.append(float(trainer.learner.optimizer.learning_rate))
    assert rates[0] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 5e-4


def test_the_thresholds_of_unk_are_those_of_the_training_tiles(run, tiny_tiles):
    folder, _ = run
    tokenizer, store = load_tokenizer(folder / "tokenizer"), TileStore(tiny_tiles)
    thresholds = read_bundle(folder / "tokenizer").thresholds()
    near = {code: [] for code in range(16)}
    for row in split_by_recording(store, 0.1, SETTINGS["seed"]).train:
        valid = store.valid_frames[[row]]
        ids, distances, _ = tokenizer.encode_tiles(store.read([row]), valid)
        for column in range(-(-int(valid[0]) // 4)):
            for code, distance in zip(ids[0, column], distances[0, column], strict=True):
                near[code].append(distance)
    assert sum(map(len, near.values())) > 1000
    for level, percent in enumerate((10, 5, 1, 0.1)):
        for code, distances in near.items():
            beyond = sum(d > thresholds[code, level] for d in distances)
            at_or_beyond = sum(d >= thresholds[code, level] - 2e-5 for d in distances)
            assert beyond <= percent / 100 * len(distances)
            assert not distances or at_or_beyond > percent / 100 * len(distances)


def test_the_card_says_what_was_done(run, tiny_tiles):
    folder, summary = run
    card = read_bundle(folder / "tokenizer").manifest.card
    manifest, store = read_run(folder), TileStore(tiny_tiles)
    assert (card.training.steps, card.training.epochs) == (summary.steps, 3)
    assert card.training.tiles_fingerprint == store.manifest.fingerprint
    assert card.versions.model_dump().items() <= manifest.versions.items()
    assert card.figures.reconstruction == pytest.approx(summary.validation.reconstruction, rel=1e-3)
    assert card.figures.sound_tokens == summary.validation.sound_tokens
    (corpus,) = card.corpora
    split = split_by_recording(store, manifest.train.validation_fraction, manifest.train.seed)
    names = set(store.recordings[split.train])
    assert (corpus.recordings, card.training.tiles) == (len(names), len(split.train))
    seconds = sum(soundfile.info(SAMPLES / name).duration for name in names)
    assert corpus.hours * 3600 == pytest.approx(seconds, rel=1e-3)


def exported(folder, bundle, forward, store, shown, monkeypatch):
    """Export what a trainer would have of a run's bundle, but for its `forward`."""
    monkeypatch.setattr(export_module, "_build_card", lambda *_: bundle.manifest.card)
    model, settings = bundle.manifest.model, TrainSettings(**SETTINGS)
    trainer = SimpleNamespace(
        store=store,
        model_settings=model,
        settings=settings,
        feed=Feed(Loudness(store, model), settings, wants=frozenset()),
        forward=lambda: forward,
        weights=bundle.weights,
        shown_rows=np.arange(shown),
        split=split_by_recording(store, settings.validation_fraction, settings.seed),
    )
    export_module.export(folder, trainer, None, {})


def test_the_export_sees_silence_and_a_single_frame(run, tiny_tiles, tmp_path, monkeypatch):
    folder, _ = run
    tokenizer, seen = load_tokenizer(folder / "tokenizer"), []

    def watching(tiles, valid):
        seen.extend(zip(tiles, valid, strict=True))
        return ModelOutput.of(tokenizer, tiles, valid)

    bundle, store = read_bundle(folder / "tokenizer"), TileStore(tiny_tiles)
    exported(tmp_path / "bundle", bundle, watching, store, 3, monkeypatch)
    assert len(seen) == 6
    assert {frames for _, frames in seen[3:]} == {1, 16, 32}
    constants = bundle.manifest.normalization
    quiet = (-store.manifest.settings.level_range_db - constants.offset) / constants.scale
    for tile, _ in seen[3:]:
        np.testing.assert_allclose(tile, quiet, rtol=1e-6)
    for name in BUNDLE:
        written = (tmp_path / "bundle" / name).read_bytes()
        assert (written == (folder / "tokenizer" / name).read_bytes()) is True


@pytest.mark.parametrize("name", ["whistles.wav", "speech/vowels.wav"])
def test_a_whole_file_gives_the_tokens_of_the_keras_model(run, name):
    folder, _ = run
    tokenizer = load_tokenizer(folder / "tokenizer")
    tokens = tokenizer.encode(SAMPLES / name)
    manifest = tokenizer.manifest
    model = build_vqvae(manifest.model)
    set_weights_of(model, read_bundle(folder / "tokenizer").weights())
    tiles = ulmo.preprocess(
        SAMPLES / name, settings=manifest.prep, normalization=manifest.normalization
    )
    whole = np.concatenate(list(tiles), axis=1)[None, :, : tokens.frames]
    behind = np.zeros((1, len(tiles[0]), 40 * manifest.model.time_stride, 1), np.float32)
    output = model.quantizer(model.encoder(np.concatenate([whole, behind], axis=2)))
    columns = len(tokens.ids)
    differs = output.ids.numpy()[0, :columns] != tokens.ids
    ties = np.abs(output.distances.numpy()[0, :columns] - tokens.distances) < 1e-3
    assert (differs & ~ties).sum() == 0
    assert differs.mean() < 0.001


def test_an_export_that_differs_fails(run, tiny_tiles, tmp_path, monkeypatch):
    folder, _ = run
    tokenizer = load_tokenizer(folder / "tokenizer")

    def liar(tiles, valid):
        honest = ModelOutput.of(tokenizer, tiles, valid)
        return honest._replace(ids=(honest.ids + 1) % 16, distances=honest.distances + 1)

    bundle, store = read_bundle(folder / "tokenizer"), TileStore(tiny_tiles)
    with pytest.raises(JobError, match="are not the model's"):
        exported(tmp_path / "bundle", bundle, liar, store, 4, monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_resumed_changes_nothing(run, tiny_tiles):
    folder, _ = run
    before = [(folder / "tokenizer" / name).read_bytes() for name in BUNDLE]
    log = (folder / "losses.csv").read_bytes()
    reporter = Silent()
    train(tiny_tiles, folder, {}, {}, reporter, resume=True)
    assert reporter.rows == []
    assert [(folder / "tokenizer" / name).read_bytes() for name in BUNDLE] == before
    assert (folder / "losses.csv").read_bytes() == log


def test_a_resumed_run_keeps_its_settings_and_its_tiles(run, tiny_tiles, tmp_path):
    folder, _ = run
    with pytest.raises(
        UserError, match=r"\(codebook_size there 16, here 32, seed there 1, here 2\): leave"
    ):
        train(tiny_tiles, folder, {"codebook_size": 32}, {"seed": 2}, Silent(), resume=True)
    other = tmp_path / "run"
    other.mkdir()
    shutil.copyfile(folder / "train.json", other / "train.json")
    contents = read_run(folder).tiles_contents
    changed = {**contents, "tiles": 9, "hop_length": 80}
    reseal(other / "train.json", tiles_fingerprint="0" * 64, tiles_contents=changed)
    now = rf"tiles there 9, here {contents['tiles']}, hop_length there 80, here 64, fingerprint"
    with pytest.raises(UserError, match=rf"trained on other tiles than those of .* \({now}"):
        train(tiny_tiles, other, {}, {}, Silent(), resume=True)
    reseal(other / "train.json", tiles_contents={})  # as an earlier ulmo wrote it
    with pytest.raises(UserError, match=r"\(.*fingerprint there '00000000', here"):
        train(tiny_tiles, other, {}, {}, Silent(), resume=True)


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_tiles_without_meaning_are_refused_and_nothing_learns_from_them(few_tiles, tmp_path, value):
    """Before the first step, if the codebook starts from them; else where they are read."""
    tiles = shutil.copytree(few_tiles, tmp_path / "tiles")
    for index in range(len(TileStore(tiles))):
        spoil(tiles, index, np.nan)
    with pytest.raises(UserError, match=r"\.npy holds values that no sound has in tile \d+, of "):
        train(tiles, tmp_path / "run", MODEL, SETTINGS, Silent())
    assert numbers(tmp_path / "run" / "checkpoints") == []
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_weights_that_are_not_finite_are_not_saved(few_tiles, tmp_path):
    """The loss of their step was still finite: the checkpoint before stays."""
    settings = TrainSettings(**{**SETTINGS, "epochs": 1})
    store = TileStore(few_tiles)
    model = ModelSettings(tile_size=store.tile_size, **MODEL)
    trainer = Trainer(store, tmp_path, model, settings, Silent())
    trainer.begin()
    saved = numbers(tmp_path)
    weight = trainer.model.weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(UserError, match=r"a weight is not finite at step 0: .* before is kept"):
        trainer._save(SimpleNamespace(flush=lambda: None))
    assert numbers(tmp_path) == saved


def test_a_model_too_large_for_a_bundle_or_a_loss_not_finite_is_said(
    few_tiles, tmp_path, monkeypatch
):
    model = {**MODEL, "width": 2048, "encoder_layers": 8}
    with pytest.raises(UserError, match="MiB of weights, over the limit of 128 MiB: set a smaller"):
        train(few_tiles, tmp_path / "run", model, SETTINGS, Silent())
    assert not (tmp_path / "run").exists()  # refused before it is trained
    monkeypatch.setattr(Trainer, "take_step", lambda *_: {"total": 1.0, "reconstruction": np.nan})
    message = "not finite at step 0: begin a new run with a learning_rate"
    with pytest.raises(UserError, match=message):
        train(few_tiles, tmp_path / "run", MODEL, SETTINGS, Silent())


def test_a_damaged_checkpoint_is_told_by_verify_and_the_run_goes_back(run, tiny_tiles, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    checkpoints = folder / "checkpoints"
    assert verify(folder).faults == []
    before, latest = numbers(checkpoints)
    path = checkpoints / f"ckpt-{latest}.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (fault,) = verify(folder).faults
    assert (fault.path, fault.what) == (f"checkpoints/{path.name}", "damaged")
    result = verify(folder, repair=True)
    assert result.faults == []
    assert result.mended == [f"checkpoints: removed ckpt-{latest}, ckpt-{before} is the latest"]
    summary = train(tiny_tiles, folder, {}, {}, Silent(), resume=True)
    assert (summary.end, numbers(checkpoints)) == ("epochs", [before, latest])
    assert verify(folder).faults == []
