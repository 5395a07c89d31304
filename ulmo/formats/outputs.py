"""Names of tokens files, and which files belong together."""

import re
from collections.abc import Container, Iterable, Sequence
from functools import partial
from pathlib import Path

from ulmo.config import UserError
from ulmo.formats.publish import STEM, output_paths
from ulmo.storage.atomic import remove_temporaries, short_name

CHANNEL = ".ch"
OF_CHANNEL = re.compile(rf"{re.escape(CHANNEL)}\d+(?=({re.escape(STEM)})?(\.[a-z]+)+\Z)")
PARTS = ".parts"  # ending of the hidden folder of a timeline that is not finished


def is_file_name(out: Path, file_format: str) -> bool:
    """Whether a path ends as files of the format do, and is no folder."""
    if out.is_dir():
        return False
    try:
        output_paths(out, file_format)
    except UserError:
        return False
    return True


def stream_paths(target: Path, channels: Sequence[int | None]) -> list[Path]:
    """The file for each channel: `target` itself for one, or a file that names its channel.

    Channel 1 of x.tokens.npy goes to x.ch1.tokens.npy; of x.npy, given with --out, to x.ch1.npy.
    """
    if len(channels) == 1:
        return [target]
    stem, dot, ending = target.name.rpartition(f"{STEM}.")
    if not dot:
        stem, dot, ending = target.stem, "", target.suffix
    return [target.with_name(f"{stem}{CHANNEL}{channel}{dot}{ending}") for channel in channels]


def remove_leftovers(targets: Iterable[Path], file_format: str) -> None:
    """Remove the hidden files that killed jobs left beside these outputs, and no others."""
    ours: dict[Path, set[str]] = {}
    for target in targets:
        outputs = output_paths(target, file_format)
        paths = (*outputs.files, outputs.header, outputs.vocabulary)
        names = {short_name(path.name) for path in paths}
        ours.setdefault(target.parent, set()).update(names)
    for folder, names in ours.items():
        remove_temporaries(folder, partial(_is_of, names))


def _is_of(names: Container[str], name: str) -> bool:
    """Whether a name, or the name without its channel, is among `names`."""
    return name in names or whole_name(name) in names


def is_channel_of(name: str, whole: str) -> bool:
    """Whether `name` is a channel of `whole`: x.ch1.tokens.npy of x.tokens.npy."""
    return name != whole and whole_name(name) == whole


def whole_name(name: str) -> str:
    """The name without its channel: x.tokens.npy for x.ch1.tokens.npy."""
    return OF_CHANNEL.sub("", name)


def is_parts(name: str) -> bool:
    """Whether a folder holds the recordings of a timeline until they are joined."""
    return name.startswith(".") and name.endswith(PARTS)
