"""A front end, quantizer, objective or format is one class in one file, and a line in its table.

Quantizers, objectives and formats have a second line: `--help`, settings and bundles know their
traits without Keras or arrays. A toy is added just so; then help, the command, `ulmo inspect` and
the contract tests know it.
"""

import tomllib

import keras
import numpy as np
import pytest
import soundfile

from tests.commands import run
from tests.formats import test_events, test_read, test_writers
from tests.models import test_quantizers
from tests.models.objectives import test_contract
from tests.models.objectives.small import GRIDS, compared, notes
from tests.preprocessing import test_frontends
from tests.toys import ToyEventFormat, ToyFormat, ToyFrontEnd, ToyObjective, ToyQuantizer
from ulmo.bundle.bundle import read_bundle
from ulmo.cli.main import ulmo
from ulmo.config import FORMAT_TRAITS, OBJECTIVE_TRAITS, QUANTIZER_TRAITS, Config, PrepSettings
from ulmo.formats import FORMATS
from ulmo.formats.events import EVENT_FORMATS
from ulmo.formats.read import read_corpus
from ulmo.models import OBJECTIVES, QUANTIZERS, build_vqvae, set_weights_of
from ulmo.models.learner import Learner
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend
from ulmo.preprocessing.store import TileStore

RATE, HOP = 2000, 20
PREP = ("-M", 16, "--sample-rate", RATE, "--hop-length", HOP)
MODEL = ("-M", 32, "-E", 1, "-D", 1, "--width", 4, "--EMB", 4, "--CB", 8)


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for number in range(4):
        samples = np.random.default_rng(number).normal(0, 0.1, 2 * RATE)
        soundfile.write(folder / f"{number}.wav", samples, RATE)
    return folder


@pytest.fixture
def frontend(monkeypatch):
    monkeypatch.setitem(FRONTENDS, "toy", ToyFrontEnd)
    yield
    build_frontend.cache_clear()


def page(command):
    """Its help, on one line."""
    result = run(ulmo, command, "--help")
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_front_end(frontend, audio, make_bundle, tmp_path):
    text = page("prep")
    assert "|toy]" in text
    assert f"toy ({ToyFrontEnd.words})" in text
    assert "Only for mel, cwt, toy." in text
    flags = (*PREP, "--frontend", "toy", "--fmax", 900, "--workers", 1)
    result = run(ulmo, "prep", audio, tmp_path / "tiles", *flags)
    assert result.exit_code == 0, result.output
    assert len(TileStore(tmp_path / "tiles")) == 4 * 13
    refused = run(ulmo, "prep", audio, tmp_path / "no", *flags, "--n-fft", 64)
    assert "n_fft is not a setting of toy (it has fmax)" in refused.stderr
    prep = PrepSettings(frontend="toy", tile_size=16, sample_rate=RATE, hop_length=HOP, fmax=900)
    shown = run(ulmo, "inspect", make_bundle(tmp_path / "tokenizer", prep, time_stride=4))
    assert f"toy: {ToyFrontEnd.words} (fmax 900.0)" in shown.stdout
    made = test_frontends.settings_of("toy", **test_frontends.CASES["odd"])
    test_frontends.TestContract().test_shape_and_range((made, build_frontend(made)))
    test_frontends.TestBlocks().test_single_samples("toy")
    test_frontends.TestSettingsOfOthers().test_every_front_end_heeds_just_what_the_table_says("toy")


def test_a_quantizer_and_an_objective(make_bundle, tmp_path, monkeypatch):
    for table, toy in (
        *((QUANTIZERS, ToyQuantizer), (QUANTIZER_TRAITS, ToyQuantizer.traits)),
        *((OBJECTIVES, ToyObjective), (OBJECTIVE_TRAITS, ToyObjective.traits)),
    ):
        monkeypatch.setitem(table, "toy", toy)
    text = page("train")
    assert "|toy]" in text
    assert f"toy ({ToyQuantizer.traits.words})" in text
    assert f"toy ({ToyObjective.traits.words})" in text
    flags = ("--quantizer", "toy", "--objective", "toy=1,reconstruct=1", *MODEL)
    printed = run(ulmo, "train", "none", "none", *flags, "--print-config")
    settings = Config.read(tomllib.loads(printed.stdout))
    learner = Learner(
        build_vqvae(settings.model),
        {name: (OBJECTIVES[name](settings.model), 1.0) for name in settings.train.objectives},
    )
    learner.optimizer = keras.optimizers.Adam(1e-3)
    learner.optimizer.build(learner.trainable_variables)
    told = learner.train_step(compared(notes(2, 0), settings.model))
    assert float(told["toy_loss"]) > 0
    refused = run(ulmo, "train", "none", "none", *flags, "--balance", 1)
    assert "toy does not use balance (only ema): leave it out" in refused.stderr
    prep = PrepSettings(tile_size=32, hop_length=40)
    bundle = make_bundle(tmp_path / "tokenizer", prep, quantizer="toy")
    shown = run(ulmo, "inspect", bundle)
    assert f"toy: {ToyQuantizer.traits.words}" in shown.stdout
    stored = read_bundle(bundle)
    set_weights_of(build_vqvae(stored.manifest.model), stored.weights())
    test_quantizers.test_shapes_types_and_codes({"quantizer": "toy"})
    test_contract.test_any_grid_and_any_padding_gives_finite_losses_and_gradients(
        "toy", GRIDS["odd"]
    )
    test_contract.test_every_weight_learns("toy")
    test_contract.test_what_lies_in_the_padding_changes_nothing("toy")
    test_contract.test_what_is_drawn_is_ruled_by_seed_and_step("toy")


def test_a_format_of_events(audio, tmp_path, monkeypatch):
    monkeypatch.setitem(EVENT_FORMATS, "toy", ToyEventFormat)
    for command in ("regions", "repeats"):
        assert "|toy]" in page(command)
        assert f"toy ({ToyEventFormat.words})" in page(command)
    out = tmp_path / "x.begins"
    for _ in range(2):  # the second one replaces the first
        result = run(ulmo, "regions", audio, "--out", out, "--workers", 1)
        assert result.exit_code == 0, result.output
    assert out.read_text() == "toy\n"  # steady noise has no regions
    test_events.test_a_table_replaces_an_older_one_and_nothing_else("toy", tmp_path / "old")
    test_events.test_nothing_appears_if_the_job_fails("toy", tmp_path / "failed")


def test_a_format(audio, make_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "toy", ToyFormat)
    monkeypatch.setitem(FORMAT_TRAITS, "toy", ToyFormat.traits)
    for command in ("tokenize", "convert"):
        assert "|toy]" in page(command)
        assert f"toy ({ToyFormat.traits.words})" in page(command)
    prep = PrepSettings(frontend="stft", tile_size=16, sample_rate=RATE, hop_length=HOP)
    bundle = make_bundle(tmp_path / "tokenizer", prep, time_stride=4)
    source, target = audio / "0.wav", audio / "0.tokens.hex"
    result = run(ulmo, "tokenize", source, "--tokenizer", bundle, "--format", "toy")
    assert result.exit_code == 0, result.output
    assert run(ulmo, "tokenize", source, "--tokenizer", bundle).exit_code == 0
    (stored,) = read_corpus(target)
    np.testing.assert_array_equal(stored.ids, np.load(audio / "0.tokens.npy"))
    result = run(
        ulmo, "convert", audio / "0.tokens.npy", "--format", "toy", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "0.tokens.hex").read_bytes() == target.read_bytes()
    monkeypatch.setitem(test_read.READABLE, "toy", "x.tokens.hex")
    test_writers.test_a_length_that_is_not_so_is_refused("toy")
    test_read.test_a_header_that_promises_everything_costs_nothing("toy", tmp_path)
