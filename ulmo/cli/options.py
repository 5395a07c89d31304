"""Command-line options made from settings, and help pages that group them under headings.

A command is written as

    @command(
        short_help="Recordings to tiles",           # its line in the list of commands
        examples=("ulmo-prep field/ tiles/", "ulmo-prep field/ tiles/ --frontend cqt"),
    )
    @settings_options(PrepSettings)                 # an option per field, under Settings.groups
    @option("--workers", type=int, group="Output", help="Processes.")

Headings stand in the order in which they first appear; options without a `group` come last, under
"Options". Choices that a table names (front ends, quantizers, objectives, formats) are read from
it when help is shown or an option is parsed, and each is listed with its own words.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from ulmo import __version__
from ulmo.cli.exits import INTERRUPTED, WRONG_USAGE, fail
from ulmo.cli.streams import mend_streams
from ulmo.config import (
    FORMAT_TRAITS,
    OBJECTIVE_TRAITS,
    QUANTIZER_TRAITS,
    Settings,
    UserError,
    help_texts,
    read_toml,
)
from ulmo.config.arguments import ADDRESS, path_argument, place_argument

F = TypeVar("F", bound=Callable[..., Any])
Table = Callable[[], Mapping[str, Any]]  # entries have `words`, and may have `settings`

SHORT = {  # the seed's symbols, which commands take beside the names
    "tile_size": ("-M",),
    "encoder_layers": ("-E",),
    "embedding_dim": ("--EMB",),
    "codebook_size": ("--CB",),
    "decoder_layers": ("-D",),
}
DEFAULT_GROUP = "Options"
EXIT_STATUS = (
    "0 done; 3 done, but some inputs were refused; 2 wrong usage; 1 failed; 130 interrupted."
)


def all_frontends() -> Mapping[str, Any]:
    """The table of front ends."""
    from ulmo.preprocessing.frontends import FRONTENDS

    return FRONTENDS


def all_formats() -> Mapping[str, Any]:
    """The table of formats of tokens."""
    return FORMAT_TRAITS


TABLES: dict[str, Table] = {  # the table that a field takes its choices from
    "frontend": all_frontends,
    "quantizer": lambda: QUANTIZER_TRAITS,
    "objective": lambda: OBJECTIVE_TRAITS,
}


class Lazy(click.ParamType[str]):
    """A name from a table, which is only imported when it is needed.

    `extra` names are valid too. With `weighted`, NAME=WEIGHT,... is taken as it is: the settings
    check it.
    """

    name = "choice"

    def __init__(self, table: Table, extra: Sequence[str] = (), *, weighted: bool = False) -> None:
        self._table = table
        self._extra = extra
        self._weighted = weighted

    @property
    def words(self) -> str:
        """All choices and what they are, for `--help`."""
        return ", ".join(f"{name} ({kind.words})" for name, kind in self._table().items())

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The choices, for `--help`."""
        if self._weighted:
            return "NAME[=WEIGHT],..."
        return f"[{'|'.join([*self._extra, *self._table()])}]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuse a name that is not in the table."""
        if self._weighted:
            return value
        return click.Choice([*self._extra, *self._table()]).convert(value, param, ctx)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The names that begin so; with `weighted`, each of several with commas between them."""
        before, comma, begun = (
            incomplete.rpartition(",") if self._weighted else ("", "", incomplete)
        )
        names = [*self._extra, *self._table()]
        return [CompletionItem(before + comma + name) for name in names if name.startswith(begun)]


class _Numbers(click.ParamType[Any]):
    """Numbers with commas between them."""

    def __init__(
        self, name: str, metavar: str, gather: Callable[[Any], Any], kind: type[float]
    ) -> None:
        self.name = name
        self._metavar = metavar
        self._gather = gather
        self._kind = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How they are written, for `--help`."""
        return self._metavar

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Parse them; refuse anything else."""
        try:
            return self._gather(self._kind(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not {self.name} with commas between them", param, ctx)


class FloatRange(click.FloatRange):
    """A finite number of a range; click lets nan through, and infinity where there is no bound."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse it; refuse anything else."""
        if isfinite(found := super().convert(value, param, ctx)):
            return float(found)
        self.fail(f"{value!r} is not a finite number", param, ctx)


NUMBERS = _Numbers("numbers", "X,Y,...", tuple, float)
WHOLE_NUMBERS = _Numbers("whole numbers", "N,N,...", frozenset, int)


class Option(click.Option):
    """An option under a heading.

    words: reads its help text, if it has no `help`.
    users: those who use a setting that not all of them use. Help adds them, and the words of the
        choices.
    """

    def __init__(
        self,
        *args: Any,
        group: str = DEFAULT_GROUP,
        users: Callable[[], Sequence[str]] = tuple,
        words: Callable[[], str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._words = words
        super().__init__(*args, **kwargs)
        self.group = group
        self._users = users

    @property
    def help(self) -> str | None:
        """The help text; that of a setting is read when it is shown."""
        return self._words() if self._words else self._help

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help text."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        parts = [record[1]]
        if isinstance(self.type, Lazy):
            parts.append(f"{self.type.words}.")
        if users := self._users():
            parts.append(f"Only for {', '.join(users)}.")
        head, mark, default = parts[0].partition("  [default:")
        return record[0], " ".join([head, *parts[1:]]) + mark + default


option = partial(click.option, cls=Option)


class _Main(click.Command):
    """Runs whatever the streams are. Ctrl-C while options are read has the status it always has."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the command line, and do what it says."""
        mend_streams()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line."""
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            fail("interrupted", INTERRUPTED)


class Group(_Main, click.Group):
    """A command that has commands."""


class Command(_Main):
    """A command whose help groups its options under headings, and ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, then the examples."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups.setdefault(getattr(param, "group", DEFAULT_GROUP), []).append(record)
        last = groups.pop(DEFAULT_GROUP, [])
        for heading, records in (*groups.items(), (DEFAULT_GROUP, last)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if "Exit status" not in (self.help or ""):
            with formatter.section("Exit status"):
                formatter.write_text(EXIT_STATUS)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


CONTEXT = {"help_option_names": ["-h", "--help"]}
command = partial(click.command, cls=Command, context_settings=CONTEXT)
version_option = click.version_option(__version__)


def settings_options(settings: type[Settings], *, without: Container[str] = ()) -> Callable[[F], F]:
    """Add an option for each field, in the order and under the headings of `settings.groups`.

    Options that the user gives arrive as keyword arguments; the settings check their bounds.
    Fields in `without` get no option.
    """
    tables = [TABLES[name] for name in settings.model_fields if name in TABLES]
    fields = [(group, name) for group, names in settings.groups.items() for name in names]

    def add(function: F) -> F:
        for group, name in reversed(fields):
            if name not in without:
                field = settings.model_fields[name]
                users, words = partial(_users, tables, name), partial(_words, settings, name)
                function = _option(name, field, group, users, words)(function)
        return function

    return add


def given(arguments: dict[str, Any], settings: type[Settings]) -> dict[str, Any]:
    """Remove the settings that the user gave from a command's arguments, and return them."""
    names = [name for name in settings.model_fields if name in arguments]
    return {name: value for name in names if (value := arguments.pop(name)) is not None}


def _users(tables: Sequence[Table], name: str) -> list[str]:
    """Names of the entries that use a setting; empty if all or none do."""
    entries = [entry for table in tables for entry in table().items()]
    users = [each for each, kind in entries if name in getattr(kind, "settings", ())]
    return users if len(users) < len(entries) else []


def _option(
    name: str,
    field: FieldInfo,
    group: str,
    users: Callable[[], Sequence[str]],
    words: Callable[[], str],
) -> Callable[[F], F]:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    return option(
        *SHORT.get(name, ()),
        flag,
        name,
        type=_type(name, field.annotation),
        default=None,
        group=group,
        users=users,
        words=words,
    )


def _words(settings: type[Settings], name: str) -> str:
    """The help text of a setting."""
    default = settings.model_fields[name].default
    shown = f"  [default: {_shown(default)}]" if default is not None else ""
    return help_texts(settings).get(name, "").split("\n")[0].strip() + shown


def _type(name: str, annotation: Any) -> Any:
    if name in TABLES:
        return Lazy(TABLES[name], weighted=name == "objective")
    if get_origin(annotation) is Literal:
        return click.Choice([str(choice) for choice in get_args(annotation)])
    inside = (annotation, *get_args(annotation))
    if tuple in (get_origin(kind) for part in inside for kind in (part, _bare(part))):
        return NUMBERS
    for kind in (bool, int, float):
        if kind in (annotation, *map(_bare, get_args(annotation))):
            return kind
    return str


def _shown(value: Any) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


def _bare(annotation: Any) -> Any:
    """The type inside Annotated."""
    return get_args(annotation)[0] if get_args(annotation) else annotation


def merged(config: Path | None, table: str, flags: dict[str, Any]) -> dict[str, Any]:
    """A table of the settings file, overridden by the flags."""
    return {**(read_toml(config).get(table, {}) if config else {}), **flags}


class _Path(click.Path):
    """A path, as `read` understands it. An address is wrong usage, named as it was written."""

    def __init__(self, read: Callable[[str, Any], Path | str]) -> None:
        super().__init__()
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return self._read("path", super().convert(value, param, ctx))
        except UserError as error:
            fail(str(error), WRONG_USAGE)


PATH = _Path(path_argument)


def _source(name: str, value: Any) -> Path:
    if isinstance(value, str) and ADDRESS.match(value):
        from ulmo.storage.remote_path import remote_path

        return remote_path(value)
    return path_argument(name, value)


def _output(name: str, value: Any) -> Path:
    if isinstance(value, str) and value.lower().startswith("memory://"):
        raise UserError(f"{value} would be gone with this command: choose a folder, or a store")
    return _source(name, value)


SOURCE = _Path(_source)  # or an address, such as s3://bucket/a.wav
OUTPUT = _Path(_output)  # the same, of what lasts
BUNDLE = _Path(place_argument)  # or hf://owner/name[@revision], which stays a text
config_option = option(
    "--config",
    type=PATH,
    help="TOML file with tables [prep], [augment], [clock], [model], [train]; flags override it.",
)
print_config_option = option(
    "--print-config", is_flag=True, help="Print the settings as TOML, and stop."
)
json_option = option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
quiet_option = option("--quiet", "-q", is_flag=True, help="Print errors only.")
ids_option = option(
    "--ids",
    type=WHOLE_NUMBERS,
    group="Output",
    help="Label only runs of these ids (raven and audacity).  [default: all]",
)
min_columns_option = option(
    "--min-columns",
    type=click.IntRange(1),
    default=1,
    group="Output",
    help="Label only runs of at least this many columns (raven and audacity).  [default: 1]",
)
