"""Command-line options made from settings: one for each field, told by its docstring."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from ulmo.config import Settings, read_toml

F = TypeVar("F", bound=Callable[..., Any])

SHORT = {
    "tile_size": ("-M",),
    "encoder_layers": ("-E",),
    "embedding_dim": ("--EMB",),
    "codebook_size": ("--CB",),
    "decoder_layers": ("-D",),
}
"""The seed's symbols, which commands take beside the names."""


class Lazy(click.ParamType[str]):
    """A choice from a table that is only imported when it is asked for."""

    name = "choice"

    def __init__(self, names: Callable[[], list[str]]) -> None:
        self._names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The choices, for `--help`."""
        return f"[{'|'.join(self._names())}]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuse what is not in the table."""
        return click.Choice(self._names()).convert(value, param, ctx)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them."""

    name = "numbers"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How they are written, for `--help`."""
        return "X,Y,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuse what is no number."""
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers with commas between them", param, ctx)


class WholeNumbers(click.ParamType[frozenset[int]]):
    """Whole numbers with commas between them."""

    name = "whole numbers"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How they are written, for `--help`."""
        return "N,N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuse what is none."""
        try:
            return frozenset(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not whole numbers with commas between them", param, ctx)


def settings_options(
    settings: type[Settings],
    tables: dict[str, Callable[[], list[str]]] | None = None,
    *,
    without: Container[str] = (),
) -> Callable[[F], F]:
    """Add an option for each field; those that the user gives arrive as keyword arguments.

    Bounds are checked by the settings themselves. `tables` names the choices of a field; fields
    in `without` get no option.
    """

    def add(function: F) -> F:
        for name, field in reversed(settings.model_fields.items()):
            if name not in without:
                function = _option(name, field, (tables or {}).get(name))(function)
        return function

    return add


def given(arguments: dict[str, Any], settings: type[Settings]) -> dict[str, Any]:
    """Take the settings that the user gave out of a command's arguments."""
    names = [name for name in settings.model_fields if name in arguments]
    return {name: value for name in names if (value := arguments.pop(name)) is not None}


def _option(name: str, field: FieldInfo, table: Callable[[], list[str]] | None) -> Callable[[F], F]:
    words = (field.description or "").split("\n")[0].strip()
    default = f"  [default: {_shown(field.default)}]" if field.default is not None else ""
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    return click.option(
        *SHORT.get(name, ()),
        flag,
        name,
        type=_type(field.annotation, table),
        default=None,
        help=words + default,
    )


def _type(annotation: Any, table: Callable[[], list[str]] | None) -> Any:
    if table is not None:
        return Lazy(table)
    if get_origin(annotation) is Literal:
        return click.Choice([str(choice) for choice in get_args(annotation)])
    inside = (annotation, *get_args(annotation))
    if tuple in (get_origin(kind) for part in inside for kind in (part, _bare(part))):
        return Numbers()
    for kind in (bool, int, float):
        if kind in (annotation, *map(_bare, get_args(annotation))):
            return kind
    return str


def _shown(value: Any) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


def _bare(annotation: Any) -> Any:
    """The type inside Annotated."""
    return get_args(annotation)[0] if get_args(annotation) else annotation


def frontend_names() -> list[str]:
    """Names of the front ends."""
    from ulmo.preprocessing.frontends import FRONTENDS

    return list(FRONTENDS)


def format_names() -> list[str]:
    """Names of the formats of tokens."""
    from ulmo.formats import FORMATS

    return list(FORMATS)


def merged(config: Path | None, table: str, flags: dict[str, Any]) -> dict[str, Any]:
    """A table of the settings file, and over it what was given as flags."""
    return {**(read_toml(config).get(table, {}) if config else {}), **flags}


PATH = click.Path(path_type=Path)
config_option = click.option(
    "--config",
    type=PATH,
    help="TOML file with tables [prep], [augment], [clock], [model], [train].",
)
print_config_option = click.option(
    "--print-config", is_flag=True, help="Print the settings as TOML, and stop."
)


ids_option = click.option(
    "--ids", type=WholeNumbers(), help="Label runs of these ids.  [raven, audacity; default: all]"
)
min_columns_option = click.option(
    "--min-columns",
    type=click.IntRange(1),
    default=1,
    help="Label no shorter runs.  [raven, audacity; default: 1]",
)
