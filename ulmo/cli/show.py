"""The command ulmo show: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, fail, guarded
from ulmo.cli.listening import tokenizer_option
from ulmo.config import Limits, PrepSettings


@cli.command(
    short_help="A recording through the front ends, as a picture.",
    examples=("ulmo show bird.wav", "ulmo show bird.wav --tokens --start 10 --seconds 5"),
)
@click.argument("file", type=cli.PATH)
@cli.option(
    "--frontend",
    "frontends",
    type=cli.Lazy(cli.all_frontends, ["all"]),
    multiple=True,
    group="Picture",
    help="A panel for this front end. May be repeated.  [default: all that are installed; with "
    "--tokens, that of the tokenizer]",
)
@cli.option(
    "--tokens",
    is_flag=True,
    group="Picture",
    help="Draw the tokens below, too. Settings of sound are then those of the tokenizer, unless "
    "you give others.",
)
@tokenizer_option
@cli.option(
    "--start",
    type=cli.FloatRange(0),
    default=0.0,
    group="Picture",
    help="First second to draw.  [default: 0]",
)
@cli.option(
    "--seconds",
    type=cli.FloatRange(0, min_open=True),
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
    tokens: bool,
    tokenizer: Path | str | None,
    start: float,
    seconds: float | None,
    out: Path | None,
    config: Path | None,
    **flags: Any,
) -> None:
    """Draw FILE through the front ends: seconds, hertz, and where its tiles begin; its tokens."""
    from ulmo.pipelines.show.show import show as draw
    from ulmo.preprocessing.frontends import installed_frontends
    from ulmo.preprocessing.reading.audio import RefusedError
    from ulmo.reports.prep import shown_lines
    from ulmo.storage.atomic import short_name

    limits = Limits.read(cli.given(flags, Limits))
    given = cli.merged(config, "prep", cli.given(flags, PrepSettings))
    used = _tokenizer(tokenizer, limits) if tokens else None
    if used is not None:
        given = {**used.prep.model_dump(), **given}
        frontends = frontends or (used.prep.frontend,)
    settings = PrepSettings.read(given)
    if used is not None:
        used = used.with_sound(settings.time_expansion, settings.full_scale)
    names = frontends if frontends and "all" not in frontends else installed_frontends()
    picture = out or file.with_name(f"{short_name(file.name)}.png")
    try:
        shown = draw(
            *(file, picture, names, settings),
            start=start,
            seconds=seconds,
            limits=limits,
            tokenizer=used,
            replace=out is not None,
        )
    except RefusedError as refusal:
        fail(f"{file}: refused: {refusal.reason} ({refusal.detail})", SOME_REFUSED)
    click.echo(shown_lines(shown))


def _tokenizer(bundle: Path | str | None, limits: Limits) -> Any:
    from ulmo.tokenizer import load_tokenizer

    return load_tokenizer(bundle, **limits.model_dump())
