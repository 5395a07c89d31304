"""What verifying finds, and what mending does about it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

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
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
