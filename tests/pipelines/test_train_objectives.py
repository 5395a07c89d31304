"""Every objective by the command's own function: it ends in a bundle, and says how it did."""

import csv
import json

import numpy as np
import pytest

from tests.conftest import SAMPLES
from ulmo.bundle import read_bundle
from ulmo.config import OBJECTIVE_NAMES, AugmentSettings, PrepSettings, UserError
from ulmo.pipelines.prep import prepare
from ulmo.pipelines.train import train
from ulmo.pipelines.verify import verify
from ulmo.report import train_summary
from ulmo.tokenizer import load_tokenizer

MODEL = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "embedding_dim": 4,
    "codebook_size": 16,
    "width": 8,
    "frequency_stride": 16,
    "time_stride": 4,
}
SETTINGS = {"epochs": 1, "batch_size": 8, "learning_rate": 3e-3, "seed": 1, "threads": 0}
PREP = {"tile_size": 32, "sample_rate": 8000, "hop_length": 64}
VIEWS = AugmentSettings(views=2, hop_factors=(0.8, 1.0), window_factors=(1.0,))


class Quiet:
    def note(self, text):
        pass

    def begin(self, steps, done):
        pass

    def batch(self, losses):
        pass

    def epoch(self, row):
        pass


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Tiles with views, and the same recordings through another front end."""
    place = tmp_path_factory.mktemp("objectives")
    prepare(SAMPLES, place / "stft", PrepSettings(frontend="stft", **PREP), augment=VIEWS)
    prepare(SAMPLES, place / "dwt", PrepSettings(frontend="dwt", wavelet="db2", **PREP))
    return place


def run(tiles, folder, objective, model=None, **settings):
    settings = {**SETTINGS, "objective": objective, **settings}
    if "abx_choice" in objective:
        settings["beside"] = (str(tiles / "dwt"),)
    return train(tiles / "stft", folder, {**MODEL, **(model or {})}, settings, Quiet())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def encoder_of(folder):
    weights = read_bundle(folder).weights()
    return {name: values for name, values in weights.items() if name.startswith("encoder.")}


@pytest.mark.parametrize("name", [*OBJECTIVE_NAMES, "reconstruct=1,simclr=0.5"])
def test_every_objective_ends_in_a_bundle_that_tokenizes(name, tiles, tmp_path):
    summary = run(tiles, tmp_path / "run", name)
    batches = rows_of(tmp_path / "run" / "losses.csv")
    (epoch,) = rows_of(tmp_path / "run" / "epochs.csv")
    told = json.loads((tmp_path / "run" / "objectives.json").read_text())
    assert set(told) == set(summary.objectives)
    for one in summary.objectives:
        assert np.isfinite([float(row[f"{one}_loss"]) for row in batches]).all()
        assert told[one]["mean"] == pytest.approx(float(epoch[f"val_{one}_score"]), rel=1e-4)
        assert told[one]["chance"] == pytest.approx(float(epoch[f"val_{one}_chance"]), abs=1e-6)
        assert f"own task    {one}: score " in train_summary(summary)
    assert 0 < float(epoch["val_latent_variance"]) <= 1
    tokens = load_tokenizer(tmp_path / "run" / "tokenizer").encode(SAMPLES / "whistles.wav")
    assert tokens.ids.shape[1] == 2
    assert verify(tmp_path / "run").faults == []


def test_pairs_of_front_ends_are_told_by_name(tiles, tmp_path):
    run(tiles, tmp_path / "run", "abx_choice")
    told = json.loads((tmp_path / "run" / "objectives.json").read_text())["abx_choice"]
    assert told["chance"] == 0.5
    assert set(told["pairs"]) == {"stft dwt", "dwt stft"}
    assert all(0 <= score <= 1 for score in told["pairs"].values())


def test_a_run_starts_from_the_encoder_of_another(tiles, tmp_path):
    run(tiles, tmp_path / "first", "reconstruct")
    still = {"learning_rate": 1e-12, "max_minutes": 1e-4}
    run(tiles, tmp_path / "second", "infill", init=str(tmp_path / "first"), **still)
    run(tiles, tmp_path / "third", "infill", seed=2, **still)
    first, second, third = (
        encoder_of(tmp_path / name / "tokenizer") for name in ("first", "second", "third")
    )
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, atol=1e-6)
    assert any(abs(third[name] - values).max() > 0.01 for name, values in first.items())


def test_an_encoder_that_does_not_fit_is_refused(tiles, tmp_path):
    run(tiles, tmp_path / "first", "reconstruct", max_minutes=1e-4)
    with pytest.raises(UserError, match=r"does not fit \(width 8, not 10\): set the same"):
        run(tiles, tmp_path / "second", "infill", {"width": 10}, init=str(tmp_path / "first"))
    with pytest.raises(UserError, match="nowhere"):
        run(tiles, tmp_path / "third", "infill", init=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["byol", "reconstruct=1,next_frame=0.5"])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(name, tiles, tmp_path):
    once = {"threads": 1, "epochs": 2}
    run(tiles, tmp_path / "whole", name, **once)
    stopped = run(tiles, tmp_path / "parts", name, **{**once, "epochs": 1})
    assert stopped.epochs == 1
    train(tiles / "stft", tmp_path / "parts", {}, {"epochs": 2}, Quiet(), resume=True)
    batches = [rows_of(tmp_path / part / "losses.csv") for part in ("whole", "parts")]
    assert len(batches[0]) == len(batches[1])
    assert batches[1][0] == batches[0][0]


def test_a_collapsed_run_says_so(tiles, tmp_path):
    summary = run(tiles, tmp_path / "run", "reconstruct", max_minutes=1e-4)
    assert "COLLAPSED" not in train_summary(summary)
    means = {**summary.own_tasks.means, "pair_similarity": 0.999, "latent_variance": 0.001}
    collapsed = summary._replace(own_tasks=summary.own_tasks._replace(means=means))
    assert "COLLAPSED   latents are nearly all one: variance 0.001" in train_summary(collapsed)


def test_a_run_keeps_its_objective(tiles, tmp_path):
    run(tiles, tmp_path / "run", "infill", max_minutes=1e-4)
    with pytest.raises(UserError, match="leave out objective"):
        train(tiles / "stft", tmp_path / "run", {}, {"objective": "byol"}, Quiet(), resume=True)
