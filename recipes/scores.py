"""Learns the scores of substitution of a bundle anew; its ids and its fingerprint stay.

BUNDLE, TILES_DIR of the same front end -> BUNDLE with substitution.safetensors
"""

from pathlib import Path

import click

from recipes.recipe import Recipe, read_recipe
from ulmo.bundle.bundle import build_bundle, read_bundle, write_bundle
from ulmo.bundle.card import Card
from ulmo.cli.exits import guarded
from ulmo.config import TrainSettings, UserError
from ulmo.dataset import Loudness, split_by_recording
from ulmo.pipelines.train.pairs import read_pairs
from ulmo.pipelines.train.train import loading_tensorflow
from ulmo.preprocessing.store import TileStore
from ulmo.storage.names import portable
from ulmo.tokenizer import Tokenizer

PATH = click.Path(path_type=Path)
CROP = 128  # frames: as long as most words
_LEARNED = "Its scores of substitution were learned from:"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=PATH, metavar="BUNDLE")
@click.argument("tiles_dir", type=PATH)
@click.option("--pairs", type=PATH, help="CSV of recordings with the same content.")
@click.option("--recipe", type=PATH, help="Recipe of the tiles: the card will name its corpora.")
@guarded
def main(folder: Path, tiles_dir: Path, pairs: Path | None, recipe: Path | None) -> None:
    """Learn from TILES_DIR which ids of BUNDLE stand for each other."""
    bundle, store = read_bundle(folder), TileStore(tiles_dir)
    manifest = bundle.manifest
    if manifest.prep != store.manifest.settings or manifest.normalization is None:
        raise UserError(f"{tiles_dir} was prepared with other settings than {folder}")
    store.renormalize(manifest.normalization)
    with loading_tensorflow():
        from ulmo.pipelines.train.feed import Feed
        from ulmo.pipelines.train.substitution import learn_scores
    views = {"crop_frames": CROP, "warp_spread": 0.12, "tilt_db": 2}
    named = None if pairs is None else portable(pairs)
    settings = TrainSettings.model_validate({"objective": "simclr", "pairs": named, **views})
    rows = split_by_recording(store, settings.validation_fraction, settings.seed).train
    found = None if pairs is None else read_pairs(pairs, store.recordings.tolist())
    loudness, wants = Loudness(store, manifest.model), frozenset[str]()
    feed = Feed(loudness, settings, wants=wants, pairs=found, training=rows)
    scores = learn_scores(Tokenizer(bundle), feed, rows, settings.seed)
    built = build_bundle(
        prep=manifest.prep,
        normalization=manifest.normalization,
        model=manifest.model,
        weights=bundle.weights(),
        thresholds=bundle.thresholds(),
        card=manifest.card if recipe is None else name_corpora(manifest.card, read_recipe(recipe)),
        scores=scores,
    )
    write_bundle(folder, built)
    click.echo(f"{folder}: ulmo inspect shows its files")


def name_corpora(card: Card, recipe: Recipe) -> Card:
    """A card whose notes name the corpora that scores were learned from, and their licences."""
    named = ", ".join(f"{corpus.name} ({corpus.licence})" for corpus in recipe.corpora)
    notes = f"{card.notes.partition(_LEARNED)[0].rstrip()} {_LEARNED} {named}."
    return Card.model_validate({**dict(card), "notes": notes})


if __name__ == "__main__":
    main()
