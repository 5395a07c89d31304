"""Learns the substitution scores of a bundle anew; its ids and its fingerprint stay.

The tiles and pairs of recipes.train -> the bundle, with substitution.safetensors
"""

from pathlib import Path

import click

from recipes.pairs import PAIRS
from recipes.recipe import Recipe, read_recipe
from ulmo.bundle.bundle import read_bundle, rebuilt, write_bundle
from ulmo.bundle.card import Card
from ulmo.cli.exits import guarded
from ulmo.config import UserError
from ulmo.dataset import Loudness, split_by_recording
from ulmo.pipelines.loading import loading_tensorflow
from ulmo.pipelines.train.pairs import read_pairs
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

PATH = click.Path(path_type=Path)
_LEARNED = "Its substitution scores were learned from:"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe_file", type=PATH, metavar="RECIPE.toml")
@click.argument("work_dir", type=PATH)
@click.argument("folder", type=PATH, metavar="BUNDLE")
@guarded
def main(recipe_file: Path, work_dir: Path, folder: Path) -> None:
    """Learn which ids of BUNDLE stand for each other, from the tiles in WORK_DIR.

    They are those that recipes.train has made of RECIPE.toml; its views decide what is compared.
    """
    recipe = read_recipe(recipe_file)
    bundle, store = read_bundle(folder), TileStore(work_dir / "tiles")
    manifest, settings = bundle.manifest, recipe.train
    if manifest.prep != store.manifest.settings:
        raise UserError(
            f"{store.folder} was prepared with other settings than {folder}: name a recipe with "
            "the [prep] of that bundle, or another bundle"
        )
    if manifest.normalization is not None:
        store.renormalize(manifest.normalization)
    rows = split_by_recording(store, settings.validation_fraction, settings.seed).train
    path = work_dir / PAIRS
    pairs = read_pairs(path, store.recordings.tolist()) if path.exists() else None
    with loading_tensorflow():
        from ulmo.pipelines.train.feed import Feed
        from ulmo.pipelines.train.substitution import learn_scores
    loudness = Loudness(store, manifest.model)
    feed = Feed(loudness, settings, wants=frozenset(), pairs=pairs, training=rows)
    scores = learn_scores(Tokenizer(bundle), feed, rows, settings.seed)
    write_bundle(folder, rebuilt(bundle, card=name_corpora(manifest.card, recipe), scores=scores))
    click.echo(f"{folder}: it has new scores now; ulmo inspect {folder} lists its files")


def name_corpora(card: Card, recipe: Recipe) -> Card:
    """A card whose notes name the corpora that scores were learned from, and their licences."""
    named = ", ".join(f"{corpus.name} ({corpus.licence})" for corpus in recipe.corpora)
    notes = f"{card.notes.partition(_LEARNED)[0].rstrip()} {_LEARNED} {named}."
    return Card.model_validate({**dict(card), "notes": notes})


if __name__ == "__main__":
    main()
