"""The command ulmo convert: parse, then one call."""

import sys
from pathlib import Path

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, guarded
from ulmo.cli.output import Output
from ulmo.config.errors import printable


@cli.command(
    short_help="Tokens to another format, or to one corpus.",
    examples=(
        "ulmo convert tokens/ --format parquet --out corpus.parquet",
        "ulmo convert tokens/ --format raven --out labels/",
    ),
)
@click.argument("tokens", type=cli.PATH, nargs=-1, required=True, metavar="TOKENS...")
@cli.option(
    "--format",
    "file_format",
    type=cli.Lazy(cli.all_formats),
    required=True,
    group="Output",
    help="Format to write.",
)
@cli.option(
    "--out",
    type=cli.PATH,
    required=True,
    metavar="PATH",
    group="Output",
    help="The corpus to write; for npy, raven and audacity a folder, with a file for each.",
)
@cli.option(
    "--partial",
    is_flag=True,
    group="Input",
    help="Take what is there of a folder that ulmo-tokenize has not finished, or that lost files.",
)
@cli.ids_option
@cli.min_columns_option
@cli.quiet_option
@cli.json_option
@guarded
def convert(
    tokens: tuple[Path, ...],
    file_format: str,
    out: Path,
    ids: frozenset[int] | None,
    min_columns: int,
    partial: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write *.tokens.npy files, and all below folders, as a corpus to train on, or as labels."""
    from ulmo.formats.base import Labelling
    from ulmo.pipelines.convert.convert import Converted
    from ulmo.pipelines.convert.convert import convert as run
    from ulmo.reports.as_json import convert_json
    from ulmo.reports.tokenize import convert_summary, converted_line

    shown = Output(as_json, quiet)

    def done(result: Converted) -> None:
        if result.refusal is not None or shown.in_words:
            click.echo(converted_line(result), err=result.refusal is not None)

    def warn(line: str) -> None:
        click.echo(printable(line), err=True)

    chosen = Labelling(ids, min_columns)
    results = run(tokens, out, file_format, labelling=chosen, partial=partial, done=done, warn=warn)
    status = SOME_REFUSED if any(result.refusal for result in results) else 0
    shown.show(lambda: convert_summary(results, out), lambda: convert_json(results, out, status))
    sys.exit(status)
