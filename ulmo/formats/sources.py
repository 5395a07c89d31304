"""Files of tokens that a user names, or that lie below folders: all of an output, and no others.

An output whose job was killed, or still runs, has only some of its recordings, and looks like a
finished one. A finished one may hold tokens of recordings that are gone. So all readers of folders
look into the ledgers of the outputs there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats.folder import AGAIN, TokensLedger, folder_ledger, timeline_ledger
from ulmo.formats.places import JOURNAL, MANIFEST, TOKENS
from ulmo.formats.publish import PARTS, endings_of, format_of, is_parts, parts_folder
from ulmo.storage.names import name_of
from ulmo.storage.probe import is_probe
from ulmo.storage.walk import by_bytes, walk

PARTIAL = "add --partial (in Python: partial=True) to take what is there"


class Source(NamedTuple):
    """A file or a folder that the user named, and the files of tokens there."""

    path: Path
    files: dict[Path, Path]  # each, and its path below the folder of the output
    hidden: Sequence[Path] = ()  # ledgers' files, and folders of parts, below the folder
    closed: Collection[Path] = ()  # of the files: folders that cannot be looked into

    def resolved(self) -> Self:
        """The same at its true place."""
        place = self.path.resolve()

        def at(path: Path) -> Path:
            return place / path.relative_to(self.path)

        files = {at(path): below for path, below in self.files.items()}
        return self._replace(path=place, files=files, closed=set(map(at, self.closed)))


class _Output(NamedTuple):
    """An output that a source belongs to, or that lies below it."""

    path: Path  # its folder, or the file of a timeline or a corpus
    is_file: bool

    @property
    def ledger(self) -> TokensLedger:
        return (timeline_ledger if self.is_file else folder_ledger)(self.path)


def find_tokens(path: Path, is_tokens: Callable[[Path], bool]) -> Source:
    """The files of tokens at a path. `is_tokens` is called with relative paths.

    Folders that cannot be looked into count as files: whoever reads them refuses them. Raises
    UserError if the path itself cannot be looked into.
    """
    if not path.is_dir():
        return Source(path, {path: Path(path.name)})
    found = walk(path, skip=lambda each: is_parts(each) or is_probe(each))
    tokens = filter(is_tokens, found.files)
    root = path / TOKENS if (path / MANIFEST).is_file() else path
    files = {}
    for each in (path / below for below in by_bytes([*tokens, *found.closed])):
        is_below = each.is_relative_to(root)
        files[each] = each.relative_to(root if is_below else path)
    hidden = [each for each in found.files if each.name.endswith((MANIFEST, JOURNAL))]
    hidden += filter(is_parts, found.skipped)
    return Source(path, files, hidden, {path / each for each in found.closed})


def take_whole(
    sources: Iterable[Source], formats: Collection[str], *, partial: bool
) -> tuple[list[Source], list[str]]:
    """The sources, with the files that belong to their outputs, and lines about the others.

    Raises UserError unless the outputs that sources belong to are finished and all there. A
    folder's output may lie above it or below it. Outputs in other formats than `formats` do not
    count. With `partial`, nothing is raised: a line for each output says what it lacks. Of a
    finished output, what recordings.parquet names is taken, and a line says how many other files
    are not. A file that the user names is always taken. Tokens beside recordings have no ledger:
    nothing says whether all are there.
    """
    lacking: dict[Path, str] = {}
    left_out: dict[Path, dict[Path, None]] = {}  # files, by the folder of an output
    taken = []
    for source in sources:
        there = source.resolved()
        found = {str(path): path for path in there.files}
        named: dict[Path, set[Path]] = {}  # files, by the folder of tokens
        outputs = {}
        for output in _outputs_of(source):
            lack, files = _look_at(output, there, found, formats)
            if lack:
                lacking.setdefault(output.path.resolve(), f"{output.path} {lack}")
            if files is not None:
                tokens = output.path.resolve() / TOKENS
                outputs[tokens], named[tokens] = output.path, files
        kept, others = _divided(source, there, named)
        taken.append(kept)
        for path, tokens in others.items():
            left_out.setdefault(outputs[tokens], {})[path] = None
    lines = list(lacking.values())
    if lines and not partial:
        alike = f", and {len(lines) - 1} more outputs are like it" if len(lines) > 1 else ""
        raise UserError(f"{lines[0]}{alike}: {AGAIN}, or {PARTIAL}")
    partly = [f"partial: {line}" for line in lines]
    return taken, [*partly, *(_left_out_line(*each) for each in left_out.items())]


def _divided(
    source: Source, there: Source, named: Mapping[Path, set[Path]]
) -> tuple[Source, dict[Path, Path]]:
    """A source without the files of outputs that are not named; these, with their folders."""
    if not named or not there.path.is_dir():
        return source, {}
    files, others = {}, {}
    for (path, below), true in zip(source.files.items(), there.files, strict=True):
        tokens = next((folder for folder in true.parents if folder in named), None)
        if tokens is None or true in named[tokens] or true in there.closed:
            files[path] = below
        else:
            others[path] = tokens
    return source._replace(files=files), others


def _left_out_line(folder: Path, files: Collection[Path]) -> str:
    which = next(iter(files))
    many = f"{len(files)} files of tokens" if len(files) > 1 else "1 file of tokens"
    return (
        f"{folder}: left out {many} that recordings.parquet does not name, such as {which}: "
        "ulmo verify lists them"
    )


def _outputs_of(source: Source) -> Iterator[_Output]:
    place, true = source.path.absolute(), source.path.resolve()
    for folder in dict.fromkeys((place, *place.parents, true, *true.parents)):
        ledger = (folder.with_name(name) for name in (MANIFEST, JOURNAL))
        if folder.name == TOKENS and any(path.is_file() for path in ledger):
            yield _Output(folder.parent, is_file=False)
    if not source.path.is_dir():
        yield _Output(source.path, is_file=True)
    for below in source.hidden:
        path = source.path / below
        if is_parts(below):
            yield _Output(path.with_name(below.name[1:].removesuffix(PARTS)), is_file=True)
            continue
        if below.name.endswith(JOURNAL):
            name = below.name.removesuffix(JOURNAL).removeprefix(".")
        else:
            name = below.name.removesuffix(MANIFEST).removesuffix(".")
        yield _Output(path.with_name(name) if name else path.parent, is_file=bool(name))


def _look_at(
    output: _Output, there: Source, files: Mapping[str, Path], formats: Collection[str]
) -> tuple[str, set[Path] | None]:
    """What an output lacks of what its job makes, and which of `files` belong to it.

    `files` are those that are there, at their true places, by their paths as text. The text is
    empty if it lacks nothing. The files are None if they are not known, or if the output is one.
    """
    try:
        ledger = output.ledger
        file_format = format_of(output.path) if ledger.is_new else ledger.manifest.file_format
        if file_format not in formats:
            return "", None
        if output.is_file and (parts := parts_folder(output.path)).is_dir():
            return f"is unfinished ({folder_ledger(parts).progress()})", None
        if ledger.is_new and output.is_file:
            return "", None
        if not ledger.is_complete:
            return f"is unfinished ({ledger.progress()})", None
        if not there.path.is_dir():
            return "", None
        names = (name for row in ledger.rows() for name in row.outputs)
        if output.is_file:
            first = [name for number, name in enumerate(names) if not number]
            return "".join(f"lacks {name}" for name in first if not output.path.is_file()), None
        return _compared(output, there, files, names, endings_of(file_format))
    except UserError as error:
        return f"may lack recordings ({error})", None


def _compared(
    output: _Output,
    there: Source,
    files: Mapping[str, Path],
    names: Iterable[str],
    endings: Sequence[str],
) -> tuple[str, set[Path]]:
    """What a folder lacks of the outputs of these names, and their files, as _look_at() has them.

    The output may lie above the folder, or below it; `files` are those of the folder, by their
    paths as text. Rows may name millions of files that are not there: no path is made of a name.
    """
    home, inside = _beginning(output.path.resolve()), _beginning(there.path)
    closed = tuple(map(_beginning, there.closed))
    taken: set[Path] = set()
    first, missing = "", 0
    for name in names:
        path = home + name_of(name)
        stem = next((path.removesuffix(end) for end in endings if path.endswith(end)), None)
        if stem is not None:
            taken.update(files[each] for end in endings if (each := stem + end) in files)
        is_inside = path.startswith(inside) and not path.startswith(closed)
        if path not in files and is_inside:
            first, missing = first or name, missing + 1
    others = f" and {missing - 1} more files" if missing > 1 else ""
    return f"lacks {first}{others}" if missing else "", taken


def _beginning(folder: Path) -> str:
    """How the paths below a folder begin, as text."""
    return f"{str(folder).rstrip('/')}/"
