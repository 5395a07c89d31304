"""Trains a token model on the corpora of a tokenizer's recipe; its card names them.

AUDIO_ROOT/FOLDER/... -> WORK_DIR/links -> WORK_DIR/tokens -> WORK_DIR/run -> the token model
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import click
from pydantic import Field

from recipes.recipe import Holdout, Recipe, choose_recordings, read_recipe
from recipes.train import link_recordings
from ulmo.bundle.card import Corpus
from ulmo.bundle.token_model import (
    DEFAULT_LM,
    TokenModelCard,
    build_token_model,
    read_token_model,
)
from ulmo.cli.exits import guarded
from ulmo.config import Settings, UserError
from ulmo.config.token_model import TokenModelSettings, TokenTrainSettings
from ulmo.jobs.spread import Spread
from ulmo.pipelines.lm.export import corpus_of
from ulmo.pipelines.lm.run_settings import TOKEN_RUN, read_token_run
from ulmo.pipelines.lm.streams import read_token_corpus, split_tokens
from ulmo.pipelines.lm.train import train_token_model
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files
from ulmo.reports.lm import TokenTrainProgress, token_train_summary
from ulmo.reports.tokenize import TokenizeProgress
from ulmo.tokenizer import load_tokenizer

MAX_BYTES = 6_000_000  # of a token model that ships in the package
PATH = click.Path(path_type=Path)


class TokenModelRecipe(Settings):
    """The content of a recipe's TOML file."""

    tokenizer: Annotated[str, Field(min_length=1, max_length=256)]  # its recipe, from here
    size: Literal["small", "base"]
    model: dict[str, Any] = Field(default_factory=dict)  # of TokenModelSettings
    train: TokenTrainSettings = TokenTrainSettings()
    holdout: Holdout = Holdout()  # recordings kept out beside those of the tokenizer


def read_token_recipe(path: Path) -> tuple[TokenModelRecipe, Recipe]:
    """A recipe, and that of its tokenizer with what both hold out. UserError if it is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}") from None
    recipe = TokenModelRecipe.read(values)
    TokenModelSettings.read(recipe.model)
    base = read_recipe(path.parent / recipe.tokenizer)
    held_out = (*base.holdout.recordings, *recipe.holdout.recordings)
    return recipe, base.model_copy(update={"holdout": Holdout(recordings=held_out)})


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe_file", type=PATH, metavar="RECIPE.toml")
@click.argument("audio_root", type=PATH)
@click.argument("work_dir", type=PATH)
@click.option("--lm", type=PATH, default=DEFAULT_LM, help="[default: ulmo/default_token_model]")
@click.option("--tokenizer", type=PATH, default=None, help="[default: the one that ships]")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count, help="[default: cores]")
@guarded
def main(
    recipe_file: Path,
    audio_root: Path,
    work_dir: Path,
    lm: Path,
    tokenizer: Path | None,
    workers: int,
) -> None:
    """Train RECIPE.toml on the corpora below AUDIO_ROOT, and write the token model.

    Run it again to go on after an interruption.
    """
    recipe, base = read_token_recipe(recipe_file)
    chosen = choose_recordings(base, audio_root)
    links, tokens, run = work_dir / "links", work_dir / "tokens", work_dir / "run"
    link_recordings(chosen, audio_root, links)
    opened = load_tokenizer(tokenizer, threads=1)
    options = TokenizeOptions(channels=opened.manifest.prep.channels)
    with TokenizeProgress() as bar:
        listener = Listener(bar.begin, lambda _: None)
        spread = Spread(workers)
        tokenize_files(opened, [links], options, out=tokens, spread=spread, listener=listener)
    with TokenTrainProgress() as progress:
        summary = train_token_model(
            *(tokens, run, progress),
            size=recipe.size,
            model=recipe.model,
            settings=recipe.train.model_dump(exclude_unset=True),
            tokenizer=tokenizer,
            resume=(run / TOKEN_RUN).exists(),
        )
    click.echo(token_train_summary(summary))
    size = publish(run, tokens, base, tokenizer, lm)
    click.echo(f"published   {lm} ({size:,} bytes)")


def publish(run: Path, tokens: Path, base: Recipe, tokenizer: Path | None, folder: Path) -> int:
    """Write the run's token model to a folder, with a card that names the corpora; its bytes.

    UserError if it is too large to ship.
    """
    trained = read_token_model(run / "lm")
    corpus = read_token_corpus(tokens, load_tokenizer(tokenizer, threads=1))
    settings = read_token_run(run).train
    rows = split_tokens(corpus, settings.validation_fraction, settings.seed).train
    corpora: list[Corpus] = []
    for source in base.corpora:
        own = [row for row in rows if corpus.recordings[row].startswith(f"{source.folder}/")]
        names = {"name": source.name, "licence": source.licence}
        corpora.append(corpus_of(corpus, own).model_copy(update=names))
    places = "; ".join(f"{source.name}: {source.url}" for source in base.corpora)
    held_out = ", ".join(base.holdout.recordings) or "none"
    notes = f"Sources: {places}. Held out by the recipe: {held_out}."
    old = dict(trained.manifest.card)
    card = TokenModelCard(**{**old, "corpora": tuple(corpora), "notes": notes})
    named = build_token_model(
        *(folder, trained.manifest.model, trained.manifest.tokenizer),
        trained.tensors(),
        card,
    )
    size = sum(map(len, (named.packed, named.network, named.text())))
    if size > MAX_BYTES:
        raise UserError(f"the token model has {size:,} bytes, over {MAX_BYTES:,}: set less width")
    named.write()
    return size


if __name__ == "__main__":
    main()
