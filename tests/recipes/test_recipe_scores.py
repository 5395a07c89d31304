"""Substitution scores for a bundle that has none: its ids and its identity stay."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recipes.recipe import read_recipe
from recipes.scores import main, name_corpora
from tests.bundles import PREP, contents, write_small_bundle
from tests.pipelines.training import MODEL
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.card import Card
from ulmo.cli.exits import WRONG_USAGE
from ulmo.preprocessing.store import TileStore

RECIPE = """
train = { objective = "simclr", crop_frames = 16 }
[[corpora]]
name = "Made sounds"
folder = "made"
licence = "CC0-1.0"
url = "https://example.org/made"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture
def work_dir(tiny_tiles, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "tiles").symlink_to(tiny_tiles)
    return str(folder)


@pytest.fixture
def bundle(tiny_tiles, tmp_path):
    made = TileStore(tiny_tiles).manifest
    contents = {"normalization": made.normalization}
    return write_small_bundle(tmp_path / "bundle", made.settings, contents=contents, **MODEL)


def test_a_bundle_gets_scores_and_stays_the_same_tokenizer(bundle, recipe, work_dir):
    before, files = read_bundle(bundle), contents(bundle)
    done = CliRunner().invoke(main, [recipe, work_dir, str(bundle)])
    line = f"{bundle}: it has new scores now; ulmo inspect {bundle} lists its files\n"
    assert (done.exit_code, done.output) == (0, line)
    after = read_bundle(bundle)
    assert before.scores() is None
    assert np.diagonal(after.scores(), axis1=1, axis2=2).mean() > after.scores().mean()
    assert after.manifest.fingerprint == before.manifest.fingerprint
    assert after.manifest.card.notes.endswith("were learned from: Made sounds (CC0-1.0).")
    kept = {name: content for name, content in contents(bundle).items() if name in files}
    assert {name for name in files if kept[name] != files[name]} == {"tokenizer.json"}


def test_pairs_that_are_there_are_used(bundle, recipe, work_dir):
    (Path(work_dir) / "pairs.csv").write_text("a,b,a_times,b_times\nx.wav,y.wav,0 1,0 1\n")
    done = CliRunner().invoke(main, [recipe, work_dir, str(bundle)])
    assert done.exit_code == WRONG_USAGE
    assert "names no pair of recordings that have tiles" in done.output


def test_the_card_names_what_scores_were_learned_from():
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "large.toml")
    card = Card(notes="Before.")
    for _ in range(2):
        card = name_corpora(card, recipe)
    assert card.notes.startswith("Before. Its substitution scores were learned from: Free Spok")
    assert card.notes.count("Sonic Pi samples (CC0-1.0 (35 of 165: MIT))") == 1


def test_tiles_of_another_front_end_are_refused(recipe, work_dir, tmp_path):
    other = write_small_bundle(tmp_path / "other", PREP.model_copy(update={"fmin": 99.0}))
    done = CliRunner().invoke(main, [recipe, work_dir, str(other)])
    assert done.exit_code == WRONG_USAGE
    assert "tiles was prepared with other settings than " in done.output
