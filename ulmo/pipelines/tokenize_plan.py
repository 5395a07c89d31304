"""Which recordings become which files of tokens."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import STEM, output_paths
from ulmo.preprocessing.audio import find_recordings

CHANNEL = ".ch"


class Planned(NamedTuple):
    """A recording, and where its tokens go."""

    source: Path
    name: Path
    """The source as the user gave it, or below the folder that the user gave."""
    target: Path
    """The first file of the output; x.ch1.tokens.npy for channel 1 of several."""


def plan_outputs(sources: Sequence[Path], out: Path | None, file_format: str) -> list[Planned]:
    """Files, and all recordings below folders, each once; x.wav becomes x.tokens.npy.

    `out` is a folder, which mirrors the folders of the sources, or for one recording the file
    to write; None writes beside each recording. Where x.wav and x.flac would meet, both keep their
    full names (x.wav.tokens.npy). UserError where two recordings would still be one file.
    """
    found = _find(sources, out)
    if out is not None and is_file_name(out, file_format):
        if len(found) != 1:
            raise UserError(f"--out {out} is one file, but {len(found)} recordings were given")
        return [Planned(found[0].source, found[0].name, out)]
    suffix = FORMATS[file_format].suffixes[0]
    folders = [each.source.parent if out is None else out / each.below for each in found]
    short = [
        folder / (each.source.stem + suffix) for folder, each in zip(folders, found, strict=True)
    ]
    taken = Counter(short)
    targets = [
        target if taken[target] == 1 else target.with_name(each.source.name + suffix)
        for target, each in zip(short, found, strict=True)
    ]
    clash = [target for target, count in Counter(targets).items() if count > 1]
    if clash:
        raise UserError(f"several recordings would become {clash[0]}: tokenize them apart")
    return [
        Planned(each.source, each.name, target) for each, target in zip(found, targets, strict=True)
    ]


def is_file_name(out: Path, file_format: str) -> bool:
    """True of a path that ends as files of the format do."""
    if out.is_dir():
        return False
    try:
        output_paths(out, file_format)
    except UserError:
        return False
    return True


def channel_path(target: Path, channel: int | None) -> Path:
    """x.tokens.npy of channel 1 is x.ch1.tokens.npy; x.npy, given with --out, is x.ch1.npy."""
    stem, dot, ending = target.name.partition(f"{STEM}.")
    if not dot:
        stem, ending = target.stem, target.suffix.removeprefix(".")
        dot = "."
    return target.with_name(f"{stem}{CHANNEL}{channel}{dot}{ending}")


class _Found(NamedTuple):
    source: Path
    name: Path
    below: Path
    """Folders of the output that it goes to."""


def _find(sources: Sequence[Path], out: Path | None) -> list[_Found]:
    """Each recording once; of a folder, those with a sound file's suffix."""
    found: dict[Path, _Found] = {}
    for source in sources:
        if source.is_dir():
            inside = find_recordings(source, skip=out)
            if not inside:
                raise UserError(f"no recordings below {source} (.wav, .flac, .ogg and others)")
            for path in inside:
                found.setdefault(source / path, _Found(source / path, path, path.parent))
        elif source.is_file():
            found.setdefault(source, _Found(source, source, Path()))
        else:
            raise UserError(f"{source} is neither a file nor a folder")
    return list(found.values())
