"""The commands ulmo lm train, score, curve and sample: parse, then one call."""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import SOME_REFUSED, fail, guarded
from ulmo.cli.listening import (
    channels_option,
    full_scale_option,
    hearing_options,
    lm_option,
    opened_sources,
    time_expansion_option,
    tokenizer_option,
)
from ulmo.cli.output import Output
from ulmo.cli.spread import spread_of, spread_options
from ulmo.config.token_model import SIZES, TokenModelSettings, TokenTrainSettings

_format_option = cli.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "parquet"]),
    group="Output",
    help="Format to write.  [default: as --out ends]",
)
_joined_option = cli.option(
    "--joined",
    is_flag=True,
    group="Token model",
    help="All recordings are each other's past, in the order of time: those of one recorder.",
)
_picture_option = cli.option(
    "--picture", type=cli.PATH, metavar="FILE.png", group="Output", help="Draw the result, too."
)


@click.group(cls=cli.Group, context_settings=cli.CONTEXT, short_help="A model over tokens.")
def lm() -> None:
    """A model over tokens: how many bits each of them costs, given all that came before."""


@lm.command(
    cls=cli.Command,
    context_settings=cli.CONTEXT,
    short_help="Tokens to a run with a token model.",
    examples=("ulmo lm train tokens/ run/", "ulmo lm train tokens/ run/ --size base"),
)
@click.argument("tokens_dir", type=cli.PATH)
@click.argument("run_dir", type=cli.PATH)
@cli.option(
    "--size",
    type=click.Choice([*SIZES]),
    group="Model",
    help="small has 0.75 million weights, base 4 million.  [default: small]",
)
@cli.settings_options(TokenModelSettings)
@cli.settings_options(TokenTrainSettings)
@tokenizer_option
@cli.option("--resume", is_flag=True, group="Output", help="Go on with the run in RUN_DIR.")
@cli.quiet_option
@cli.json_option
@guarded
def train(
    tokens_dir: Path,
    run_dir: Path,
    size: str | None,
    tokenizer: Path | str | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a token model on the tokens in TOKENS_DIR, and write it into RUN_DIR/lm.

    TOKENS_DIR is what ulmo-tokenize wrote, in any format but labels. --tokenizer names the
    tokenizer that made the tokens. Needs TensorFlow: pip install 'ulmo[train]'.
    """
    model = cli.given(flags, TokenModelSettings)
    settings = cli.given(flags, TokenTrainSettings)
    read = TokenTrainSettings.read(settings)
    from ulmo.pipelines.hosts import Hosts
    from ulmo.pipelines.lm.train import train_token_model
    from ulmo.reports.lm import TokenTrainProgress, token_train_json, token_train_summary

    if (hosts := Hosts.here()).place:
        with TokenTrainProgress(quiet=quiet) as progress:
            hosts.follow(progress.note, devices=read.devices, threads=read.threads)
        return
    with TokenTrainProgress(quiet=quiet) as progress:
        summary = train_token_model(
            *(tokens_dir, run_dir, progress),
            size=size,
            model=model,
            settings=settings,
            tokenizer=tokenizer,
            resume=resume,
        )
    shown = Output(as_json, quiet)
    shown.show(partial(token_train_summary, summary), partial(token_train_json, summary, 0))


@lm.command(
    cls=cli.Command,
    context_settings=cli.CONTEXT,
    short_help="The bits of each column of tokens, as one table.",
    examples=(
        "ulmo lm score field/ --out scores.csv",
        "ulmo lm score tokens/ --lm run/lm --out scores.parquet --picture scores.png",
    ),
)
@click.argument("sources", type=cli.PATH, nargs=-1, required=True, metavar="FILE|TOKENS|FOLDER...")
@cli.option(
    "--out",
    type=cli.PATH,
    required=True,
    metavar="PATH",
    group="Output",
    help="The table to write: .csv or .parquet.",
)
@_format_option
@_picture_option
@lm_option
@_joined_option
@tokenizer_option
@channels_option
@time_expansion_option
@full_scale_option
@spread_options
@hearing_options
@guarded
def score(
    sources: tuple[Path, ...],
    out: Path,
    file_format: str | None,
    picture: Path | None,
    lm: Path | None,
    joined: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a row for each column of tokens: the bits that it costs, and what it is a copy of.

    Recordings are tokenized first. TOKENS are files of tokens, or what ulmo-tokenize wrote into a
    folder. No recording is part of another's past, unless you say --joined, or the tokens are of a
    timeline.
    """
    from ulmo.formats.event_files import check_event_file
    from ulmo.pipelines.lm.score import (
        Listener,
        check_score_format,
        is_of_tokens,
        score_columns,
        write_scores,
    )
    from ulmo.reports.events import ListeningProgress, refused_line
    from ulmo.reports.lm import score_json, score_summary
    from ulmo.token_model import load_token_model

    left_out: Counter[str] = Counter()
    opened = load_token_model(lm)
    columns = score_columns(opened.manifest.model.bands)
    check_event_file(out, check_score_format(out, file_format), columns)
    drawn = None
    if picture is not None:
        from ulmo.pictures.axes import check_picture
        from ulmo.pipelines.lm.picture import ScorePicture

        check_picture(picture)
        drawn = ScorePicture()
    tokens = [path for path in sources if is_of_tokens(path)]
    others = tuple(path for path in sources if path not in tokens)
    heard = opened_sources(others, {**options, "tokens": None}, left_out) if others else None
    with ListeningProgress(quiet=quiet) as progress:

        def done(facts: dict[str, Any]) -> None:
            if facts["status"] == "refused":
                progress.line(refused_line(facts), error=True)

        listener = Listener(progress.begin, done, *([] if drawn is None else [drawn.add]))
        summary = write_scores(
            *(opened, tokens, heard, out, file_format),
            together=joined,
            spread=spread_of(options),
            listener=listener,
        )
    if drawn is not None and picture is not None:
        drawn.publish(picture)
    refused = any(each["status"] == "refused" for each in summary.facts)
    status = SOME_REFUSED if refused else 0
    Output(as_json, quiet).show(
        partial(score_summary, summary, out, left_out, picture),
        partial(score_json, summary, out, left_out, status),
    )
    sys.exit(status)


@lm.command(
    cls=cli.Command,
    context_settings=cli.CONTEXT,
    short_help="Bits a token against how much of the past is known.",
    examples=(
        "ulmo lm curve tokens/ --out curve.csv --picture curve.png",
        "ulmo lm curve tokens/ --repeats repeats.csv",
    ),
)
@click.argument("tokens", type=cli.PATH, nargs=-1, required=True, metavar="TOKENS...")
@cli.option(
    "--targets",
    type=click.IntRange(1, 100_000),
    default=16,
    metavar="N",
    group="Curve",
    help="Stretches of 64 columns in each recording whose tokens are scored.  [default: 16]",
)
@cli.option(
    "--repeats",
    type=cli.PATH,
    metavar="TABLE",
    group="Curve",
    help="Also of sounds that were there before, and of those that were not: what ulmo repeats "
    "wrote about these recordings, .csv or .parquet.",
)
@lm_option
@_joined_option
@cli.option(
    "--out",
    type=cli.PATH,
    metavar="PATH",
    group="Output",
    help="Write the curve as a table, too: .csv or .parquet.",
)
@_format_option
@_picture_option
@cli.quiet_option
@cli.json_option
@guarded
def curve(
    tokens: tuple[Path, ...],
    targets: int,
    repeats: Path | None,
    lm: Path | None,
    joined: bool,
    out: Path | None,
    file_format: str | None,
    picture: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print the bits of a token with a past of 100 tokens, 400, 1,600, 6,400, 25,600, and all.

    The targets are the same for all. The past is cut physically: nothing else is known. TOKENS are
    files of tokens, or what ulmo-tokenize wrote into a folder.
    """
    from ulmo.listening.classes import Classes
    from ulmo.pipelines.lm.curve import check_curve_file, context_curve, write_curve
    from ulmo.reports.lm import curve_json, curve_summary
    from ulmo.token_model import load_token_model

    if out is not None:
        check_curve_file(out, file_format)
    if picture is not None:
        from ulmo.pictures.axes import check_picture

        check_picture(picture)
    known = None if repeats is None else Classes.of(repeats)
    opened = load_token_model(lm)
    points = context_curve(opened, tokens, targets=targets, repeats=known, together=joined)
    if out is not None:
        write_curve(points, out, file_format)
    if picture is not None:
        from ulmo.pipelines.lm.picture import draw_curve

        draw_curve(points, picture)
    shown = Output(as_json, quiet)
    shown.show(partial(curve_summary, points, out, picture), partial(curve_json, points, out))


@lm.command(
    cls=cli.Command,
    context_settings=cli.CONTEXT,
    short_help="A recording goes on, as the model expects.",
    examples=(
        "ulmo lm sample bird.wav --out more.tokens.npy",
        "ulmo lm sample bird.wav --seconds 30 --temperature 0.8 --seed 3 --out more.tokens.npy",
    ),
)
@click.argument("source", type=cli.PATH, metavar="RECORDING|TOKENS")
@cli.option(
    "--seconds",
    type=cli.FloatRange(0, 3600, min_open=True),
    default=10.0,
    metavar="S",
    group="Sample",
    help="How much to draw.  [default: 10]",
)
@cli.option(
    "--temperature",
    type=cli.FloatRange(0, 100),
    default=1.0,
    metavar="T",
    group="Sample",
    help="Below 1, what is likely is drawn more often than the model expects it; 0: always the "
    "likeliest.  [default: 1]",
)
@cli.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    metavar="N",
    group="Sample",
    help="Another seed draws other tokens; the same one the same.  [default: 0]",
)
@cli.option(
    "--out",
    type=cli.PATH,
    required=True,
    metavar="PATH",
    group="Output",
    help="The tokens to write: NAME.tokens.npy, .csv, .parquet, ... NAME.png and NAME.wav lie "
    "beside it.",
)
@lm_option
@tokenizer_option
@channels_option
@time_expansion_option
@full_scale_option
@cli.quiet_option
@cli.json_option
@guarded
def sample(
    source: Path,
    seconds: float,
    temperature: float,
    seed: int,
    out: Path,
    lm: Path | None,
    tokenizer: Path | str | None,
    channels: str | None,
    time_expansion: float | None,
    full_scale: float | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw what may follow a recording, one token after the other, to look at and to listen to.

    Writes the tokens that were drawn; a picture of the recording's end and of what follows; and
    the same as sound, where the tokenizer can and librosa is installed: pip install 'ulmo[sound]'.
    """
    from ulmo.pipelines.lm.sample import continue_recording
    from ulmo.preprocessing.reading.audio import RefusedError
    from ulmo.reports.lm import SampleProgress, sample_json, sample_summary
    from ulmo.token_model import load_token_model
    from ulmo.tokenizer import load_tokenizer

    opened = load_tokenizer(tokenizer).with_sound(time_expansion, full_scale)
    try:
        with SampleProgress(quiet=quiet) as progress:
            made = continue_recording(
                *(load_token_model(lm), opened, source, out),
                seconds=seconds,
                temperature=temperature,
                seed=seed,
                channels=channels,
                begin=progress.begin,
            )
    except RefusedError as refusal:
        fail(f"{source}: refused: {refusal.reason} ({refusal.detail})", SOME_REFUSED)
    shown = Output(as_json, quiet)
    shown.show(partial(sample_summary, made), partial(sample_json, made))
