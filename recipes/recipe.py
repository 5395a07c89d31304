"""A recipe: settings, the corpora with their licences, and what must not be trained on."""

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from ulmo.bundle.card import Text
from ulmo.config import Config, Settings, UserError
from ulmo.config.errors import clipped
from ulmo.jobs.inputs import find_recordings

Pattern = Annotated[str, Field(min_length=1, max_length=256)]


def _is_takes(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"takes = {clipped(pattern)} is no regular expression: {error}") from None
    if "what" not in groups:
        raise ValueError(f"takes = {clipped(pattern)} has no group (?P<what>...)")
    return pattern


class Source(Settings):
    """A corpus to train on."""

    name: Text
    folder: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]  # below AUDIO_ROOT
    licence: Text  # SPDX identifiers
    url: Text
    without: tuple[Pattern, ...] = ()  # recordings below the folder that are not free (fnmatch)
    # Over names below the folder: those with the same group `what` are takes of one thing, and are
    # paired (recipes.takes); a group `who` says who made them.
    takes: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_is_takes)] | None = (
        None
    )


class Holdout(Settings):
    """Recordings kept out of training, so that figures on them are honest."""

    recordings: tuple[Pattern, ...] = ()  # fnmatch over FOLDER/PATH, such as `fsdd/*_theo_*`


class Recipe(Config):
    """The content of a recipe's TOML file."""

    corpora: Annotated[tuple[Source, ...], Field(min_length=1, max_length=64)]
    holdout: Holdout = Holdout()

    def without_holdout(self) -> Self:
        """The same recipe, which holds out nothing."""
        return self.model_copy(update={"holdout": Holdout()})


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; UserError of one line if it is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}") from None
    try:
        return Recipe.read(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def choose_recordings(recipe: Recipe, root: Path) -> list[Path]:
    """Recordings to train on, FOLDER/PATH below the root.

    UserError for a missing corpus, and for a pattern that matches nothing: it would hold out
    nothing, unnoticed.
    """
    chosen = []
    held_out: set[str] = set()
    for corpus in recipe.corpora:
        folder = root / corpus.folder
        names = [path.as_posix() for path in find_recordings(folder)] if folder.is_dir() else []
        if not names:
            raise UserError(f"there are no recordings of {corpus.name} below {folder}")
        barred = _matched(corpus.without, names, corpus.folder)
        names = [f"{corpus.folder}/{name}" for name in names if name not in barred]
        held_out |= {name for name in names if _matches(name, recipe.holdout.recordings)}
        chosen += names
    _matched(recipe.holdout.recordings, list(held_out), "holdout")
    return [Path(name) for name in chosen if name not in held_out]


def _matched(patterns: tuple[str, ...], names: list[str], where: str) -> set[str]:
    """Names that match a pattern; UserError if a pattern matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{where}: the pattern {pattern!r} leaves out no recording")
    return {name for name in names if _matches(name, patterns)}


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
