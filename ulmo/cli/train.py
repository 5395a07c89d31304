"""The command ulmo-train: parse, then one call."""

from pathlib import Path
from typing import Any

import click

from ulmo.cli import options as cli
from ulmo.cli.exits import guarded
from ulmo.cli.output import Output
from ulmo.config import Limits, ModelSettings, TrainSettings, to_toml


@cli.command(
    short_help="Tiles to a run with a tokenizer.",
    examples=("ulmo-train tiles/ run/", "ulmo-train tiles/ run/ --objective reconstruct,simclr"),
)
@cli.version_option
@click.argument("tiles_dir", type=cli.PATH)
@click.argument("run_dir", type=cli.PATH)
@cli.settings_options(ModelSettings)
@cli.settings_options(TrainSettings, without={"beside"})
@cli.option(
    "--beside",
    type=cli.PATH,
    multiple=True,
    metavar="TILES_DIR",
    group="Objectives",
    help="For abx_choice: the same recordings through another front end. May be repeated.",
)
@cli.option("--resume", is_flag=True, group="Output", help="Go on with the run in RUN_DIR.")
@cli.settings_options(Limits)
@cli.config_option
@cli.print_config_option
@cli.quiet_option
@cli.json_option
@guarded
def train(
    tiles_dir: Path,
    run_dir: Path,
    beside: tuple[Path, ...],
    resume: bool,
    config: Path | None,
    print_config: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a VQ-VAE on the tiles in TILES_DIR, and write its tokenizer into RUN_DIR."""
    from ulmo.pipelines.hosts import Hosts
    from ulmo.preprocessing.store import read_manifest
    from ulmo.reports.train import TrainProgress, train_summary
    from ulmo.storage.names import portable

    model = cli.merged(config, "model", cli.given(flags, ModelSettings))
    manifest = read_manifest(tiles_dir)
    if manifest is not None and not resume:
        model.setdefault("tile_size", manifest.settings.tile_size)
    named: dict[str, Any] = {"beside": tuple(map(portable, beside))} if beside else {}
    for name in ("init", "pairs"):
        if flags[name] is not None:
            named[name] = portable(Path(flags[name]))
    settings = cli.merged(config, "train", {**cli.given(flags, TrainSettings), **named})
    read = TrainSettings.read(settings)
    checked = {"model": ModelSettings.read(model), "train": read}
    limits = Limits.read(cli.given(flags, Limits))
    if print_config:
        click.echo(to_toml(dict(checked)))
        return
    if (hosts := Hosts.here()).place:
        with TrainProgress(quiet=quiet) as progress:
            hosts.follow(progress.note, devices=read.devices, threads=read.threads)
        return
    from ulmo.pipelines.train.train import train as run
    from ulmo.reports.as_json import train_json

    with TrainProgress(quiet=quiet) as progress:
        summary = run(tiles_dir, run_dir, model, settings, progress, resume=resume, limits=limits)
    shown = Output(as_json, quiet)
    shown.show(lambda: train_summary(summary), lambda: train_json(summary, 0))
