"""Trains a tokenizer on the corpora of a recipe; its card names them.

AUDIO_ROOT/FOLDER/... -> WORK_DIR/links -> WORK_DIR/tiles -> WORK_DIR/run -> the bundle
"""

import os
import sys
from pathlib import Path

import click
import numpy as np

from recipes.pairs import PAIRS, gather_pairs
from recipes.recipe import Recipe, choose_recordings, read_recipe
from ulmo.bundle.bundle import DEFAULT, read_bundle, rebuilt, write_bundle
from ulmo.bundle.card import Card, Corpus
from ulmo.bundle.graph import encoder_size
from ulmo.bundle.scores import may_have_scores, scores_size
from ulmo.bundle.weights import weights_size
from ulmo.cli.exits import SOME_REFUSED, guarded
from ulmo.config import ModelSettings, UserError
from ulmo.dataset import split_by_recording
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train.export import describe_corpus
from ulmo.pipelines.train.train import train
from ulmo.preprocessing.store import TileStore
from ulmo.reports.prep import PrepProgress, prep_summary
from ulmo.reports.train import TrainProgress, train_summary
from ulmo.storage.names import portable
from ulmo.storage.run_manifest import RUN_MANIFEST, read_run

MAX_BYTES = 6_000_000  # of a bundle that ships in the package
PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe_file", type=PATH, metavar="RECIPE.toml")
@click.argument("audio_root", type=PATH)
@click.argument("work_dir", type=PATH)
@click.option("--bundle", type=PATH, default=DEFAULT, help="[default: ulmo/default_tokenizer]")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count, help="[default: cores]")
@click.option(
    "--no-hold-out",
    is_flag=True,
    help="Train on the recordings of [holdout], too, when the figures on them are known.",
)
@guarded
def main(
    recipe_file: Path,
    audio_root: Path,
    work_dir: Path,
    bundle: Path,
    workers: int,
    no_hold_out: bool,
) -> None:
    """Train RECIPE.toml on the corpora below AUDIO_ROOT, and write the bundle.

    Run it again to go on after an interruption.
    """
    recipe = read_recipe(recipe_file)
    if no_hold_out:
        recipe = recipe.without_holdout()
    check_bytes(recipe.model)
    chosen = choose_recordings(recipe, audio_root)
    link_recordings(chosen, audio_root, work_dir / "links")
    tiles, run = work_dir / "tiles", work_dir / "run"
    with PrepProgress() as bar:
        prepared = prepare(
            work_dir / "links",
            tiles,
            recipe.prep,
            augment=recipe.augment,
            clock=recipe.clock,
            spread=Spread(workers),
            progress=bar.begin,
        )
    click.echo(prep_summary(prepared))
    begun = (run / RUN_MANIFEST).exists()
    settings = recipe.train.model_dump()
    if any(one.wants == "views" for one in recipe.train.traits):
        pairs = work_dir / PAIRS
        if gather_pairs(recipe, audio_root, chosen, pairs):
            settings["pairs"] = portable(pairs)
    with TrainProgress() as reporter:
        trained = train(tiles, run, recipe.model.model_dump(), settings, reporter, resume=begun)
    click.echo(train_summary(trained))
    publish(run, tiles, recipe, bundle)
    size = sum(path.stat().st_size for path in bundle.iterdir())
    click.echo(f"bundle      {bundle} ({size:,} bytes): ulmo inspect {bundle}")
    sys.exit(SOME_REFUSED if prepared.refused else 0)


def check_bytes(model: ModelSettings) -> None:
    """UserError if the bundle of a model would be too large to ship."""
    size = weights_size(model) + encoder_size(model)
    if may_have_scores(model):
        size += scores_size(model)
    if size > MAX_BYTES:
        raise UserError(f"its bundle would have {size:,} bytes, over {MAX_BYTES:,}: set less width")


def link_recordings(recordings: list[Path], root: Path, folder: Path) -> None:
    """Make `folder` mirror the root with links to these recordings and no others."""
    wanted = {folder / recording: (root / recording).resolve() for recording in recordings}
    for path in list(folder.rglob("*")):
        if path.is_symlink() and path.readlink() != wanted.get(path):
            path.unlink()
    for link, target in wanted.items():
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)


def publish(run: Path, tiles: Path, recipe: Recipe, folder: Path) -> None:
    """Write the run's bundle to a folder, with a card that names the corpora and their licences."""
    bundle = read_bundle(run / "tokenizer")
    card = name_corpora(bundle.manifest.card, run, tiles, recipe)
    write_bundle(folder, rebuilt(bundle, card=card, scores=bundle.scores()))


def name_corpora(card: Card, run: Path, tiles: Path, recipe: Recipe) -> Card:
    """The card of a run with a row for each corpus; held-out recordings are not counted."""
    settings, store = read_run(run).train, TileStore(tiles)
    rows = split_by_recording(store, settings.validation_fraction, settings.seed).train
    corpora: list[Corpus] = []
    for source in recipe.corpora:
        own = [row for row in rows if store.recordings[row].startswith(f"{source.folder}/")]
        names = {"name": source.name, "licence": source.licence}
        corpora.append(describe_corpus(store, np.array(own, np.int64)).model_copy(update=names))
    places = "; ".join(f"{source.name}: {source.url}" for source in recipe.corpora)
    held_out = ", ".join(recipe.holdout.recordings) or "none"
    notes = f"{card.notes} Sources: {places}. Held out by the recipe: {held_out}."
    return Card(**{**dict(card), "corpora": tuple(corpora), "notes": notes})


if __name__ == "__main__":
    main()
