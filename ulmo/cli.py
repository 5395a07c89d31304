"""Every command: parse, then one call.

Exit status and errors: exits.py.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from ulmo import __version__
from ulmo.config import (
    AugmentSettings,
    ClockSettings,
    ModelSettings,
    PrepSettings,
    TrainSettings,
    UserError,
    to_toml,
)
from ulmo.exits import SOME_REFUSED, fail, guarded
from ulmo.options import (
    PATH,
    Lazy,
    all_formats,
    all_frontends,
    config_option,
    given,
    ids_option,
    merged,
    min_columns_option,
    print_config_option,
    settings_options,
)

CONTEXT = {"help_option_names": ["-h", "--help"]}


AGAIN = "interrupted: run the same command again to go on"


@click.group(context_settings=CONTEXT)
@click.version_option(__version__)
def ulmo() -> None:
    """Large acoustic models: from any recording to tokens."""


@ulmo.command(context_settings=CONTEXT)
@click.version_option(__version__)
@click.argument("audio_dir", type=PATH)
@click.argument("out_dir", type=PATH)
@settings_options(PrepSettings)
@settings_options(AugmentSettings)
@settings_options(ClockSettings)
@click.option(
    "--workers", type=click.IntRange(1), default=os.cpu_count, help="Processes.  [default: cores]"
)
@config_option
@print_config_option
@guarded
def prep(
    audio_dir: Path,
    out_dir: Path,
    workers: int,
    config: Path | None,
    print_config: bool,
    **flags: Any,
) -> None:
    """Turn every recording below AUDIO_DIR into tiles in OUT_DIR.

    Run it again to go on after an interruption.
    """
    settings = PrepSettings.read(merged(config, "prep", given(flags, PrepSettings)))
    augment = AugmentSettings.read(merged(config, "augment", given(flags, AugmentSettings)))
    clock = ClockSettings.read(merged(config, "clock", given(flags, ClockSettings)))
    if print_config:
        click.echo(to_toml({"prep": settings, "augment": augment, "clock": clock}))
        return
    from ulmo.pipelines.prep.prep import prepare
    from ulmo.reports.prep import PrepProgress, prep_summary

    try:
        with PrepProgress() as progress:
            summary = prepare(
                audio_dir,
                out_dir,
                settings,
                augment=augment,
                clock=clock,
                workers=workers,
                progress=progress.begin,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(AGAIN) from None
    click.echo(prep_summary(summary))
    sys.exit(SOME_REFUSED if summary.refused else 0)


@ulmo.command(context_settings=CONTEXT)
@click.version_option(__version__)
@click.argument("tiles_dir", type=PATH)
@click.argument("run_dir", type=PATH)
@settings_options(ModelSettings)
@settings_options(TrainSettings, without={"beside"})
@click.option(
    "--beside",
    type=click.Path(),
    multiple=True,
    metavar="TILES_DIR",
    help="Of abx_choice, once for each: the same recordings through another front end.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in RUN_DIR.")
@config_option
@print_config_option
@guarded
def train(
    tiles_dir: Path,
    run_dir: Path,
    beside: tuple[str, ...],
    resume: bool,
    config: Path | None,
    print_config: bool,
    **flags: Any,
) -> None:
    """Train a VQ-VAE on the tiles in TILES_DIR, and write its tokenizer into RUN_DIR."""
    from ulmo.preprocessing.store import read_manifest

    model = merged(config, "model", given(flags, ModelSettings))
    manifest = read_manifest(tiles_dir)
    if manifest is not None and not resume:
        model.setdefault("tile_size", manifest.settings.tile_size)
    named = {"beside": beside} if beside else {}
    settings = merged(config, "train", {**given(flags, TrainSettings), **named})
    checked = {"model": ModelSettings.read(model), "train": TrainSettings.read(settings)}
    if print_config:
        click.echo(to_toml(dict(checked)))
        return
    from ulmo.pipelines.train.train import train as run
    from ulmo.reports.train import TrainProgress, train_summary

    with TrainProgress() as progress:
        summary = run(tiles_dir, run_dir, model, settings, progress, resume=resume)
    click.echo(train_summary(summary))


@ulmo.command(context_settings=CONTEXT)
@click.argument("file", type=PATH)
@click.option(
    "--frontend",
    "frontends",
    type=Lazy(all_frontends, ["all"]),
    multiple=True,
    default=["all"],
    help="One panel each; may be given several times.  [default: all]",
)
@click.option("--start", type=click.FloatRange(0), default=0.0, help="First second.  [default: 0]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How many.  [to the end]")
@click.option("--out", type=PATH, help="The picture.  [default: FILE.png beside the recording]")
@settings_options(PrepSettings, without={"frontend"})
@config_option
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
    from ulmo.pipelines.show import show as draw
    from ulmo.preprocessing.audio import RefusedError
    from ulmo.reports.prep import shown_lines

    settings = PrepSettings.read(merged(config, "prep", given(flags, PrepSettings)))
    names = list(all_frontends()) if "all" in frontends else frontends
    picture = out or file.with_name(f"{file.name}.png")
    try:
        shown = draw(file, picture, names, settings, start=start, seconds=seconds)
    except RefusedError as refusal:
        fail(f"{file}: refused: {refusal.reason} ({refusal.detail})", SOME_REFUSED)
    click.echo(shown_lines(shown))


@ulmo.command("eval", context_settings=CONTEXT)
@click.argument("run_or_bundle", type=PATH)
@click.argument("tiles_dir", type=PATH, required=False)
@click.option(
    "--part",
    type=click.Choice(["auto", "validation", "train", "all"]),
    default="auto",
    help="Tiles to measure; auto: the held-out ones of the run's own tiles, all of others.",
)
@click.option("--batch-size", type=click.IntRange(1, 4096), default=16, show_default=True)
@click.option("--audio", type=PATH, metavar="AUDIO_DIR", help="Labelled recordings to measure.")
@click.option("--labels", type=PATH, metavar="CSV", help="Columns file, label.  [folders' names]")
@click.option(
    "--speaker-column", metavar="NAME", help="Of CSV; NAME:KEY for KEY=... in it.  [speaker]"
)
@click.option(
    "--source-column",
    metavar="NAME",
    help="Of CSV: what items have in common, such as the recording.  [each file is one]",
)
@click.option("--max-items", type=click.IntRange(2, 100_000), default=400, show_default=True)
@click.option("--max-seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(0), default=0, help="0: as many as cores.")
@click.option("--json", "report", type=PATH, help="Where the JSON goes.  [eval.json in the run]")
@click.option("--batches", is_flag=True, help="A row for each batch of tiles, too.")
@guarded
def evaluate(
    run_or_bundle: Path,
    tiles_dir: Path | None,
    audio: Path | None,
    labels: Path | None,
    speaker_column: str | None,
    source_column: str | None,
    max_items: int,
    max_seconds: float,
    seed: int,
    batches: bool,
    **options: Any,
) -> None:
    """Measure a tokenizer, of a run or a bundle, and write eval.json and pictures.

    On the tiles in TILES_DIR: reconstruction, commitment, codebook. On the recordings below
    AUDIO_DIR: ABX, a linear probe and nearest neighbours, robustness, rates, codebook.
    """
    from ulmo.pipelines.evaluate.audio import AudioPlan
    from ulmo.pipelines.evaluate.evaluate import evaluate as measure
    from ulmo.reports.evaluate import EvalProgress, evaluation_table

    if audio is None and (labels or speaker_column or source_column):
        raise UserError(
            "--labels, --speaker-column and --source-column are of recordings: name them with "
            "--audio"
        )
    plan = None
    if audio is not None:
        columns = speaker_column, max_items, max_seconds, seed, source_column
        plan = AudioPlan(audio, labels, *columns)
    with EvalProgress() as progress:
        evaluation = measure(
            run_or_bundle, tiles_dir, audio=plan, progress=progress.update, **options
        )
    click.echo(evaluation_table(evaluation, batches=batches))
    sys.exit(SOME_REFUSED if evaluation.audio and evaluation.audio.refused else 0)


@ulmo.command("inspect", context_settings=CONTEXT)
@click.argument("bundle", type=PATH, required=False)
@click.option("--json", "as_json", is_flag=True, help="The same, and all settings, as JSON.")
@guarded
def inspect_(bundle: Path | None, as_json: bool) -> None:
    """Show what a tokenizer is: front end, model, tokens, codebook, card, files.

    BUNDLE is a folder such as RUN_DIR/tokenizer; without it, the one that ships with ulmo. One that
    is damaged is refused, with the reason.
    """
    from ulmo.pipelines import inspect as inspect_bundle
    from ulmo.reports.inspect import inspection

    facts = inspect_bundle.inspect_bundle(bundle)
    if as_json:
        values = inspect_bundle.as_json(facts)
        click.echo(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        click.echo(inspection(facts))


@ulmo.command(context_settings=CONTEXT)
@click.version_option(__version__)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILE|FOLDER...")
@click.option(
    "--tokenizer",
    type=PATH,
    metavar="BUNDLE",
    help="As in RUN_DIR/tokenizer.  [default: the one that ships with ulmo]",
)
@click.option("--out", type=PATH, help="Folder, or file.  [default: beside each recording]")
@click.option("--out-dir", type=PATH, help="Folder, which mirrors the folders of FOLDER.")
@click.option("--format", "file_format", type=Lazy(all_formats), default="npy", show_default=True)
@click.option("--channels", help="mix, each or N from 0.  [default: as the tokenizer was trained]")
@click.option(
    "--unk-quantile",
    type=float,
    metavar="Q",
    help="Make <unk> of what is further from its code than this share in training: "
    "0.9, 0.95, 0.99 or 0.999.  [default: no <unk>]",
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: by cores and files]")
@click.option("--threads", type=click.IntRange(0), default=0, help="Of a process; 0: all cores.")
@click.option("--batch-size", type=click.IntRange(1, 1024), default=1, help="Windows at once.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--timeline", is_flag=True, help="One file of all, with <gap> where none was made.")
@settings_options(ClockSettings)
@ids_option
@min_columns_option
@guarded
def tokenize(
    sources: tuple[Path, ...],
    tokenizer: Path | None,
    out: Path | None,
    out_dir: Path | None,
    channels: str | None,
    unk_quantile: float | None,
    workers: int | None,
    threads: int,
    device: Literal["cpu", "cuda"],
    timeline: bool,
    ids: frozenset[int] | None,
    min_columns: int,
    **flags: Any,
) -> None:
    """Write the tokens of each recording: x.wav becomes x.tokens.npy, int32 (time, band).

    Of a FOLDER, all recordings below it; with a folder as output, run it again to go on after an
    interruption.
    """
    from ulmo.formats.base import Options
    from ulmo.pipelines.tokenize import tokenize as pipeline
    from ulmo.pipelines.tokenize.job import TokenizeOptions
    from ulmo.pipelines.tokenize.plan import choose_output
    from ulmo.reports.prep import untimed_line
    from ulmo.reports.tokenize import (
        TokenizeProgress,
        timeline_line,
        tokenize_summary,
        tokenized_line,
    )
    from ulmo.tokenizer import load_tokenizer

    out = choose_output(out, out_dir, flags["file_format"])
    clock = ClockSettings.read(given(flags, ClockSettings))
    loaded = load_tokenizer(tokenizer, threads=threads, device=device, unk_quantile=unk_quantile)
    wanted = TokenizeOptions(
        options=Options(ids, min_columns),
        channels=channels or loaded.manifest.prep.channels,
        clock=clock,
        **flags,
    )
    if timeline and out is None:
        raise UserError("--timeline makes one file of all: name it with --out")
    many = timeline or any(source.is_dir() for source in sources)
    joined = None
    with TokenizeProgress() as progress:

        def done(result: Any) -> None:
            if not many or not result.outputs:
                progress.line(tokenized_line(result), error=not result.outputs)

        listener = pipeline.Listener(progress.begin, done)
        try:
            if timeline and out:
                results, joined = pipeline.tokenize_timeline(
                    loaded, sources, wanted, out=out, workers=workers, listener=listener
                )
            else:
                results = pipeline.tokenize_files(
                    loaded, sources, wanted, out=out, workers=workers, listener=listener
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(AGAIN) from None
    if many:
        click.echo(tokenize_summary(results, out if out and out.is_dir() else None))
    if joined:
        click.echo(timeline_line(joined))
    untimed = sum(result.outcome.start_source != "pattern" for result in results)
    if clock.timestamp_pattern and untimed:
        click.echo(untimed_line(untimed, len(results)), err=True)
    sys.exit(SOME_REFUSED if any(not result.outputs for result in results) else 0)


@ulmo.command(context_settings=CONTEXT)
@click.argument("tokens", type=PATH, nargs=-1, required=True, metavar="TOKENS...")
@click.option("--format", "file_format", type=Lazy(all_formats), required=True)
@click.option(
    "--out",
    type=PATH,
    required=True,
    metavar="PATH",
    help="The corpus to write; of npy, raven and audacity, a folder for a file each.",
)
@ids_option
@min_columns_option
@guarded
def convert(
    tokens: tuple[Path, ...],
    file_format: str,
    out: Path,
    ids: frozenset[int] | None,
    min_columns: int,
) -> None:
    """Write *.tokens.npy files, and all below folders, as a corpus to train on, or as labels."""
    from ulmo.formats.base import Options
    from ulmo.pipelines.convert import convert as run
    from ulmo.reports.tokenize import converted_line

    results = run(
        tokens,
        out,
        file_format,
        options=Options(ids, min_columns),
        done=lambda result: click.echo(converted_line(result), err=result.refusal is not None),
    )
    sys.exit(SOME_REFUSED if any(result.refusal for result in results) else 0)


@ulmo.command("verify", context_settings=CONTEXT)
@click.argument("place", type=PATH, metavar="DIR|FILE")
@click.option(
    "--repair",
    is_flag=True,
    help="Delete what is damaged, left over or an orphan, and go back to the checkpoint before.",
)
@click.option("--json", "as_json", is_flag=True, help="The same, and all faults, as JSON.")
@guarded
def verify_(place: Path, repair: bool, as_json: bool) -> None:
    """Check tiles, tokens, a run or a bundle: counts, checksums, orphans, gaps, duplicates.

    What DIR is, is told by what lies in it: prep.json or tiles.parquet (tiles), train.json or
    checkpoints/ (a run), tokenizer.json (a bundle), else tokens. FILE is a file of tokens.

    Nothing is written without --repair. With it, what is damaged is DELETED, never what is whole,
    what cannot be read, or what a newer ulmo wrote. Each "to do" line says what to run next: the
    same ulmo-prep, ulmo-tokenize or ulmo convert, or for a run ulmo-train with --resume.

    Exit status: 0 all is well, or was put right; 3 something is wrong, and is named; 2 nothing
    could be checked or done, and nothing was touched unless the line says so.
    """
    from ulmo.pipelines.verify.verify import verify
    from ulmo.reports.verify import verified_json, verified_lines

    found = verify(place, repair=repair)
    if as_json:
        click.echo(json.dumps(verified_json(found), indent=2))
    else:
        click.echo(verified_lines(found))
    sys.exit(SOME_REFUSED if found.faults else 0)
