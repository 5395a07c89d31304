"""The command ulmo regions: parse, then one call."""

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
    short_help="Stretches of sound that are not background, as one table.",
    examples=(
        "ulmo regions field/ --out regions.csv",
        "ulmo regions field/ --out field.selections.txt --format raven",
    ),
)
@events_options
@cli.option(
    "--unk-quantile",
    type=float,
    default=0.99,
    metavar="Q",
    group="Tokenizer",
    help="For unk_share: tokens are <unk> that are further from their code than this share of the "
    "training tokens was: 0.9, 0.95, 0.99 or 0.999.  [default: 0.99]",
)
@cli.option(
    "--repeats",
    type=cli.PATH,
    metavar="TABLE",
    group="Output",
    help="Give regions the classes in this table of ulmo repeats (csv or parquet).",
)
@spread_options
@hearing_options
@guarded
def regions(
    sources: tuple[Path, ...],
    out: Path,
    file_format: str | None,
    unk_quantile: float,
    repeats: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a row for each stretch of sound that is not background.

    All recordings below a FOLDER are taken; one table holds the regions of all. The background is
    that of the recording itself, within a minute around each moment.
    """
    from ulmo.listening.classes import Classes
    from ulmo.pipelines.regions.regions import Listener, Made, write_regions
    from ulmo.reports.events import (
        ListeningProgress,
        refused_line,
        regions_json,
        regions_summary,
    )

    left_out: Counter[str] = Counter()
    classes = Classes.of(repeats)
    heard = opened_sources(sources, options, left_out, unk_quantile=unk_quantile)
    with ListeningProgress(quiet=quiet) as progress:

        def done(made: Made) -> None:
            if made.facts["status"] == "refused":
                progress.line(refused_line(made.facts), error=True)

        listener = Listener(progress.begin, done)
        found = write_regions(heard, out, file_format, classes=classes, listener=listener)
    status = SOME_REFUSED if any(one.facts["status"] == "refused" for one in found) else 0
    expansion = heard.tokenizer.prep.time_expansion
    Output(as_json, quiet).show(
        partial(regions_summary, found, out, left_out, expansion),
        partial(regions_json, found, out, left_out, status),
    )
    sys.exit(status)
