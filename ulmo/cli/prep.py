"""The command ulmo-prep: parse, then one call."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import AGAIN, SOME_REFUSED, guarded
from ulmo.cli.output import Output
from ulmo.cli.spread import spread_of, spread_options
from ulmo.config import AugmentSettings, ClockSettings, Limits, PrepSettings, to_toml


@cli.command(
    short_help="Recordings to tiles.",
    examples=("ulmo-prep recordings/ tiles/", "ulmo-prep recordings/ tiles/ --sample-rate 48000"),
)
@cli.version_option
@click.argument("audio_dir", type=cli.SOURCE)
@click.argument("out_dir", type=cli.OUTPUT)
@cli.settings_options(PrepSettings)
@cli.settings_options(AugmentSettings)
@cli.settings_options(ClockSettings)
@spread_options
@cli.option(
    "--accept-changes",
    is_flag=True,
    help="Bring a complete OUT_DIR up to date with recordings that changed or are gone.",
)
@cli.settings_options(Limits)
@cli.config_option
@cli.print_config_option
@cli.quiet_option
@cli.json_option
@guarded
def prep(
    audio_dir: Path,
    out_dir: Path,
    accept_changes: bool,
    config: Path | None,
    print_config: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Turn every recording below AUDIO_DIR into tiles in OUT_DIR.

    Both may lie in a store, as s3://bucket/field (docs/urls.md). If it was interrupted, run the
    same command again to go on.
    """
    settings = PrepSettings.read(cli.merged(config, "prep", cli.given(flags, PrepSettings)))
    augment = AugmentSettings.read(cli.merged(config, "augment", cli.given(flags, AugmentSettings)))
    clock = ClockSettings.read(cli.merged(config, "clock", cli.given(flags, ClockSettings)))
    limits = Limits.read(cli.given(flags, Limits))
    if print_config:
        click.echo(to_toml({"prep": settings, "augment": augment, "clock": clock}))
        return
    from ulmo.pipelines.prep.prep import prepare
    from ulmo.reports.as_json import prep_json
    from ulmo.reports.prep import PrepProgress, prep_summary
    from ulmo.reports.progress import named_lines
    from ulmo.reports.sound import tiles_line

    shown = Output(as_json, quiet)
    try:
        with PrepProgress(quiet=quiet) as progress:

            def begin(size: int) -> Any:
                if shown.in_words:
                    click.echo(tiles_line(settings, views=augment.views))
                return progress.begin(size)

            summary = prepare(
                audio_dir,
                out_dir,
                settings,
                augment=augment,
                clock=clock,
                spread=spread_of(flags, workers=os.cpu_count()),
                accept_changes=accept_changes,
                limits=limits,
                progress=begin,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(AGAIN) from None
    status = SOME_REFUSED if summary.refused else 0
    for line in named_lines("refused", summary.refused) if quiet else ():
        click.echo(line, err=True)
    shown.show(
        lambda: prep_summary(summary, settings.time_expansion), lambda: prep_json(summary, status)
    )
    sys.exit(status)
