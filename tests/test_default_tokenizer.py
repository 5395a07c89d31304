"""The tokenizer that ships: whatever it is, it is small, says whose sound it knows, and works."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import ulmo
from recipes.recipe import read_recipe
from tests.conftest import SAMPLES
from tests.oracles import wav_bytes
from ulmo.bundle.bundle import DEFAULT, read_bundle
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.cli.main import ulmo as command
from ulmo.cli.tokenize import tokenize

pytestmark = pytest.mark.filterwarnings(
    "ignore:over a third of the sound", "ignore:the sound is fainter"
)  # what is lost is not the matter here
ROOT = Path(__file__).parents[1]
MAX_BYTES = 6_000_000
FREE = re.compile(r"(CC0|CC-BY|CC-BY-SA|BSD|MIT)(-[0-9].*)?( \(.*\))?")
"""Of the corpora of a model that ships."""


@pytest.fixture(scope="module")
def tokenizer():
    return ulmo.load_tokenizer()


def test_it_is_four_files_of_the_package_and_small():
    assert sorted(path.name for path in DEFAULT.iterdir()) == [
        *("encoder.onnx", "model.safetensors", "substitution.safetensors", "tokenizer.json")
    ]
    assert sum(path.stat().st_size for path in DEFAULT.iterdir()) <= MAX_BYTES
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    targets = project["tool"]["hatch"]["build"]["targets"]
    packages, source = targets["wheel"]["packages"], targets["sdist"]["include"]
    assert DEFAULT.relative_to(ROOT).parts[0] in packages
    assert {"ulmo", "recipes"} <= set(source)


def test_its_card_names_every_corpus_and_its_licence():
    card = read_bundle(DEFAULT).manifest.card
    assert card.corpora
    for corpus in card.corpora:
        assert corpus.name
        assert corpus.recordings > 0
        assert corpus.hours > 0
        assert FREE.fullmatch(corpus.licence), corpus.licence


def test_it_is_the_recipes():
    recipe, manifest = read_recipe(ROOT / "recipes" / "large.toml"), read_bundle(DEFAULT).manifest
    assert (manifest.prep, manifest.model) == (recipe.prep, recipe.model)
    named = [(corpus.name, corpus.licence) for corpus in recipe.corpora]
    assert [(corpus.name, corpus.licence) for corpus in manifest.card.corpora] == named


def test_its_scores_say_that_an_id_stands_for_itself():
    """Better than for 9 of 10 others: rare ones that are alike may score higher."""
    scores = read_bundle(DEFAULT).scores()
    np.testing.assert_allclose(scores, scores.transpose(0, 2, 1), atol=0.01)
    for band in scores:
        own = np.diagonal(band)
        assert (band > own[:, None]).mean() < 0.1
        assert np.median(own) > 3


def test_its_thresholds_rise():
    thresholds = read_bundle(DEFAULT).thresholds()
    assert thresholds.shape[1] == len(UNK_QUANTILES)
    assert (thresholds[:, 0] > 0).all()
    assert (thresholds[:, -1] > thresholds[:, 0]).mean() > 0.9


def test_it_is_taken_where_none_is_named(tokenizer):
    tokens = tokenizer.encode(SAMPLES / "speech" / "vowels.wav")
    assert tokens.fingerprint == read_bundle(DEFAULT).manifest.fingerprint
    assert tokens.ids.shape[1] == tokenizer.manifest.model.bands
    assert len(np.unique(tokens.ids)) > 10
    tiles = tokenizer.decode(tokens)
    assert np.isfinite(tiles).all()
    assert tiles.shape[1:] == (tokenizer.manifest.prep.tile_size,) * 2 + (1,)


def test_what_it_decodes_is_nearer_to_the_sound_than_a_constant(tokenizer):
    manifest = tokenizer.manifest
    for name in ("speech/vowels.wav", "noise_bursts.wav"):
        expected = ulmo.preprocess(
            SAMPLES / name, settings=manifest.prep, normalization=manifest.normalization
        )[0]
        found = tokenizer.decode(tokenizer.encode(SAMPLES / name))[0]
        assert np.mean((found - expected) ** 2) < 0.8 * np.var(expected)


def test_the_command_takes_it(tokenizer, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(
        wav_bytes((np.sin(np.arange(32_000)) * 9000).astype("<i2").tobytes(), sample_rate=16_000)
    )
    done = CliRunner().invoke(tokenize, [str(path)])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(np.load(tmp_path / "x.tokens.npy"), tokenizer.encode(path).ids)


def test_inspect_shows_it():
    shown, named = (
        CliRunner().invoke(command, ["inspect", *arguments]) for arguments in ([], [str(DEFAULT)])
    )
    assert shown.exit_code == 0
    assert shown.stdout == named.stdout
    assert read_bundle(DEFAULT).manifest.fingerprint in shown.stdout
