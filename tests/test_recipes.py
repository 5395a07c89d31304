"""Recipes: what they name, what they leave out, and a small one from recordings to a bundle."""

from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from recipes.corpora.table import CORPORA
from recipes.pairs import gather_pairs
from recipes.recipe import Recipe, choose_recordings, read_recipe
from recipes.train import check_bytes, link_recordings, main
from tests.bundles import contents
from tests.conftest import SAMPLES
from tests.small_tokenizers import sound
from tests.test_default_tokenizer import FREE
from ulmo.bundle.bundle import read_bundle
from ulmo.config import ModelSettings, UserError
from ulmo.pipelines.train.pairs import read_pairs
from ulmo.preprocessing.store import TileStore

RECIPES = Path(__file__).parents[1] / "recipes"
ALLOWED = {"fsdd", "esc10", "asterisk", "fly_song", "maad_forest", "opensoundscape", *CORPORA}
"""Folders of the corpora that a shipped model may be trained on."""
SMALL = """
prep = { frontend = "stft", tile_size = 32, sample_rate = 8000, hop_length = 64 }
train = { epochs = 1, batch_size = 8, validation_fraction = 0.3 }
[model]
tile_size = 32
encoder_layers = 1
decoder_layers = 1
embedding_dim = 4
codebook_size = 16
width = 8
frequency_stride = 8
time_stride = 4
[[corpora]]
name = "Made sounds"
folder = "made"
licence = "CC0-1.0"
url = "https://example.org/made"
without = ["*click*"]
[[corpora]]
name = "Chirps"
folder = "chirps"
licence = "MIT"
url = "https://example.org/chirps"
[holdout]
recordings = ["chirps/*_b_*", "made/near_silence.wav"]
"""
CHOSEN = [
    *(f"made/{name}.wav" for name in ("harmonic_calls", "noise_bursts", "whistles")),
    *(f"chirps/chirp_a_{number}.wav" for number in (0, 2, 4)),
]
HELD_OUT = "made/near_silence.wav"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two corpora: some of data_samples, and six chirps of two speakers."""
    root = tmp_path_factory.mktemp("audio")
    (root / "made").mkdir()
    for path in SAMPLES.glob("*.wav"):
        (root / "made" / path.name).symlink_to(path)
    (root / "chirps").mkdir()
    for number in range(6):
        name = f"chirp_{'ab'[number % 2]}_{number}.wav"
        soundfile.write(root / "chirps" / name, sound(4000 + 500 * number), 8000)
    return root


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("name", ["default", "large"])
def test_recipes_are_small_and_of_free_corpora(name):
    recipe = read_recipe(RECIPES / f"{name}.toml")
    check_bytes(recipe.model)
    assert recipe.prep.tile_size == recipe.model.tile_size
    assert {corpus.folder for corpus in recipe.corpora} <= ALLOWED
    for corpus in recipe.corpora:
        assert FREE.fullmatch(corpus.licence), corpus.licence
        assert corpus.url.startswith("https://")
    assert recipe.holdout.recordings


def test_the_large_one_has_every_corpus_that_is_made():
    licences = {each.folder: each.licence for each in read_recipe(RECIPES / "large.toml").corpora}
    assert set(licences) == ALLOWED - {"asterisk"}  # which asterisk_prompts has
    assert {folder: licences[folder] for folder in CORPORA} == {
        folder: corpus.licence for folder, corpus in CORPORA.items()
    }


def test_what_is_not_free_or_held_out_is_left_out(recipe, root):
    chosen = choose_recordings(read_recipe(recipe), root)
    assert [path.as_posix() for path in chosen] == CHOSEN
    everything = choose_recordings(read_recipe(recipe).without_holdout(), root)
    held_out = {path.as_posix() for path in set(everything) - set(chosen)}
    assert held_out == {*(f"chirps/chirp_b_{number}.wav" for number in (1, 3, 5)), HELD_OUT}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("*click*", "*clack*"), r"made: the pattern '\*clack\*' leaves out no recording"),
        (("chirps/*_b_*", "*_c_*"), r"holdout: the pattern '\*_c_\*' leaves out no recording"),
        (('folder = "chirps"', 'folder = "trills"'), "no recordings of Chirps below .*trills"),
        (('folder = "chirps"', 'folder = "../x"'), "corpora.1.folder = '../x'"),
        (("[holdout]", "[held_out]"), "unknown setting 'held_out'"),
        (("width = 8", "width = "), "cannot be read as TOML"),
        (('folder = "chirps"', 'folder = "chirps"\ntakes = "(a"'), "takes = .* is no regular exp"),
        (('folder = "chirps"', 'folder = "chirps"\ntakes = "a"'), "takes = .* has no group"),
    ],
)
def test_mistakes_are_one_line(change, line, recipe, root):
    recipe.write_text(SMALL.replace(*change))
    with pytest.raises(UserError, match=line):
        choose_recordings(read_recipe(recipe), root)


def test_a_recipe_has_corpora_and_a_bundle_small_enough_to_ship():
    with pytest.raises(UserError, match="'corpora' is missing"):
        Recipe.read({})
    with pytest.raises(UserError, match=r"13,7\d\d,\d\d\d bytes, over 6,000,000: set less width"):
        check_bytes(ModelSettings())  # before it is trained


def test_links_mirror_the_root_and_old_ones_go(root, tmp_path):
    folder = tmp_path / "links"
    link_recordings([Path("made/whistles.wav"), Path("chirps/chirp_b_1.wav")], root, folder)
    (folder / "made" / "notes.txt").write_text("mine")
    link_recordings([Path("made/whistles.wav")], root, folder)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(files) == ["made/notes.txt", "made/whistles.wav"]
    target = folder / "made" / "whistles.wav"
    assert target.resolve() == (SAMPLES / "whistles.wav").resolve()


def test_pairs_of_all_corpora_are_gathered(recipe, root, tmp_path):
    """Those of recordings that are held out, or not free, are left out."""
    found = read_recipe(recipe)
    chosen, path = choose_recordings(found, root), tmp_path / "pairs.csv"
    assert not gather_pairs(found, root, chosen, path)
    names = ["chirp_a_0", "chirp_a_2", "chirp_b_1"]
    rows = [f"{names[0]}.wav,{other}.wav,0 1,0 1.5" for other in names[1:]]
    given = root / "chirps" / "pairs.csv"
    given.write_text("\n".join(["a,b,a_times,b_times", *rows]), encoding="utf-8")
    try:
        assert gather_pairs(found, root, chosen, path)
    finally:
        given.unlink()
    assert path.read_text(encoding="utf-8") == (
        "a,b,a_times,b_times\nchirps/chirp_a_0.wav,chirps/chirp_a_2.wav,0 1,0 1.5\n"
    )
    assert read_pairs(path, CHOSEN).recordings == tuple(f"chirps/{name}.wav" for name in names[:2])


def test_pairs_that_training_would_refuse_are_refused_before_it(recipe, root, tmp_path):
    found = read_recipe(recipe)
    given = root / "chirps" / "pairs.csv"
    row = "chirp_a_0.wav,chirp_a_2.wav,1 0,0 1"
    given.write_text(f"a,b,a_times,b_times\n{row}\n", encoding="utf-8")
    try:
        with pytest.raises(UserError, match="line 2: times must be seconds"):
            gather_pairs(found, root, choose_recordings(found, root), tmp_path / "pairs.csv")
    finally:
        given.unlink()


def test_from_recordings_to_a_bundle_and_again(recipe, root, tmp_path, no_pixels):
    command = [str(path) for path in (recipe, root, tmp_path / "work")]
    command += ["--bundle", str(tmp_path / "bundle"), "--workers", "1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    store = TileStore(tmp_path / "work" / "tiles")
    assert sorted(set(store.recordings.tolist())) == sorted(CHOSEN)
    bundle, own = read_bundle(tmp_path / "bundle"), tmp_path / "work" / "run" / "tokenizer"
    assert bundle.manifest.fingerprint == read_bundle(own).manifest.fingerprint
    card = bundle.manifest.card
    assert [(corpus.name, corpus.licence) for corpus in card.corpora] == [
        *(("Made sounds", "CC0-1.0"), ("Chirps", "MIT"))
    ]
    assert sum(corpus.recordings for corpus in card.corpora) == 4  # of 6, 30 % for validation
    assert "Chirps: https://example.org/chirps" in card.notes
    assert "chirps/*_b_*" in card.notes
    before = contents(tmp_path / "bundle")
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 0, again.output
    assert contents(tmp_path / "bundle") == before
