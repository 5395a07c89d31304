"""What verifying finds, and what mending does about it."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from ulmo.config import UserError

What = Literal[
    "damaged",
    "unreadable",
    "missing",
    "orphan",
    "left_over",
    "gap",
    "duplicate",
    "disagrees",
    "unfinished",
]
NOT_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV}
)
"""Of what is missing, or no file: nothing was there to be read."""
READ = "let yourself read it (chmod, chown, or mend the disk), then run ulmo verify again"


class Fault(NamedTuple):
    """Something that is wrong, and what to do about it."""

    path: str
    """Below the folder that was verified."""
    what: What
    detail: str
    remedy: str


class Findings(NamedTuple):
    """What was looked at, and what was found."""

    counts: dict[str, int]
    """How many of what, in the order in which they are told."""
    faults: list[Fault]


Check = Callable[[Path], Findings]
Mend = Callable[[Path, list[Fault]], list[str]]
"""Does what it can, and says what it did, a line each."""


def below(path: Path, folder: Path) -> str:
    """A path as it is told of: below the folder, or the folder itself."""
    return path.relative_to(folder).as_posix() if path != folder else path.name


def left_overs(folder: Path, paths: list[Path]) -> list[Fault]:
    """Files that a kill left, which nothing reads."""
    detail = "a job that was killed left it; nothing reads it"
    return [Fault(below(path, folder), "left_over", detail, "delete it") for path in paths]


def remove_any(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there; UserError where that is denied."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        remedy = "let yourself write there (chmod, chown), then run the same again"
        raise UserError(f"{path} cannot be removed ({error.strerror}): {remedy}") from None


def reading_error(error: BaseException) -> OSError | None:
    """What denied the reading of something that is there, if that is why there is an error.

    Whether its content is damaged is not known then. Parquet's own errors are OSError too, and
    have no number.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno and seen.errno not in NOT_THERE:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def fault_of(path: str, error: Exception, remedy: str, *said: str) -> Fault:
    """What reading a file came to: damaged, or where it could not be read at all, unreadable.

    `said` are remedies that the error may end with, which this one stands for.
    """
    if denied := reading_error(error):
        detail = f"it cannot be read ({denied.strerror}): whether it is whole is not known"
        return Fault(path, "unreadable", detail, READ)
    detail = str(error)
    for words in (remedy, *said):
        detail = detail.removesuffix(f": {words}")
    return Fault(path, "damaged", detail, remedy)
