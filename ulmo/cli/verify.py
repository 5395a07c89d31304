"""The command ulmo verify: parse, then one call."""

import json
import sys
from pathlib import Path

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, guarded


@cli.command(
    "verify",
    short_help="Whether tiles, tokens, a run or a bundle are whole.",
    examples=("ulmo verify tokens/", "ulmo verify tiles/ --repair"),
)
@click.argument("place", type=cli.PATH, metavar="DIR|FILE")
@cli.option(
    "--repair",
    is_flag=True,
    help="Delete what is damaged, left over or an orphan; in a run, go back one checkpoint.",
)
@cli.json_option
@guarded
def verify_(place: Path, repair: bool, as_json: bool) -> None:
    """Check tiles, tokens, a run or a bundle: counts, checksums, orphans, gaps, duplicates.

    The kind of DIR follows from what lies in it: prep.json or tiles.parquet (tiles), train.json or
    checkpoints/ (a run), tokenizer.json (a bundle), else tokens. FILE is a file of tokens.

    Without --repair nothing is written. With it, what is damaged, left over or orphaned is DELETED,
    but never a whole file of the output, what cannot be read, or what a newer ulmo wrote. The "to
    do" lines say what comes next, such as the same ulmo-prep, ulmo-tokenize or ulmo convert, or
    ulmo-train --resume for a run.

    Exit status: 0 all is well, or was repaired; 3 something is wrong, and is named; 2 nothing could
    be checked or done, and nothing was touched unless the line says so.
    """
    from ulmo.pipelines.verify.verify import verify
    from ulmo.reports.verify import verified_json, verified_lines

    found = verify(place, repair=repair)
    if as_json:
        click.echo(json.dumps(verified_json(found), indent=2))
    else:
        click.echo(verified_lines(found))
    sys.exit(SOME_REFUSED if found.faults else 0)
