"""Outputs of tokens below a folder: headers, and what lies beside them, told by their names."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ulmo.bundle.manifest import MANIFEST
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.outputs import is_parts
from ulmo.formats.publish import STEM
from ulmo.storage.run_manifest import RUN_MANIFEST

_ENDINGS = {suffix.removeprefix(STEM) for kind in FORMATS.values() for suffix in kind.suffixes}
VOCABULARY = ".vocabulary.json"
_OTHER_KINDS = frozenset({"prep.json", "tiles.parquet", RUN_MANIFEST, MANIFEST})
"""What lies in a folder of tiles, a run or a bundle."""


class Output(NamedTuple):
    """A header, and what lies beside it."""

    header: Path
    files: list[Path]

    @property
    def stem(self) -> str:
        """x.tokens of x.tokens.json."""
        return self.header.stem


class Below(NamedTuple):
    """What lies below a folder."""

    files: list[Path]
    closed: list[tuple[Path, str]]
    """Folders that cannot be looked into, and why."""
    parts: list[Path]
    """Hidden folders of timelines that are not finished."""


def look_below(folder: Path) -> Below:
    """All files, in the order of their paths; links to folders are not followed.

    A subfolder of tiles, a run or a bundle is not looked into: it is verified by itself.
    """
    found = Below([], [], [])
    errors: list[OSError] = []
    for root, folders, names in os.walk(folder, onerror=errors.append):
        here = Path(root)
        if here != folder and _OTHER_KINDS.intersection(names):
            folders.clear()
            continue
        found.parts.extend(here / name for name in sorted(folders) if is_parts(name))
        folders[:] = sorted(name for name in folders if not is_parts(name))
        found.files.extend(here / name for name in sorted(names))
    found.closed.extend(
        (Path(os.fsdecode(error.filename)), error.strerror or str(error)) for error in errors
    )
    return found


def find_outputs(files: Iterable[Path]) -> Iterator[Output]:
    """Headers and tokens files: what has the stem of a header is beside it."""
    groups: dict[Path, list[Path]] = {}
    for path in files:
        stem = stem_of(path.name)
        if stem and not path.name.startswith("."):
            groups.setdefault(path.with_name(f"{stem}.json"), []).append(path)
    for header, found in groups.items():
        beside = [path for path in found if path != header]
        if header.stem.endswith(STEM) or _is_ours(header, beside):
            yield Output(header, beside)


def output_of(path: Path) -> Output:
    """The output that a file belongs to; UserError for what is no file of tokens."""
    stem = stem_of(path.name)
    if not stem:
        raise UserError(f"{path} is no file of tokens: they end with {', '.join(sorted(_ENDINGS))}")
    header = path.with_name(f"{stem}.json")
    beside = [path.with_name(stem + ending) for ending in sorted({*_ENDINGS, VOCABULARY})]
    return Output(header, [each for each in beside if each.exists()])


def stem_of(name: str) -> str:
    """x.tokens of x.tokens.npy; nothing of what is no file of tokens."""
    for ending in sorted({*_ENDINGS, VOCABULARY, ".json"}, key=len, reverse=True):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return ""


def _is_ours(header: Path, beside: list[Path]) -> bool:
    """True of JSON that looks like a header: corpus.bin has corpus.json beside it.

    Of one that cannot be read, true where something lies beside it.
    """
    if not header.is_file():
        return False
    try:
        with header.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return bool(beside)
    return b'"fingerprint"' in start and b'"edges_hz"' in start
