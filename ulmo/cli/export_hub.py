"""The command ulmo export-hub: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import guarded
from ulmo.cli.output import Output
from ulmo.config import Limits


@cli.command(
    "export-hub",
    short_help="A tokenizer as a repository to share.",
    examples=("ulmo export-hub run/tokenizer shared/ --license cc-by-4.0",),
)
@click.argument("bundle", type=cli.BUNDLE)
@click.argument("folder", type=cli.PATH)
@cli.option(
    "--license",
    default="unknown",
    metavar="ID",
    help="Under which the tokenizer is shared, such as cc-by-4.0.  [default: unknown]",
)
@cli.settings_options(Limits)
@cli.json_option
@cli.quiet_option
@guarded
def export_hub(
    bundle: Path | str, folder: Path, license: str, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """Write BUNDLE into a new FOLDER, laid out as a repository of the Hugging Face hub.

    It gets a card, README.md, with metadata for the hub's search. Read the card before you share
    it. Nothing is uploaded: 'hf upload OWNER/NAME FOLDER' of the package huggingface_hub does that.
    Others then use it as hf://OWNER/NAME wherever a bundle is named.
    """
    from ulmo.pipelines.export_hub.export_hub import export_hub as export
    from ulmo.pipelines.inspect.inspect import inspect_bundle
    from ulmo.reports.export_hub import export_json, export_lines
    from ulmo.reports.inspect import inspection

    limits = Limits.read(cli.given(flags, Limits))
    facts = inspect_bundle(bundle, limits)._replace(folder="Tokenizer")  # no path of this computer
    exported = export(bundle, folder, described=inspection(facts), license=license, limits=limits)
    shown = Output(as_json, quiet)
    shown.show(lambda: export_lines(exported), lambda: export_json(exported))
