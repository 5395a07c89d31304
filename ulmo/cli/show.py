"""The command ulmo show: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, fail, guarded
from ulmo.config import Limits, PrepSettings


@cli.command(
    short_help="A recording through the front ends, as a picture.",
    examples=("ulmo show bird.wav", "ulmo show bird.wav --frontend mel --start 10 --seconds 5"),
)
@click.argument("file", type=cli.PATH)
@cli.option(
    "--frontend",
    "frontends",
    type=cli.Lazy(cli.all_frontends, ["all"]),
    multiple=True,
    default=["all"],
    group="Picture",
    help="A panel for this front end. May be repeated.  [default: all that are installed]",
)
@cli.option(
    "--start",
    type=click.FloatRange(0),
    default=0.0,
    group="Picture",
    help="First second to draw.  [default: 0]",
)
@cli.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    group="Picture",
    help="Seconds to draw.  [default: to the end]",
)
@cli.option("--out", type=cli.PATH, group="Picture", help="File to write.  [default: FILE.png]")
@cli.settings_options(PrepSettings, without={"frontend"})
@cli.settings_options(Limits)
@cli.config_option
@guarded
def show(
    file: Path,
    frontends: tuple[str, ...],
    start: float,
    seconds: float | None,
    out: Path | None,
    config: Path | None,
    **flags: Any,
) -> None:
    """Draw FILE through the front ends: seconds, hertz, and where its tiles begin."""
    from ulmo.pipelines.show.show import show as draw
    from ulmo.preprocessing.frontends import installed_frontends
    from ulmo.preprocessing.reading.audio import RefusedError
    from ulmo.reports.prep import shown_lines
    from ulmo.storage.atomic import short_name

    limits = Limits.read(cli.given(flags, Limits))
    settings = PrepSettings.read(cli.merged(config, "prep", cli.given(flags, PrepSettings)))
    names = installed_frontends() if "all" in frontends else frontends
    picture = out or file.with_name(f"{short_name(file.name)}.png")
    try:
        shown = draw(
            *(file, picture, names, settings),
            start=start,
            seconds=seconds,
            limits=limits,
            replace=out is not None,
        )
    except RefusedError as refusal:
        fail(f"{file}: refused: {refusal.reason} ({refusal.detail})", SOME_REFUSED)
    click.echo(shown_lines(shown))
