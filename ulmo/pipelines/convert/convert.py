"""ulmo convert: files of tokens become a corpus to train on, or labels to look at."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError, plain
from ulmo.formats import FORMATS
from ulmo.formats.base import ALL_RUNS, Labelling
from ulmo.formats.checked import ChangedError, copy_npy, read_checked
from ulmo.formats.clashes import clashes, merged, merged_words
from ulmo.formats.header import Stored, TokensHeader, read_stored
from ulmo.formats.places import header_path
from ulmo.formats.publish import (
    Outputs,
    check_labelling,
    check_outputs,
    name_obstacle,
    output_paths,
    publish_tokens,
    refuse_spoiling,
    remove_leftovers,
)
from ulmo.formats.sources import Source, find_tokens, take_whole
from ulmo.storage.atomic import is_of_one_file, make_folder, make_folders
from ulmo.storage.lock import LOCK, lock_path, locked
from ulmo.storage.plain_file import followed, lexists

_SUFFIX = ".tokens.npy"


class _Checked(NamedTuple):
    """A file of tokens that was checked against its header."""

    path: Path
    below: Path  # its path below the folder that the user gave
    stored: Stored  # with the hash of the ids, which are read once more to be written

    @property
    def header(self) -> TokensHeader:
        return self.stored.headers[0]


class Converted(NamedTuple):
    """What became of one file of tokens."""

    source: Path
    output: Path | None = None  # None if it was refused
    refusal: str | None = None
    columns: int = 0
    bands: int = 0
    seconds: float = 0.0  # of sound


def convert(
    sources: Sequence[Path],
    out: Path,
    file_format: str,
    *,
    labelling: Labelling = ALL_RUNS,
    partial: bool = False,
    done: Callable[[Converted], None],
    warn: Callable[[str], None] = lambda _: None,
) -> list[Converted]:
    """Write the tokens of *.tokens.npy files, and of all below folders, in another format.

    `out` is a file for formats that hold many recordings, else a folder. A file that cannot be
    read is refused, and the rest go on. Raises UserError for tokens of different tokenizers, and
    for those of a job that has not ended or whose files are gone; with `partial`, what is there is
    taken, and `warn` is called with a line for each output that lacks some. Of a finished output,
    what its recordings.parquet names is taken; a line says how many other files there are.
    """
    check_labelling(labelling, file_format)
    found, lines = take_whole(list_sources(sources), {"npy"}, partial=partial)
    for line in lines:
        warn(line)
    files: dict[Path, Path] = {}
    for each in found:
        if not each.files:
            raise UserError(f"{each.path} holds no *{_SUFFIX}: make them with ulmo-tokenize")
        files |= {path: below for path, below in each.files.items() if path not in files}
    refused, good = [], []
    for path, below in files.items():
        try:
            good.append(_Checked(path, below, _checked_header(path, file_format)))
        except (UserError, OSError, ValueError) as error:
            refused.append(Converted(path, refusal=str(error)))
            done(refused[-1])
    if not good:
        return refused
    _refuse_mixture(good)
    check_labelling(labelling, file_format, good[0].header.vocabulary.size)
    write = _to_corpus if FORMATS[file_format].many else _to_folder
    results = []
    for source, output in write(good, out, file_format, labelling):
        if isinstance(output, str):
            results.append(Converted(source.path, refusal=output))
        else:
            header = source.header
            size = (header.columns, header.bands, header.sound_seconds)
            results.append(Converted(source.path, output, None, *size))
        done(results[-1])
    return [*refused, *results]


def _to_corpus(
    sources: Sequence[_Checked], out: Path, file_format: str, labelling: Labelling
) -> Iterator[tuple[_Checked, Path]]:
    outputs = output_paths(out, file_format)
    _refuse_overwriting(outputs, sources)
    _refuse_others(outputs, [source.header for source in sources])
    if FORMATS[file_format].tabular:
        _refuse_namesakes(sources)
    make_folder(out.parent)
    with locked(lock_path(out), out):
        with publish_tokens(out, file_format, labelling, corpus=True) as writer:
            for source in sources:
                copy_npy(source.path, source.stored, writer)
                yield source, out
        remove_leftovers([out], file_format)


def _to_folder(
    sources: Sequence[_Checked], folder: Path, file_format: str, labelling: Labelling
) -> Iterator[tuple[_Checked, Path | str]]:
    """Each source and its output, or why that cannot be written."""
    plan = _plan(folder, sources, file_format)
    for target, source in plan.items():
        _refuse_others(output_paths(target, file_format), [source.header])
    make_folder(folder)
    with locked(folder / LOCK, folder):
        blocked = clashes(folder, list(plan), file_format)
        for target, first in merged(folder, list(plan)).items():
            blocked[target] = merged_words(first)
        for target, source in plan.items():
            if target in blocked:
                yield source, f"{target} cannot be written: {blocked[target]}"
                continue
            try:
                make_folders(target.parent, below=folder)
                with publish_tokens(target, file_format, labelling, below=folder) as writer:
                    copy_npy(source.path, source.stored, writer)
            except ChangedError as error:
                yield source, str(error)
            except OSError as error:
                if not is_of_one_file(error):
                    raise
                yield source, f"{target} cannot be written: {error.strerror}"
            else:
                yield source, target
        remove_leftovers(plan, file_format)


def list_sources(paths: Iterable[Path]) -> list[Source]:
    """The files of tokens at each path. Raises UserError for a path that can have none."""
    sources = []
    for path in paths:
        if not path.is_dir() and not (path.is_file() and path.name.endswith(".npy")):
            raise UserError(f"{path} is neither a folder nor a {_SUFFIX} file")
        sources.append(find_tokens(followed(path), lambda each: each.name.endswith(_SUFFIX)))
    return sources


def _checked_header(path: Path, file_format: str) -> Stored:
    """The header beside a file of tokens. Raises an error unless the file holds what it says.

    UserError, too, if its name is too long for the format that it is to have.
    """
    if path.is_dir():
        raise UserError("the folder cannot be looked into")
    stored = read_stored(header_path(path.with_suffix("")))
    names = {header.recording for header in stored.headers}
    names |= {segment.recording for header in stored.headers for segment in header.segments}
    if obstacle := name_obstacle(names, file_format):
        raise UserError(f"{path} cannot be written as {file_format}: {obstacle}")
    for _ in read_checked(path, stored):
        pass
    return stored


def _refuse_mixture(sources: Sequence[_Checked]) -> None:
    first, *others = sources
    expected = first.header
    for source in others:
        path, header = source.path, source.header
        if header.fingerprint != expected.fingerprint:
            raise UserError(
                f"{first.path} and {path} were made by two tokenizers "
                f"({expected.fingerprint[:8]} and {header.fingerprint[:8]}): convert them apart"
            )
        if header.grid != expected.grid:
            raise UserError(f"{path} has another grid than {first.path}: tokenize it again")


def _refuse_namesakes(sources: Sequence[_Checked]) -> None:
    """Raise UserError if rows of two recordings would have one name, and could not be told apart.

    Of two cards of one recorder, say, which were tokenized into two folders.
    """
    first: dict[tuple[str, int | None], Path] = {}
    for source in sources:
        name, channel = source.header.recording, source.header.channel
        other = first.setdefault((name, channel), source.path)
        if other is not source.path:
            raise UserError(
                f"{other} and {source.path} are both of {plain(name)}: convert them to two files"
            )


def _refuse_overwriting(outputs: Outputs, sources: Sequence[_Checked]) -> None:
    """Raise UserError if an output would replace a source, or the header of one of several."""
    taken = {each.resolve() for each in outputs.files}
    if len(sources) > 1:
        taken.add(outputs.header.resolve())
    for source in sources:
        for path in (source.path, header_path(source.path.with_suffix(""))):
            if path.resolve() in taken:
                raise UserError(f"--out would overwrite {path}: choose another name")


def _refuse_others(outputs: Outputs, headers: Sequence[TokensHeader]) -> None:
    """Raise UserError if there are tokens of another tokenizer, of other recordings, or a foreign
    file; NewerError for a header that a newer ulmo wrote.
    """
    if not lexists(outputs.header):
        return
    check_outputs(outputs)
    header, there = headers[0], read_stored(outputs.header).headers[0]
    if there.grid != header.grid:
        raise UserError(
            f"{outputs.files[0]} has tokens of another tokenizer ({there.fingerprint[:8]} there, "
            f"{header.fingerprint[:8]} here): choose another --out, or delete it"
        )
    refuse_spoiling(outputs, tuple(headers).__eq__)


def _plan(folder: Path, sources: Sequence[_Checked], file_format: str) -> dict[Path, _Checked]:
    """Where each file goes below a folder: a/x.tokens.npy to a/x.tokens.labels.txt."""
    suffix = FORMATS[file_format].suffixes[0]
    plan: dict[Path, _Checked] = {}
    for source in sources:
        stem = source.below.name.removesuffix(".npy").removesuffix(".tokens")
        target = folder / source.below.with_name(stem + suffix)
        if target in plan:
            raise UserError(f"several files would become {target}: convert them apart")
        plan[target] = source
    return plan
