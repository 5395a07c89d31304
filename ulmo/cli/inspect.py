"""The command ulmo inspect: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import guarded
from ulmo.config import Limits


@cli.command(
    "inspect",
    short_help="What a tokenizer is.",
    examples=("ulmo inspect", "ulmo inspect run/tokenizer --json"),
)
@click.argument("bundle", type=cli.PATH, required=False)
@cli.settings_options(Limits)
@cli.json_option
@guarded
def inspect_(bundle: Path | None, as_json: bool, **flags: Any) -> None:
    """Show what a tokenizer is: front end, model, tokens, codebook, card, files.

    BUNDLE is a folder such as RUN_DIR/tokenizer. The default is the tokenizer that ships with ulmo.
    A damaged one is refused, with the reason.
    """
    from ulmo.pipelines.inspect import inspect
    from ulmo.reports.inspect import inspection

    facts = inspect.inspect_bundle(bundle, Limits.read(cli.given(flags, Limits)))
    head = {"schema_version": 1, "command": "inspect", "exit_status": 0}
    shown = cli.Output(as_json)
    shown.show(lambda: inspection(facts), lambda: {**head, **inspect.as_json(facts)})
