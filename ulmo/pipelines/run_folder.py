"""The folder of a training run: held by one job, free of links, resumed after an interruption."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ulmo.config import JobError, UserError
from ulmo.storage.atomic import is_full, link_on_the_way, make_folder
from ulmo.storage.lock import LOCK, locked

PACKAGES = ("tensorflow", "keras", "tensorboard")  # of a training


@contextmanager
def held_run(run_dir: Path, resume: str) -> Iterator[None]:
    """Make the folder of a run and hold its lock; what ends it early says how to go on.

    resume: the command that resumes the run. KeyboardInterrupt after Ctrl-C, and JobError if the
    disk is full, both with that command.
    """
    make_folder(run_dir, "choose another")
    go_on = f"go on with {resume}"
    try:
        with locked(run_dir / LOCK, run_dir):
            yield
    except KeyboardInterrupt as interrupt:
        saved = str(interrupt) or "interrupted"
        raise KeyboardInterrupt(f"{saved}: {go_on}") from None
    except OSError as error:
        if not is_full(error):
            raise
        raise JobError(f"{error}: make room, and {go_on}") from None


def refuse_links(run_dir: Path, places: Sequence[str]) -> None:
    """UserError if one of the folders of a run is a link; the folder of the run itself may be."""
    for place in map(run_dir.joinpath, places):
        if link_on_the_way(place, run_dir):
            raise UserError(f"{place} is a link: remove it, or begin a new run")
