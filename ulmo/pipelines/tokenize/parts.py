"""Parts of one file of several recordings, and which recordings the file of an earlier job has.

A part holds the tokens of one recording, in an npy file, until all are joined. A recording that
cannot be read now is joined by the part that a killed job left of it. Without one, a file that may
have its tokens stays as it was.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats.checked import changed, read_checked, unchanged
from ulmo.formats.header import Stored, TokensHeader, read_stored
from ulmo.formats.publish import Outputs, output_paths, tokens_hash, whole_at
from ulmo.formats.read import read_corpus
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.job import Result, by_name
from ulmo.pipelines.tokenize.known import Known
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.storage.names import path_of, path_text, portable


class Parts(NamedTuple):
    """What a job made of each recording, and what it joins."""

    results: list[Result]
    # The same, but instead of a recording that cannot be read now the parts of an earlier job.
    joined: list[Result]

    @property
    def has_earlier(self) -> bool:
        """Whether some were made by an earlier job, of recordings that cannot be read now."""
        return any(result.earlier for result in self.results)


def parts_of(plan: Sequence[Planned], results: Sequence[Result]) -> Parts:
    """The parts of a plan, by the names that their recordings have in it."""
    named = [by_name(planned, result) for planned, result in zip(plan, results, strict=True)]
    taken = {planned.name for planned in plan}
    joined = []
    for planned, result in zip(plan, named, strict=True):
        joined += [_part(planned, row, taken) for row in result.earlier] or [result]
    return Parts(named, joined)


def _part(planned: Planned, row: Tokenized, taken: set[Path]) -> Result:
    """The part of a recording, or of one in a folder that cannot be looked into."""
    assert planned.place is not None
    below = path_of(row.path).relative_to(planned.place)
    source, name = planned.source / below, planned.name / below
    if below.parts and name in taken:
        name = source
    outputs = [planned.folder / path_of(output) for output in row.outputs]
    return Result(source, outputs, row.model_copy(update={"path": portable(name)}))


def made_of(part: Result) -> Iterator[tuple[Path, Stored]]:
    """The npy files of a recording, and their headers, with the name that it has in this job.

    ChangedError if its row is of other files.
    """
    found = [read_stored(output_paths(path, "npy").header) for path in part.outputs]
    if found and tokens_hash(found, (".npy",)) != part.outcome.tokens_sha256:
        raise changed(part.outputs[0])
    for path, stored in zip(part.outputs, found, strict=True):
        yield path, stored._replace(headers=(_renamed(stored.header, part.outcome.path),))


def stays(outputs: Outputs, parts: Parts) -> str:
    """Why an earlier file of all recordings stays as it is, for the user; empty if it does not.

    It does if a recording that cannot be read now may be one whose tokens it has, unless they are
    those of a recording of this job. Raises UserError if the file cannot be read.
    """
    joined = {part.source for part in parts.joined if part.outcome.status != "refused"}
    unread = [result.source for result in parts.results if result.outcome.reason in MAY_PASS]
    lacking = [source for source in unread if source not in joined]
    known = Known(lacking)
    stored = whole_at(outputs) if lacking else None
    if stored is None:
        return ""
    names = {name for header in stored.headers for name in _names(header)}
    lost = {name for name in names if known.folders or known.called(name)}
    lost -= _made_again(outputs, lost, parts.joined)
    if not lost:
        return ""
    owners = set(known.folders)
    for name in {path_of(name).name: name for name in lost}.values():  # many may have one last part
        owners.update(known.called(name))
    first, *others = dict.fromkeys(source for source in unread if source in owners)
    more = f" and {len(others)} more" if others else ""
    return (
        f"{path_text(outputs.files[0])} stays as it was: it may have tokens of {path_text(first)}"
        f"{more}, which cannot be read now: run the same command again when that is possible, or "
        "delete it, to have one without"
    )


def _made_again(outputs: Outputs, names: Iterable[str], parts: Iterable[Result]) -> set[str]:
    """Those names of an earlier file by which a part has the same tokens."""
    sources = {part.source: part for part in parts if part.outputs}
    known = Known(sources)
    named = {name: found for name in names if (found := known.called(name))}
    if not named:
        return set()
    there: dict[str, list[_Ids]] = {name: [] for name in named}
    try:
        for header, ids in read_corpus(outputs.files[-1]):
            for name, stretch in _stretches(header, ids):
                if name in there:
                    there[name].append(_Ids.of(stretch))
    except (UserError, OSError):  # such as labels, which are not read back
        return set()
    return {
        name
        for name, found in named.items()
        if any(_is_same(sources[source], there[name]) for source in found)
    }


class _Ids(NamedTuple):
    columns: int
    digest: str

    @classmethod
    def of(cls, ids: Ids) -> "_Ids":
        return cls(len(ids), sha256(np.ascontiguousarray(ids, np.int32).data).hexdigest())


def _is_same(part: Result, there: Sequence[_Ids]) -> bool:
    """Whether a part has these tokens. On a timeline, the last columns of one may be left out."""
    here = [
        stretch
        for path, stored in made_of(part)
        for _, stretch in _stretches(stored.header, _read(path, stored))
    ]
    return len(here) == len(there) and all(
        _Ids.of(ids[: earlier.columns]) == earlier for ids, earlier in zip(here, there, strict=True)
    )


def _read(path: Path, stored: Stored) -> Ids:
    with unchanged(path):
        return np.concatenate(list(read_checked(path, stored)))


def _stretches(header: TokensHeader, ids: Ids) -> Iterator[tuple[str, Ids]]:
    """The name of the recording of each stretch, and its ids (n, band)."""
    if not header.segments:
        yield header.recording, ids
    for each in header.segments:
        yield each.recording, ids[each.column : each.column + each.columns]


def _names(header: TokensHeader) -> set[str]:
    return {segment.recording for segment in header.segments} or {header.recording}


def _renamed(header: TokensHeader, name: str) -> TokensHeader:
    """The header of one recording, by another name."""
    segments = [each.model_copy(update={"recording": name}) for each in header.segments]
    return header.model_copy(update={"recording": name, "segments": tuple(segments)})
