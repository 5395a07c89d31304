"""Recordings below a folder."""

import os
from pathlib import Path

from ulmo.config import UserError

SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .caf .au".split()  # noqa: SIM905
)


def find_recordings(folder: Path, *, skip: Path | None = None) -> list[Path]:
    """What is named as sound below a folder, relative to it, in the order of the names' bytes.

    Links to folders are not followed, so that no loop can trap the search; links to files are.
    A link that leads nowhere, a pipe and a device are recordings that cannot be read, and so is
    a folder that cannot be looked into. `skip` names a folder that is left out, such as the
    output's own. UserError where the folder itself cannot be looked into.
    """
    found: list[Path] = []
    closed: list[OSError] = []
    skipped = skip.resolve() if skip else None
    for root, folders, files in os.walk(folder, onerror=closed.append):
        here = Path(root)
        folders[:] = [name for name in folders if (here / name).resolve() != skipped]
        named = (here / name for name in files if Path(name).suffix.lower() in SUFFIXES)
        found += [path.relative_to(folder) for path in named]
    for error in closed:
        place = Path(os.fsdecode(error.filename))
        if place == folder:
            raise UserError(f"{folder} cannot be looked into: {error.strerror}")
        found.append(place.relative_to(folder))
    return sorted(found, key=lambda path: os.fsencode(path.as_posix()))
