"""The command ulmo eval: parse, then one call."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, guarded
from ulmo.cli.spread import refuse_spread, spread_of, spread_options
from ulmo.config import Limits, UserError


@cli.command(
    "eval",
    short_help="How good a tokenizer is, on tiles or labelled recordings.",
    examples=("ulmo eval run/ tiles/", "ulmo eval --audio birds/ --labels birds.csv"),
)
@click.argument("run_or_bundle", type=cli.BUNDLE, required=False)
@click.argument("tiles_dir", type=cli.PATH, required=False)
@cli.option(
    "--part",
    type=click.Choice(["auto", "validation", "train", "all"]),
    default="auto",
    group="Tiles",
    help="Tiles to measure. auto: the held-out ones of the run's own tiles, or all others.",
)
@cli.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    default=16,
    group="Tiles",
    help="Tiles at once.  [default: 16]",
)
@cli.option("--batches", is_flag=True, group="Tiles", help="Print a row for each batch, too.")
@cli.option("--audio", type=cli.SOURCE, metavar="AUDIO_DIR", group="Recordings", help="Recordings.")
@cli.option(
    "--labels",
    type=cli.PATH,
    metavar="CSV",
    group="Recordings",
    help="Table with the columns file and label.  [default: names of the folders]",
)
@cli.option(
    "--speaker-column",
    metavar="NAME",
    group="Recordings",
    help="Column of the speaker; NAME:KEY takes KEY=... within it.  [default: speaker]",
)
@cli.option(
    "--source-column",
    metavar="NAME",
    group="Recordings",
    help="Column of what items share, such as one recording.  [default: each file by itself]",
)
@cli.option(
    "--max-items",
    type=click.IntRange(2, 100_000),
    default=400,
    group="Recordings",
    help="Items to measure, at most.  [default: 400]",
)
@cli.option(
    "--max-seconds",
    type=cli.FloatRange(0.1, 600),
    default=5.0,
    group="Recordings",
    help="Seconds of each item, at most.  [default: 5]",
)
@cli.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    group="Recordings",
    help="Seed of the choice of items and of noise.  [default: 0]",
)
@cli.option(
    "--json", "report", type=cli.PATH, group="Output", help="Report.  [default: eval.json in run]"
)
@cli.option("--threads", type=click.IntRange(0), default=0, help="Computing threads; 0: all cores.")
@spread_options
@cli.settings_options(Limits)
@cli.quiet_option
@guarded
def evaluate(
    run_or_bundle: Path | str | None,
    tiles_dir: Path | None,
    audio: Path | None,
    batches: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure a tokenizer, and write eval.json and pictures.

    RUN_OR_BUNDLE is a RUN_DIR, or a bundle: a folder such as RUN_DIR/tokenizer, a zip file, or
    hf://OWNER/NAME. The default is the tokenizer that ships with ulmo.

    On the tiles in TILES_DIR: reconstruction, commitment loss and codebook. On the recordings below
    AUDIO_DIR: ABX, linear probe, nearest neighbours, robustness, rates and codebook.
    """
    from ulmo.pipelines.evaluate.audio import AudioPlan
    from ulmo.pipelines.evaluate.evaluate import evaluate as measure
    from ulmo.reports.evaluate import EvalProgress, evaluation_table

    chosen = {name: options.pop(name) for name in AudioPlan._fields if name in options}
    named = ("labels", "speaker_column", "source_column")
    if audio is None and any(chosen[name] for name in named):
        raise UserError(
            "--labels, --speaker-column and --source-column need recordings: name them with --audio"
        )
    if audio is None:
        refuse_spread()
    spread = spread_of(options, workers=1)
    limits = Limits.read(cli.given(options, Limits))
    plan = None if audio is None else AudioPlan(audio, **chosen)
    with EvalProgress(quiet=quiet) as progress:
        evaluation = measure(
            run_or_bundle,
            tiles_dir,
            audio=plan,
            progress=progress.update,
            warn=partial(click.echo, err=True),
            limits=limits,
            spread=spread,
            **options,
        )
    if not quiet:
        click.echo(evaluation_table(evaluation, batches=batches))
    sys.exit(SOME_REFUSED if evaluation.audio and evaluation.audio.refused else 0)
