"""The command ulmo look: parse, then one call."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, fail, guarded
from ulmo.cli.listening import hearing_options, listening_options, lm_option, opened_sources
from ulmo.cli.output import Output


@cli.command(
    short_help="A recording, its tokens and repeats, as a page to look at and listen to.",
    examples=("ulmo look bird.wav", "ulmo look bat.wav --time-expansion 10 --out bat.html"),
)
@click.argument("file", type=cli.PATH, metavar="FILE|FOLDER|TOKENS")
@cli.option(
    "--out",
    type=cli.PATH,
    metavar="PAGE.html",
    group="Output",
    help="The page to write.  [default: FILE.html]",
)
@cli.option(
    "--start",
    "start_s",
    type=cli.FloatRange(0),
    default=0.0,
    group="Page",
    help="First second to show.  [default: 0]",
)
@cli.option(
    "--seconds",
    type=cli.FloatRange(0, min_open=True),
    group="Page",
    help="Seconds to show.  [default: to the end]",
)
@cli.option(
    "--false-per-hour",
    type=float,
    metavar="X",
    group="Page",
    help="Repeats of an hour of sound that may be there by chance.  "
    "[default: about two on the page]",
)
@cli.option(
    "--impulses/--no-impulses",
    default=True,
    group="Page",
    help="Look for trains of clicks, pulses and ticks, too.  [default: yes]",
)
@cli.option(
    "--surprise/--no-surprise",
    default=True,
    group="Page",
    help="Show how many bits each column costs a token model, and what is unusual.  "
    "[default: yes, if the token model fits the tokenizer]",
)
@lm_option
@cli.option(
    "--serve",
    "is_served",
    is_flag=True,
    group="Page",
    help="Show pages at an address of this computer instead, until Ctrl-C: of all recordings of a "
    "folder, and of all parts of a long one.",
)
@cli.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    group="Page",
    help="Port of --serve.  [default: any that is free]",
)
@listening_options
@hearing_options
@guarded
def look(
    file: Path,
    out: Path | None,
    is_served: bool,
    port: int,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a page that shows and plays FILE: spectrogram, tokens, repeats, and all codes.

    The page is one file. It needs no network and no server: open it with a browser. TOKENS is a
    file of tokens whose recording lies beside it. A FOLDER needs --serve.
    """
    from ulmo.listening.repeats import Listener
    from ulmo.pipelines.look.look import look as write_page
    from ulmo.pipelines.look.recording import LookSettings
    from ulmo.pipelines.look.source import source_of
    from ulmo.preprocessing.reading.audio import RefusedError
    from ulmo.reports.events import ListeningProgress
    from ulmo.reports.look import look_json, look_lines
    from ulmo.storage.atomic import short_name

    settings = LookSettings(**{name: options.pop(name) for name in LookSettings._fields})
    if is_served:
        _serve(file, out, settings, port, options)
        return
    source = source_of(file, options.pop("tokens"))
    page = out or source.recording.with_name(f"{short_name(source.recording.name)}.html")
    heard = _opened(source, options)
    try:
        with ListeningProgress(quiet=quiet) as progress:
            listener = Listener(progress.begin, search=progress.search)
            looked = write_page(heard, page, settings, listener=listener, replace=out is not None)
    except RefusedError as refusal:
        fail(f"{file}: refused: {refusal.reason} ({refusal.detail})", SOME_REFUSED)
    Output(as_json, quiet).show(partial(look_lines, looked), partial(look_json, looked))


def _serve(file: Path, out: Path | None, settings: Any, port: int, options: dict[str, Any]) -> None:
    """Serve pages until Ctrl-C."""
    from ulmo.config import UserError
    from ulmo.pipelines.look.serve import serve
    from ulmo.pipelines.look.source import source_of

    if out is not None or settings.start_s or settings.seconds is not None:
        raise UserError(
            "--serve writes no file and shows all parts: leave --out, --start and --seconds out"
        )

    def ready(address: str, recordings: int) -> None:
        click.echo(
            f"recordings  {recordings}\npages       {address}\nOpen this address with a "
            "browser of this computer; Ctrl-C ends it."
        )

    if file.is_dir():
        serve(opened_sources((file,), options, Counter()), settings, port, ready, folder=file)
    else:
        serve(_opened(source_of(file, options.pop("tokens")), options), settings, port, ready)


def _opened(source: Any, options: dict[str, Any]) -> Any:
    """A recording to hear, with its tokens if there are some."""
    heard = opened_sources((source.recording,), {**options, "tokens": source.tokens}, Counter())
    if source.name is not None:
        heard = heard._replace(found=[heard.found[0]._replace(name=source.name)])
    return heard
