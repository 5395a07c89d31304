"""The command ulmo repeats: parse, then one call."""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, guarded
from ulmo.cli.listening import events_options, hearing_options, opened_sources
from ulmo.cli.output import Output
from ulmo.cli.spread import spread_options


@cli.command(
    short_help="What recurs in recordings, as one table.",
    examples=(
        "ulmo repeats field/ --out repeats.csv --picture repeats.png",
        "ulmo repeats field/ --out calls.csv --like field/a.wav:12.3-13.1",
    ),
)
@events_options
@cli.option(
    "--false-per-hour",
    type=float,
    default=1.0,
    metavar="X",
    group="Repeats",
    help="Rows of an hour of sound that may be there by chance.  [default: 1]",
)
@cli.option(
    "--classes",
    type=int,
    metavar="N",
    group="Repeats",
    help="Write the N classes with most evidence only.  [default: all]",
)
@cli.option(
    "--min-seconds",
    type=float,
    default=0.0,
    metavar="S",
    group="Repeats",
    help="Leave out shorter repeats; impulses are none.  [default: 0]",
)
@cli.option(
    "--like",
    metavar="EXAMPLE",
    group="Repeats",
    help="Write only what is like this example, as recording.wav:12.3-13.1 (seconds).",
)
@cli.option(
    "--impulses/--no-impulses",
    default=True,
    group="Repeats",
    help="Look for trains of clicks, pulses and ticks, too.  [default: yes]",
)
@cli.option(
    "--picture",
    type=cli.PATH,
    metavar="FILE.png",
    group="Output",
    help="Draw classes over time, what they sound like, and their intervals.",
)
@spread_options
@hearing_options
@guarded
def repeats(
    sources: tuple[Path, ...],
    out: Path,
    file_format: str | None,
    like: str | None,
    picture: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a row for each sound that comes back, with its class and the period of that.

    All recordings below a FOLDER are taken, and compared with each other; one table holds the
    repeats of all. Nothing is given but the recordings: no rate, no species, no example.
    """
    from ulmo.formats.event_files import check_event_file, event_format_of
    from ulmo.formats.events import REPEAT_COLUMNS
    from ulmo.listening.examples import Example
    from ulmo.listening.repeats import Listener, RepeatSettings, find
    from ulmo.pipelines.repeats.repeats import write_repeats
    from ulmo.reports.events import ListeningProgress, refused_line, repeats_json, repeats_summary

    left_out: Counter[str] = Counter()
    example = None if like is None else Example.parse(like)
    chosen = {name: options.pop(name) for name in RepeatSettings._fields if name in options}
    settings = RepeatSettings(**chosen, like=example).check()
    check_event_file(out, event_format_of(out, file_format), REPEAT_COLUMNS)
    if picture is not None:
        from ulmo.pictures.axes import check_picture
        from ulmo.pipelines.repeats.picture import draw_repeats

        check_picture(picture)
    paths = sources if example is None else tuple(example.among(sources))
    heard = opened_sources(paths, options, left_out)
    with ListeningProgress(quiet=quiet) as progress:

        def done(facts: dict[str, Any]) -> None:
            if facts["status"] == "refused":
                progress.line(refused_line(facts), error=True)

        found = find(heard, settings, Listener(progress.begin, done, progress.search))
    rows = write_repeats(found, out, file_format)
    if picture is not None:
        draw_repeats(found, picture, heard.tokenizer, heard.wanted.clock)
    status = SOME_REFUSED if any(each["status"] == "refused" for each in found.facts) else 0
    expansion = heard.tokenizer.prep.time_expansion
    Output(as_json, quiet).show(
        partial(repeats_summary, found, rows, out, left_out, expansion, picture),
        partial(repeats_json, found, rows, out, left_out, status),
    )
    sys.exit(status)
