"""How files of tokens are named, and which belong together."""

import re
from collections.abc import Container, Iterable, Sequence
from functools import partial
from pathlib import Path

from ulmo.config import UserError
from ulmo.formats.publish import STEM, output_paths
from ulmo.storage.atomic import remove_temporaries, short_name

CHANNEL = ".ch"


OF_CHANNEL = re.compile(rf"{re.escape(CHANNEL)}\d+(?=({re.escape(STEM)})?(\.[a-z]+)+\Z)")


def is_file_name(out: Path, file_format: str) -> bool:
    """True of a path that ends as files of the format do."""
    if out.is_dir():
        return False
    try:
        output_paths(out, file_format)
    except UserError:
        return False
    return True


def stream_paths(target: Path, channels: Sequence[int | None]) -> list[Path]:
    """One stream has the target itself; of several, each has a file that names its channel.

    x.tokens.npy of channel 1 is x.ch1.tokens.npy; x.npy, given with --out, is x.ch1.npy.
    """
    if len(channels) == 1:
        return [target]
    stem, dot, ending = target.name.rpartition(f"{STEM}.")
    if not dot:
        stem, dot, ending = target.stem, "", target.suffix
    return [target.with_name(f"{stem}{CHANNEL}{channel}{dot}{ending}") for channel in channels]


def remove_leftovers(targets: Iterable[Path], file_format: str) -> None:
    """Remove what killed jobs left, hidden, of the files of these outputs and of no others."""
    ours: dict[Path, set[str]] = {}
    for target in targets:
        outputs = output_paths(target, file_format)
        paths = (*outputs.files, outputs.header, outputs.vocabulary)
        names = {short_name(path.name) for path in paths}
        ours.setdefault(target.parent, set()).update(names)
    for folder, names in ours.items():
        remove_temporaries(folder, partial(_is_of, names))


def _is_of(names: Container[str], name: str) -> bool:
    """True of a name, and of a channel's."""
    return name in names or whole_name(name) in names


def is_channel_of(name: str, whole: str) -> bool:
    """True of x.ch1.tokens.npy and x.tokens.npy."""
    return name != whole and whole_name(name) == whole


def whole_name(name: str) -> str:
    """x.tokens.npy of x.ch1.tokens.npy."""
    return OF_CHANNEL.sub("", name)


PARTS = ".parts"


def is_parts(name: str) -> bool:
    """True of the hidden folder where a timeline's recordings lie until they are joined."""
    return name.startswith(".") and name.endswith(PARTS)
