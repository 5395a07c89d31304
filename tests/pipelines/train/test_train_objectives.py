"""Every objective by the command's own function: it ends in a bundle, and says how it did."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import SAMPLES
from tests.pipelines import training
from tests.pipelines.training import Silent, read_csv
from ulmo.bundle.bundle import read_bundle
from ulmo.config import (
    AugmentSettings,
    ModelSettings,
    PrepSettings,
    TrainSettings,
    UserError,
)
from ulmo.evaluation.verdict import Verdict
from ulmo.models import OBJECTIVES, build_vqvae
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train import trainer as trainer_module
from ulmo.pipelines.train.model import _init_encoder
from ulmo.pipelines.train.train import train
from ulmo.pipelines.train.trainer import Trainer
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore
from ulmo.reports.as_json import train_json
from ulmo.reports.train import train_summary
from ulmo.tokenizer import load_tokenizer

pytestmark = pytest.mark.usefixtures("no_pictures")

MODEL = {**training.MODEL, "frequency_stride": 16}
SETTINGS = {"epochs": 1, "batch_size": 8, "learning_rate": 3e-3, "seed": 1, "threads": 0}
PREP = {"tile_size": 32, "sample_rate": 8000, "hop_length": 64}
STFT = PrepSettings(frontend="stft", **PREP)
VIEWS = AugmentSettings(views=2, hop_factors=(0.8, 1.0), window_factors=(1.0,))


@pytest.fixture(scope="module")
def tiles(few_recordings, tmp_path_factory):
    """Tiles with views, and the same recordings through another front end."""
    place = tmp_path_factory.mktemp("objectives")
    prepare(few_recordings, place / "stft", PrepSettings(frontend="stft", **PREP), augment=VIEWS)
    prepare(few_recordings, place / "dwt", PrepSettings(frontend="dwt", wavelet="db2", **PREP))
    return place


def run(tiles, folder, objective, model=None, **settings):
    settings = {**SETTINGS, "objective": objective, **settings}
    if "abx_choice" in objective:
        settings["beside"] = (str(tiles / "dwt"),)
    return train(tiles / "stft", folder, {**MODEL, **(model or {})}, settings, Silent())


@pytest.fixture(scope="module")
def together(tiles, tmp_path_factory, no_pictures):
    """A run of all objectives at once: as many trainings would take minutes.

    Its few steps are no graph, which takes longer to trace. Each objective's step is one in
    tests/models/objectives or in test_train.py; what measures them all is one here.
    """
    folder = tmp_path_factory.mktemp("together") / "run"

    def as_graph(step, graph=trainer_module._as_graph):
        return graph(step) if step.__name__ == "test_step" else step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "_as_graph", as_graph)
        return folder, run(tiles, folder, ",".join(f"{name}=0.5" for name in OBJECTIVES))


def test_every_objective_is_told_of_and_ends_in_a_bundle_that_tokenizes(together):
    folder, summary = together
    batches = read_csv(folder / "losses.csv")
    (epoch,) = read_csv(folder / "epochs.csv")
    told = json.loads((folder / "objectives.json").read_text())["tasks"]
    pairs = told["abx_choice"]["pairs"]  # by the names of the front ends
    assert (told["abx_choice"]["chance"], set(pairs)) == (0.5, {"stft dwt", "dwt stft"})
    assert all(0 <= score <= 1 for score in pairs.values())
    assert tuple(told) == tuple(summary.objectives) == tuple(OBJECTIVES)
    for one in summary.objectives:
        assert np.isfinite([float(row[f"{one}_loss"]) for row in batches]).all()
        assert told[one]["mean"] == pytest.approx(float(epoch[f"val_{one}_score"]), rel=1e-4)
        assert told[one]["chance"] == pytest.approx(float(epoch[f"val_{one}_chance"]), abs=1e-6)
        assert f"own task    {one}: score " in train_summary(summary)
    losses = [float(batches[0][f"{one}_loss"]) for one in summary.objectives]
    assert float(batches[0]["total"]) == pytest.approx(0.5 * sum(losses), rel=1e-4)
    assert 0 < float(epoch["val_latent_variance"]) <= 1
    tokens = load_tokenizer(folder / "tokenizer").encode(SAMPLES / "whistles.wav")
    assert tokens.ids.shape[1] == 2
    assert verify(folder).faults == []


class Noting(Silent):
    """A reporter that keeps what it is warned of."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def trainer_of(tiles, folder, **settings):
    store = TileStore(tiles / "stft")
    model = ModelSettings(tile_size=store.tile_size, **MODEL)
    return Trainer(store, folder, model, TrainSettings(**SETTINGS, **settings), Silent())


def test_a_run_starts_from_the_encoder_of_another(together, tiles, tmp_path):
    folder, _ = together
    trained = read_bundle(folder / "tokenizer").weights()
    fresh = trainer_of(tiles, tmp_path / "fresh", objective="infill").weights()
    trainer = trainer_of(tiles, tmp_path / "run", objective="byol", init=str(folder))
    for name, values in trainer.weights().items():
        expected = trained if name.startswith("encoder.") else fresh
        np.testing.assert_array_equal(values, expected[name])
    assert not np.array_equal(trained["encoder.conv_0.kernel"], fresh["encoder.conv_0.kernel"])
    target = [np.asarray(weight) for weight in trainer.learner.tasks["byol"].weights]
    kernel = trained["encoder.conv_0.kernel"]
    assert any(one.shape == kernel.shape and (one == kernel).all() for one in target)


def test_an_encoder_that_does_not_fit_is_refused(together, tiles, tmp_path):
    wider = ModelSettings(tile_size=32, **{**MODEL, "width": 10})
    with pytest.raises(UserError, match=r"does not fit \(width there 8, here 10\): use the same"):
        _init_encoder(build_vqvae(wider), wider, STFT, together[0])
    with pytest.raises(UserError, match="nowhere"):
        _init_encoder(build_vqvae(wider), wider, STFT, tmp_path / "nowhere")
    fits, mel = ModelSettings(tile_size=32, **MODEL), PrepSettings(frontend="mel", **PREP)
    with pytest.raises(UserError, match=r"does not fit \(frontend there 'stft', here 'mel'\)"):
        _init_encoder(build_vqvae(fits), fits, mel, together[0])


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tiles, tmp_path):
    """Heads, and the target network that no gradient moves, are in the checkpoint."""
    whole = trainer_of(tiles, tmp_path / "run", objective="byol")
    whole.begin()
    for batch in whole.feed.batches([whole.split.train[:8]] * 2, first=0):
        whole.take_step(batch)
    target = whole.learner.tasks["byol"].target_encoder.variables[0]
    assert np.abs(np.asarray(target) - whole.weights()["encoder.conv_0.kernel"]).max() > 1e-4
    whole._save(SimpleNamespace(flush=lambda: None))
    resumed = trainer_of(tiles, tmp_path / "run", objective="byol", init="gone")
    resumed.begin()
    for one, other in zip(whole.learner.variables, resumed.learner.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    batch = whole.feed.batch(whole.split.train[8:16], number=2)
    losses = [trainer.take_step(batch) for trainer in (whole, resumed)]
    assert losses[0]["byol_loss"] == pytest.approx(losses[1]["byol_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("model", "objective", "words"),
    [
        ({"quantizer": "fsq", "embedding_dim": 2}, "infill", "fsq has no codebook that could"),
        ({"quantizer": "kmeans"}, "wav2vec2", "wav2vec2 trains the codebook in each step"),
        (
            {"time_stride": 32},
            "next_frame",
            "next_frame needs . columns to learn from",
        ),
        (
            {"time_stride": 32},
            "abx_choice",
            "abx_choice needs 2 columns .* tile has 1: set",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_and_leaves_nothing(
    model, objective, words, tiles, tmp_path
):
    with pytest.raises(UserError, match=words):
        run(tiles, tmp_path / "run", objective, model)
    assert not (tmp_path / "run" / "train.json").exists()


@pytest.fixture(scope="module")
def paired(tiles):
    """A file that pairs the first two recordings of the tiles, evenly in time."""
    first, second = np.unique(TileStore(tiles / "stft").recordings)[:2]
    path = tiles / "pairs.csv"
    rows = [f"{first},{second},0 0.5,0 0.5", f"{first},gone.wav,0 1,0 1"]
    path.write_text("\n".join(["a,b,a_times,b_times", *rows]), encoding="utf-8")
    return path


PAIRED = {"crop_frames": 16, "warp_spread": 0.1, "tilt_db": 2.0, "pair_share": 1.0}


def test_a_run_with_pairs_crops_and_changed_views_ends_in_a_bundle(tiles, paired, tmp_path):
    reporter = Noting()
    settings = {**SETTINGS, **PAIRED, "objective": "reconstruct,simclr", "pairs": str(paired)}
    train(tiles / "stft", tmp_path / "run", MODEL, settings, reporter)
    assert any("1 pairs in" in text and "gone.wav" in text for text in reporter.warnings)
    losses = read_csv(tmp_path / "run" / "losses.csv")
    assert np.isfinite([float(value) for row in losses for value in row.values()]).all()
    assert load_tokenizer(tmp_path / "run" / "tokenizer").encode(SAMPLES / "whistles.wav").ids.size
    assert verify(tmp_path / "run").faults == []
    again = partial(train, tiles / "stft", tmp_path / "run", {}, {}, Silent(), resume=True)
    again()
    whole = paired.read_text(encoding="utf-8")
    paired.write_text(whole + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"pairs.csv has changed: put the file back as it was"):
        again()
    paired.write_text(whole.replace("0 0.5", "0 0"), encoding="utf-8")
    options = {"objective": "simclr", "pairs": str(paired)}
    with pytest.raises(UserError, match=r"line 2: times must be seconds from 0 to .* rise"):
        train(tiles / "stft", tmp_path / "other", MODEL, options, Silent())
    assert not (tmp_path / "other").exists()
    paired.unlink()
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\): name the"):
        again()
    paired.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("changed", [{"pairs": "x.csv"}, {"warp_spread": 0.1}, {"tilt_db": 1.0}])
def test_what_changes_views_needs_an_objective_that_compares_them(changed):
    (name,) = changed
    with pytest.raises(UserError, match=f"only simclr and byol use {name}: leave it out"):
        TrainSettings.read({"objective": "reconstruct", **changed})
    TrainSettings.read({"objective": "reconstruct,byol", **changed})


COLLAPSED = Verdict("collapsed", 1000, 3, 512, 0.71, 0.11)


@pytest.mark.parametrize(
    ("objectives", "quantizer", "advice"),
    [
        ({"byol": 1.0}, "ema", "train with reconstruct as one of the objectives"),
        ({"reconstruct": 1.0}, "gradient", "train with --quantizer ema, or on more varied"),
        ({"reconstruct": 1.0, "byol": 1.0}, "ema", "train on more varied recordings, or for more"),
    ],
)
def test_a_collapse_is_told_by_the_ids_and_what_to_do_is_something_else(
    objectives, quantizer, advice, together
):
    _, summary = together
    means = {**summary.own_tasks.means, "pair_similarity": 0.999, "latent_variance": 0.001}
    alike = summary._replace(own_tasks=summary.own_tasks._replace(means=means))
    assert (summary.verdict.kind, summary.quantizer) == ("varied", "ema")
    assert "COLLAPSED" not in train_summary(alike)  # latents alike, and ids that vary
    run = summary._replace(objectives=objectives, quantizer=quantizer, verdict=COLLAPSED)
    (line,) = [line for line in train_summary(run).splitlines() if "COLLAPSED" in line]
    assert "3 of 512 codes in use, the most used for 71% of non-silent tokens, entropy" in line
    assert line.split(": ")[-1].startswith(advice)
    one = run._replace(verdict=Verdict("one_code", 1000, 1, 512, 1.0, 0.0))
    assert "ONE CODE    all 1000 non-silent tokens have one id (held out" in train_summary(one)
    assert train_json(run, 0)["verdict"]["kind"] == "collapsed"


@pytest.mark.parametrize(
    ("error", "number", "is_told"), [(0.6, 9, True), (0.4, 9, False), (0.6, 1, False)]
)
def test_a_model_that_is_worse_than_a_constant_tile_is_told(error, number, is_told, together):
    _, summary = together
    figures = {"reconstruction": error, "baseline_tile": 0.5, "tiles": number}
    found = summary._replace(validation=summary.validation._replace(**figures))
    line = "WORSE       the model reconstructs held-out tiles worse than one constant tile does"
    assert (f"{line} (0.6000, 0.5000)" in train_summary(found)) is is_told
