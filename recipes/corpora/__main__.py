"""python -m recipes.corpora AUDIO_ROOT [--only NAME ...]: fetch or make the corpora of recipes."""

import os
from pathlib import Path

import click

from recipes.corpora.folder import build
from recipes.corpora.table import CORPORA
from ulmo.cli.exits import guarded
from ulmo.storage.atomic import make_folder
from ulmo.storage.lock import LOCK, locked


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("audio_root", type=click.Path(path_type=Path))
@click.option(
    "--only",
    type=click.Choice(list(CORPORA)),
    multiple=True,
    help="Make this one; may be repeated.",
)
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count, help="[default: cores]")
@guarded
def main(audio_root: Path, only: tuple[str, ...], workers: int) -> None:
    """Make corpora as folders below AUDIO_ROOT, and say what each holds.

    One that is complete is left as it is. Run it again to go on after an interruption.
    """
    make_folder(audio_root, "choose another AUDIO_ROOT")
    with locked(audio_root / LOCK, audio_root):
        for name in only or CORPORA:
            made = build(CORPORA[name], audio_root, workers)
            click.echo(
                f"{name:18} {made.recordings:6,} recordings {made.seconds / 3600:6.3f} hours "
                f"{made.bytes / 1e6:6.1f} MB {made.pairs:7,} pairs  {made.licence}"
            )


if __name__ == "__main__":
    main()
