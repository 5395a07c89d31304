"""The command ulmo verify: parse, then one call."""

import sys
from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, guarded
from ulmo.cli.output import Output
from ulmo.cli.spread import refuse_spread, spread_of, spread_options
from ulmo.config import UserError


@cli.command(
    "verify",
    short_help="Whether tiles, tokens, a run, a bundle or recordings are whole.",
    examples=("ulmo verify tokens/", "ulmo verify tiles/ --repair", "ulmo verify --audio field/"),
)
@click.argument("place", type=cli.PATH, metavar="DIR|FILE")
@cli.option(
    "--repair",
    is_flag=True,
    help="Delete what is damaged, left over or an orphan; in a run, go back one checkpoint.",
)
@cli.option("--audio", is_flag=True, help="DIR or FILE is recordings: read each to its end.")
@spread_options
@cli.quiet_option
@cli.json_option
@guarded
def verify_(
    place: Path, repair: bool, audio: bool, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Check tiles, tokens, a run or a bundle: counts, checksums, orphans, gaps, duplicates.

    The kind of DIR follows from what lies in it: prep.json or tiles.parquet (tiles), train.json or
    checkpoints/ (a run), tokenizer.json (a bundle), else tokens. FILE is a file of tokens.

    With --audio, DIR is a folder of recordings: which of them have sound that cannot be read, and
    how many frames are missing; and which SoundTrap logs beside them cannot be read to their ends.

    Without --repair nothing is written. With it, what is damaged, left over or orphaned is DELETED,
    but never a whole file of the output, what cannot be read, or what a newer ulmo wrote. The "to
    do" lines say what comes next, such as the same ulmo-prep, ulmo-tokenize or ulmo convert, or
    ulmo-train --resume for a run.

    Exit status: 0 all is well, or was repaired; 3 something is wrong, and is named; 2 nothing could
    be checked or done, and nothing was touched unless the line says so.
    """
    from ulmo.pipelines.verify.verify import verify
    from ulmo.reports.verify import VerifyProgress, verified_json, verified_lines

    if audio and repair:
        raise UserError("--repair never changes recordings: leave it out")
    if audio:
        from ulmo.pipelines.verify.recordings import verify_recordings

        with VerifyProgress(quiet=quiet) as progress:
            found = verify_recordings(place, spread=spread_of(options), begin=progress.begin)
    else:
        refuse_spread()
        found = verify(place, repair=repair)
    shown = Output(as_json, quiet and not found.faults)
    status = SOME_REFUSED if found.faults else 0
    head = {"schema_version": 1, "command": "verify", "exit_status": status}
    shown.show(lambda: verified_lines(found), lambda: {**head, **verified_json(found)})
    sys.exit(status)
