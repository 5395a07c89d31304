"""Files of tokens that a user names, or that lie below folders, and whether all are there.

An output whose job was killed, or still runs, has only some of its recordings, and looks like a
finished one. So all readers of folders check the ledgers of the outputs there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats.folder import AGAIN, TokensLedger, folder_ledger, timeline_ledger
from ulmo.formats.places import JOURNAL, MANIFEST, TOKENS
from ulmo.formats.publish import PARTS, format_of, is_parts, parts_folder
from ulmo.jobs.outcome import Tokenized
from ulmo.storage.names import path_of
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


def check_whole(sources: Iterable[Source], formats: Collection[str], *, partial: bool) -> list[str]:
    """Raise UserError unless the outputs that sources belong to are finished and all there.

    A folder's output may lie above it or below it. Outputs in other formats than `formats` do not
    count. With `partial`, nothing is raised: a line for each output says what it lacks. Tokens
    beside recordings have no ledger: nothing says whether all are there.
    """
    lacking: dict[Path, str] = {}
    for source in sources:
        there = source.resolved()
        for output in _outputs_of(source):
            if lack := _lack(output, there, formats):
                lacking.setdefault(output.path.resolve(), f"{output.path} {lack}")
    lines = list(lacking.values())
    if lines and not partial:
        others = f", and {len(lines) - 1} more outputs are like it" if len(lines) > 1 else ""
        raise UserError(f"{lines[0]}{others}: {AGAIN}, or {PARTIAL}")
    return [f"partial: {line}" for line in lines]


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


def _lack(output: _Output, there: Source, formats: Collection[str]) -> str:
    """What an output lacks of what its job makes; empty if it lacks nothing."""
    try:
        ledger = output.ledger
        named = format_of(output.path) if ledger.is_new else ledger.manifest.file_format
        if named not in formats:
            return ""
        if output.is_file and (parts := parts_folder(output.path)).is_dir():
            return f"is unfinished ({folder_ledger(parts).progress()})"
        if ledger.is_new and output.is_file:
            return ""
        if not ledger.is_complete:
            return f"is unfinished ({ledger.progress()})"
        missing = _missing(output, there, ledger.rows()) if there.path.is_dir() else []
    except UserError as error:
        return f"may lack recordings ({error})"
    if not missing:
        return ""
    others = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
    return f"lacks {missing[0]}{others}"


def _missing(output: _Output, there: Source, rows: Iterable[Tokenized]) -> list[str]:
    """Files that a folder should have, by the rows of an output above it or below it."""
    names = [name for row in rows for name in row.outputs]
    if output.is_file:
        return names[:1] if names and not output.path.is_file() else []
    home = output.path.resolve()
    wanted = ((name, home / path_of(name)) for name in names)
    return [
        name
        for name, path in wanted
        if path.is_relative_to(there.path)
        and path not in there.files
        and not any(folder in there.closed for folder in path.parents)
    ]
