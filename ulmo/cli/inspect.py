"""The command ulmo inspect: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import guarded
from ulmo.cli.output import Output
from ulmo.config import Limits


@cli.command(
    "inspect",
    short_help="What a tokenizer or a token model is.",
    examples=("ulmo inspect", "ulmo inspect run/tokenizer --json", "ulmo inspect run/lm"),
)
@click.argument("bundle", type=cli.BUNDLE, required=False)
@cli.settings_options(Limits)
@cli.json_option
@guarded
def inspect_(bundle: Path | str | None, as_json: bool, **flags: Any) -> None:
    """Show what a tokenizer is: front end, model, tokens, codebook, card, files.

    BUNDLE is a folder such as RUN_DIR/tokenizer, a zip file of one, or hf://OWNER/NAME[@REVISION];
    or a token model such as RUN_DIR/lm. The default is the tokenizer that ships with ulmo. A
    damaged one is refused, with the reason.
    """
    from ulmo.pipelines.inspect import inspect, token_model

    head = {"schema_version": 1, "command": "inspect", "exit_status": 0}
    shown = Output(as_json)
    if isinstance(bundle, Path) and token_model.is_token_model(bundle):
        from ulmo.reports.lm import token_model_inspection

        found = token_model.inspect_token_model(bundle)
        shown.show(
            lambda: token_model_inspection(found), lambda: {**head, **token_model.as_json(found)}
        )
        return
    from ulmo.reports.inspect import inspection

    facts = inspect.inspect_bundle(bundle, Limits.read(cli.given(flags, Limits)))
    shown.show(lambda: inspection(facts), lambda: {**head, **inspect.as_json(facts)})
