"""Outputs of one job that cannot all have their places below its folder."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import takewhile
from pathlib import Path

from ulmo.config.errors import plain
from ulmo.formats.places import HEADER_ENDING, HEADERS, TOKENS
from ulmo.formats.publish import endings_of, output_paths, whole_name
from ulmo.storage.atomic import PassingOver
from ulmo.storage.names import portable
from ulmo.storage.plain_file import create_file
from ulmo.storage.probe import probe_folder, remove_left_probes

_RENAME = "rename the one or the other, or tokenize them apart"


def clashes(root: Path, targets: Iterable[Path], file_format: str) -> dict[Path, str]:
    """Targets whose place is taken by a folder of other targets, and the reason for each.

    Folders below `root` mirror those of the recordings: one called x.tokens.npy takes the place of
    an output. Outside the folder `tokens` of an output, one called token_headers beside one called
    tokens would be taken for that of the headers. `targets` may be read twice.
    """
    folders: set[Path] = set()
    for folder in dict.fromkeys(target.parent for target in targets):
        new = takewhile(lambda each: each not in folders, (folder, *folder.parents))
        folders.update(takewhile(lambda each: each != root, new))
    endings = (*endings_of(file_format), HEADER_ENDING)
    names = {folder: whole_name(folder.name) for folder in folders}
    by_name = {folder.parent / name for folder, name in names.items() if name.endswith(endings)}
    headers = {
        folder
        for folder in folders
        if folder.name == HEADERS and folder.with_name(TOKENS) in folders and root.name != TOKENS
    }
    found: dict[Path, str] = {}
    for target in targets if by_name or headers else ():
        paths = output_paths(target, file_format)
        own = {path.name for path in (*paths.files, paths.header)}
        taken = sorted(name for name in own if target.with_name(name) in by_name)
        if taken:
            found[target] = f"a folder of recordings is called {taken[0]}: {_RENAME}"
        elif headers and not headers.isdisjoint(target.parents):
            found[target] = f"its folder {HEADERS} has a name of ulmo's: {_RENAME}"
    return found


def merged(root: Path, targets: Sequence[Path]) -> dict[Path, Path]:
    """Targets that the file system takes for an earlier one, and that one.

    Some know no case, some no accents apart from their letters. Names that may be one are tried
    in a hidden folder, which is made in `root` if there are any. What killed jobs left of such
    folders there is removed.
    """
    with suppress(OSError):
        remove_left_probes(root)
    alike: dict[str, list[Path]] = {}
    for target in dict.fromkeys(targets):
        alike.setdefault(folded(target), []).append(target)
    groups = [group for group in alike.values() if len(group) > 1]
    if not groups:
        return {}
    with PassingOver(), probe_folder(root) as probe:
        return dict(_merged(probe, groups))
    return {}  # nothing can be written there


def merged_words(first: Path) -> str:
    """What to say about a target that is taken for an earlier one."""
    name = plain(portable(Path(first.name)))
    return f"this file system takes it for {name}, the output of another recording: {_RENAME}"


def _merged(probe: Path, groups: Sequence[Sequence[Path]]) -> Iterator[tuple[Path, Path]]:
    """The same for groups of paths of equally many parts; each name is tried once."""
    first_name = cache(partial(_first_name, probe))
    for group in groups:
        parts = list(zip(*(target.parts for target in group), strict=True))
        differing = [names for names in parts if len(set(names)) > 1]
        kept: dict[tuple[str, ...], Path] = {}
        for target, names in zip(group, zip(*differing, strict=True), strict=True):
            first = kept.setdefault(tuple(map(first_name, names)), target)
            if first is not target:
                yield target, first


def _first_name(probe: Path, name: str) -> str:
    """The first of the names tried that the file system takes this one for; or this one itself.

    Each file in the folder `probe` holds the name by which it was made.
    """
    path = probe / name
    with PassingOver():  # it may take no such name
        try:
            with create_file(path) as file:
                file.write(os.fsencode(name))
        except FileExistsError:
            return os.fsdecode(path.read_bytes())
    return name


def folded(path: Path) -> str:
    """The same text for paths that some file system may take for one."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(path)).casefold())
