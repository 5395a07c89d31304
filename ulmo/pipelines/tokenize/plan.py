"""Which recordings become which files of tokens."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.clashes import clashes, folded, merged, merged_words
from ulmo.formats.places import STEM, TOKENS, table_path
from ulmo.formats.publish import is_file_name, name_obstacle, output_paths, parts_folder
from ulmo.jobs.inputs import Found, InputFile, each_source, find_sources
from ulmo.storage.atomic import make_folder
from ulmo.storage.names import portable
from ulmo.storage.packed import Anew, Index, Packed, repeated
from ulmo.storage.remote_path import RemotePath

_OF_CHANNEL = re.compile(rf"\.ch\d+(?={re.escape(STEM)})")
_FILE_SUFFIXES = {Path(suffix).suffix for kind in FORMATS.values() for suffix in kind.suffixes}


class Planned(NamedTuple):
    """A recording, and where its tokens go."""

    source: Path
    name: Path  # the source as the user gave it, or below the folder that the user gave
    target: Path  # first file of the output; channel 1 of several goes to x.ch1.tokens.npy
    folder: Path  # of the output as a whole: outputs are named below it
    settings: str = ""  # hash of the job's settings; empty without a ledger
    key: str = ""  # hash of everything that decides about the tokens; empty without a ledger
    blocked: str = ""  # why its output cannot have its place beside the others; empty if it can
    place: Path | None = None  # of a part of one file: the same whatever else the job has

    @property
    def known_as(self) -> Path:
        """The path in its row and its header. That of a part is replaced once it is joined."""
        return self.place or self.name

    def key_of(self, file: InputFile) -> str:
        """A hash of a file in the place of the source, of all places and of the settings."""
        if not self.settings:
            return ""
        places = [portable(self.name), portable(self.target.relative_to(self.folder))]
        return file.key(self.settings, *places)


def plan_outputs(
    sources: Sequence[Path],
    out: Path | None,
    file_format: str,
    channels: str = "mix",
    left_out: Counter[str] | None = None,
) -> Sequence[Planned]:
    """Files, and all recordings below folders, each once; x.wav becomes x.tokens.npy.

    `out` is a folder, whose tokens/ mirrors the folders of the sources (tables: by `table_path`),
    or the file to write; None writes beside each recording. For one file of several recordings the
    plan is that of its parts.

    Recordings that would become one file keep their full names: x.wav and x.flac become
    x.wav.tokens.npy and x.flac.tokens.npy. Raises UserError if two of several sources would still
    become one file, and for a new folder with the name of a file of another format. Sound that is
    not read is counted in `left_out`, as in find_recordings.
    """
    if out is not None and out.suffix in _FILE_SUFFIXES and not out.is_dir():
        output_paths(out, file_format)
    if out is None and any(isinstance(each, RemotePath) for each in sources):
        raise UserError("nothing is written beside recordings at an address: set --out-dir")
    if out is not None and is_file_name(out, file_format):
        found = find_sources(sources, out, left_out)
        if len(found) != 1:
            if FORMATS[file_format].many:
                return plan_parts(sources, out, file_format)
            raise UserError(
                f"--out {out} is one file, but {len(found)} recordings were given: "
                "set --out to a folder, or to one table of all, as all.parquet or all.csv"
            )
        only = Planned(found[0].source, found[0].name, out, out.parent)
        return Packed([_without_long_name(only, file_format)])
    each = each_source(sources, out, left_out)
    return _plan_below(each, out, out and out / TOKENS, file_format, channels)


def _plan_below(
    found: Iterable[Found],
    out: Path | None,
    root: Path | None,
    file_format: str,
    channels: str = "mix",
) -> Sequence[Planned]:
    """Targets below `root`, or beside each recording."""
    kind = FORMATS[file_format]

    def planned_of(each: Found) -> Planned:
        home = each.source.parent if root is None else root / each.below
        target = home / (each.source.stem + kind.suffixes[0])
        planned = Planned(each.source, each.name, target, out or home)
        return _without_long_name(planned, file_format)

    def longer(planned: Planned) -> Planned:
        name = planned.source.name + kind.suffixes[0]
        return planned._replace(target=planned.target.with_name(name))

    def for_table(root: Path, planned: Planned) -> Planned:
        target = root / table_path(planned.target.relative_to(root))
        return planned._replace(target=target)

    plan = Packed(map(planned_of, found))
    targets = Anew(lambda: (planned.target for planned in plan))
    while clash := _clashing(targets, channels):
        apart = Packed(
            longer(planned) if str(planned.target) in clash else planned for planned in plan
        )
        if apart == plan:
            first = min(target for target in targets if str(target) in clash)
            raise UserError(f"several recordings would become {first}: tokenize them apart")
        plan = apart
    if root is None:
        return plan
    if kind.tabular:
        plan = Packed(for_table(root, planned) for planned in plan)
    blocked = clashes(root, targets, file_format)
    if not blocked:
        return plan
    return Packed(
        planned._replace(blocked=blocked.get(planned.target, planned.blocked)) for planned in plan
    )


def _without_long_name(planned: Planned, file_format: str) -> Planned:
    """The same, blocked if the name of the recording is too long for the format."""
    why = name_obstacle([portable(planned.name)], file_format)
    return planned._replace(blocked=why) if why else planned


def keep_apart(plan: Sequence[Planned]) -> Sequence[Planned]:
    """The plan, with the outputs blocked that the file system takes for earlier ones.

    The folders of the plan must exist.
    """
    alike = repeated(folded(planned.target) for planned in plan)
    targets: dict[Path, list[Path]] = {}
    for planned in plan:
        inside = targets.setdefault(planned.folder, [])
        if alike and folded(planned.target) in alike:
            inside.append(planned.target)
    earlier = {
        target: first
        for folder, inside in targets.items()
        for target, first in merged(folder, inside).items()
    }
    if not earlier:
        return plan
    return Packed(
        planned._replace(blocked=merged_words(earlier[planned.target]))
        if planned.target in earlier
        else planned
        for planned in plan
    )


def plan_parts(
    sources: Sequence[Path], out: Path, file_format: str, left_out: Counter[str] | None = None
) -> Sequence[Planned]:
    """The npy files of a timeline's recordings until they are joined: in a hidden folder beside it.

    Two cards of one recorder may have files of one name: these keep the paths that the user gave,
    so that they can be told apart in the table. So the names depend on the other recordings, but
    the places of the parts do not: a job that is killed leaves parts to a job with more sources.
    """
    folder = parts_folder(out)
    found = find_sources(sources, folder, left_out)
    count = Counter(each.name for each in found)
    plan = (
        Planned(
            source=each.source,
            name=each.name if count[each.name] == 1 else each.source,
            target=folder / TOKENS / _part_name(each.place),
            folder=folder,
            place=each.place,
        )
        for each in found
    )
    return Packed(_without_long_name(planned, file_format) for planned in plan)


def _part_name(place: Path) -> str:
    """The name of a part: short, also for a recording whose name is as long as can be."""
    return f"{sha256(os.fsencode(str(place))).hexdigest()[:32]}{FORMATS['npy'].suffixes[0]}"


def full_target(planned: Planned, file_format: str) -> Path:
    """The place of an output with the full name of its recording: x.flac.tokens.npy."""
    kind = FORMATS[file_format]
    name = Path(planned.source.name + kind.suffixes[0])
    return planned.target.with_name((table_path(name) if kind.tabular else name).name)


def targets_of(plan: Iterable[Planned], file_format: str) -> Iterator[Path]:
    """All places that the outputs of a plan may have."""
    for planned in plan:
        yield planned.target
        if not planned.place:
            yield full_target(planned, file_format)


def moved_aside(planned: Planned, file_format: str, is_free: Callable[[Path], bool]) -> Planned:
    """A recording whose place is not free: its output gets the full name.

    It is blocked if it has that name already, or if that place is not free, too.
    """
    target = full_target(planned, file_format)
    if target != planned.target and is_free(target):
        return planned._replace(target=target)
    why = "its place has the tokens of a recording that cannot be read now: try again later"
    return planned._replace(blocked=planned.blocked or why)


def choose_output(out: Path | None, out_dir: Path | None) -> Path | None:
    """The output of `--out` or `--out-dir`. Raises UserError for both.

    A new folder with a name like a file's is made here: later steps look for an existing folder.
    """
    if out is not None and out_dir is not None:
        raise UserError("--out and --out-dir are two outputs: give one")
    chosen = out if out_dir is None else out_dir
    if isinstance(chosen, RemotePath):
        if chosen.suffix in _FILE_SUFFIXES:
            raise UserError(f"{chosen} is a file's name: at an address, ulmo writes folders alone")
        return chosen
    if out_dir is None:
        return out
    if out_dir.suffix in _FILE_SUFFIXES:
        make_folder(out_dir, "choose another --out-dir")
    return out_dir


def _clashing(targets: Iterable[Path], channels: str) -> Index:
    """Targets of several recordings; such as that of x.ch1.wav, and of channel 1 of x.wav, too."""
    clash = repeated(map(str, targets))
    if channels == "each":
        there = Index(map(str, targets))
        for path in targets:
            whole = path.with_name(_OF_CHANNEL.sub("", path.name))
            if whole != path and str(whole) in there:
                clash[str(path)] = 0
    return clash
