"""Files below a folder."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.storage.atomic import PassingOver
from ulmo.storage.packed import Packed
from ulmo.storage.plain_file import is_of_process
from ulmo.storage.remote_path import RemotePath


class Below(NamedTuple):
    """What lies below a folder: paths relative to it, in the order of their bytes."""

    files: Sequence[Path]
    closed: dict[Path, str]  # subfolders that cannot be looked into, and why
    skipped: list[Path]  # subfolders that `skip` left out
    links: list[Path]  # links to folders, which are not followed


def walk(
    folder: Path,
    *,
    skip: Callable[[Path], bool] = lambda _: False,
    prune: Callable[[Collection[str]], bool] | None = None,
) -> Below:
    """Find every file below a folder. Raises UserError if the folder cannot be looked into.

    Links to folders are not followed, so that no loop traps the search. Links to files, links
    that lead nowhere, pipes and devices count as files. `skip` is called with the relative path
    of a subfolder, `prune` with the names of the files in one: nothing of it or below it is
    listed if they return True.
    """
    if isinstance(folder, RemotePath):
        parents = cache(skip)
        listed = (each for each in folder.below() if not any(map(parents, each.parents[:-1])))
        return Below(Packed(by_bytes(listed)), {}, [], [])
    files: list[bytes] = []  # a quarter of what paths take
    skipped: list[Path] = []
    links: list[Path] = []
    closed: dict[Path, str] = {}
    left = [("", Path())]
    while left:
        here, there = left.pop()
        first, found = len(files), []
        try:
            with os.scandir(folder / here) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        found.append(entry)
                    else:
                        files.append(os.fsencode(here + entry.name))
        except OSError as error:
            del files[first:]
            if is_of_process(error):
                raise
            why = error.strerror or str(error)
            if not here:
                raise UserError(f"{folder} cannot be looked into: {why}") from None
            closed[there] = why
            continue
        names = [os.fsdecode(each.rpartition(b"/")[2]) for each in files[first:]] if prune else []
        if here and prune and prune(names):
            del files[first:]
            continue
        for entry in found:
            path = there / entry.name
            if entry.is_symlink():
                links.append(path)
            elif skip(path):
                skipped.append(path)
            else:
                left.append((f"{here}{entry.name}/", path))
    in_order = {path: closed[path] for path in by_bytes(closed)}
    files.sort()
    in_bytes = Packed(Path(os.fsdecode(path)) for path in files)
    return Below(in_bytes, in_order, by_bytes(skipped), by_bytes(links))


def hidden_in(folder: Path) -> list[Path]:
    """What is hidden in a folder, such as what killed jobs left: few of many names.

    Nothing if there is no folder, or if it cannot be looked into.
    """
    with PassingOver(), os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.name.startswith(".")]
    return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def by_bytes(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of their bytes."""
    return sorted(paths, key=bytes_of)


def bytes_of(path: Path) -> bytes:
    """The bytes of a path, with slashes between its parts."""
    return os.fsencode(path.as_posix())
