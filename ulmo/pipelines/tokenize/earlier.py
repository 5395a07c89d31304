"""What earlier jobs made of the recordings of a folder, by the ledger's rows.

A recording that cannot be read now keeps the tokens that it has. Tokens of a recording that is
there, but under names that it had before, are removed once its new ones are there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.config import UserError
from ulmo.formats.folder import TokenizeManifest, TokensLedger
from ulmo.formats.places import TOKENS, refuse_linked_folders
from ulmo.formats.publish import (
    Outputs,
    endings_of,
    is_parts,
    output_paths,
    remove_leftovers,
    remove_tokens,
    stored_at,
    tokens_hash,
    whole_at,
    whole_name,
)
from ulmo.formats.read import read_corpus
from ulmo.jobs.inputs import input_file
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.job import MAY_STAY, Result, is_there
from ulmo.pipelines.tokenize.known import Known
from ulmo.pipelines.tokenize.plan import Planned, moved_aside
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.storage.atomic import PassingOver
from ulmo.storage.faults import handled, reading_error
from ulmo.storage.names import path_of, portable
from ulmo.storage.plain_file import file_hash, lexists, read_unlinked
from ulmo.storage.sealed import MAX_JSON_BYTES

Sound = tuple[Any, ...]  # what a row says of the sound of a recording


class Earlier:
    """Rows of earlier jobs that are not results of this one. Those of refused recordings are not.

    A row is of the recording with its name, or below that name if this is a folder that cannot be
    looked into. Without one of its name, it is of any recording that may have had its name.
    """

    def __init__(
        self,
        ledger: TokensLedger,
        folder: Path,
        plan: Sequence[Planned],
        made: Mapping[Planned, Result],
    ) -> None:
        """`made` are the results of this job that an earlier one has made already."""
        self._folder = folder
        self._manifest = ledger.manifest
        self._format = ledger.manifest.file_format
        self._plan = plan
        others = ledger.others({planned.key for planned in made})
        self._rows = [row for row in others if row.status != "refused"]  # the latest last
        self._below: dict[Path, list[Tokenized]] = {}
        for row in self._rows:
            path = path_of(row.path)
            for each in (path, *path.parents):
                self._below.setdefault(each, []).append(row)
        self._settled = set(made)  # recordings of which this job knows that they can be read

    @cached_property
    def _planned(self) -> dict[Path, Planned]:
        return {planned.known_as: planned for planned in self._plan}

    @cached_property
    def _sources(self) -> dict[Path, Planned]:
        return {planned.source: planned for planned in self._plan}

    @cached_property
    def _known(self) -> Known:
        return Known(self._sources)

    @cached_property
    def _targets(self) -> set[Path]:
        return {planned.target for planned in self._plan}

    @property
    def keys(self) -> list[str]:
        """The keys of the rows, which the ledger keeps until the job has ended."""
        return [row.key for row in self._rows]

    def settle(self, planned: Planned, row: Tokenized) -> list[Tokenized]:
        """Note the row of a recording. The rows that stay in its place: those with whole tokens.

        They are those of a refusal that may pass: one of a recording; of a folder that cannot be
        looked into, one for each recording there.
        """
        if not self._rows:
            return []
        if row.reason not in MAY_STAY:
            self._settled.add(planned)
        if row.reason not in MAY_PASS:
            return []
        rows = self._below.get(planned.known_as, [])
        kept = {row.path: row for row in rows if self._is_whole(row)}
        return list(kept.values())

    def unnamed(self, rows: Iterable[Tokenized]) -> list[Tokenized]:
        """The rows that stay though no recording of the job has their names, if tokens are whole.

        Each may be of a recording that could not be read, and is of none of `rows`, of this job.
        """
        if not self._rows:
            return []
        rows = list(rows)
        sounds = _by_sound(rows)
        taken = {name for row in rows for name in row.outputs}
        kept = {
            row.path: row
            for row in self._rows
            if taken.isdisjoint(row.outputs)
            and not self._is_moved(row, sounds)
            and not self._of_that_name(row)
            and any(planned not in self._settled for planned in self._owners(row))
            and self._is_whole(row)
        }
        return list(kept.values())

    def in_turn(self, plan: Iterable[Planned]) -> tuple[list[Planned], list[Planned]]:
        """Recordings in two groups: the second is for later, as it would replace tokens of others.

        By then it is known which of the others cannot be read.
        """
        first: list[Planned] = []
        later: list[Planned] = []
        for planned in plan:
            rows = self._at(planned.target)
            (later if any(self._owners(row, planned) for row in rows) else first).append(planned)
        return first, later

    def made_room(self, planned: Planned) -> Planned:
        """A recording, with a place at which it replaces no tokens of one that cannot be read."""

        def is_free(target: Path) -> bool:
            return all(
                owner in self._settled
                for row in self._at(target)
                for owner in self._owners(row, planned)
                if self._is_whole(row)
            )

        def is_new(target: Path) -> bool:
            return target not in self._targets and is_free(target)

        return planned if is_free(planned.target) else moved_aside(planned, self._format, is_new)

    def remove_replaced(self, rows: Iterable[Tokenized]) -> None:
        """Remove outputs that the rows of this job do not name, of recordings that are there.

        A recording that was moved or renamed is there too: its row has the same facts, and its
        tokens are the same. Nothing else is known of recordings that are gone, and their outputs
        stay.
        """
        if not self._rows:
            return
        rows = list(rows)
        named = {name for row in rows for name in row.outputs}
        there = {row.path for row in rows}
        settled = {row.path for row in rows if row.reason not in MAY_STAY}
        sounds = _by_sound(rows)
        for row in self._rows:
            if row.path in settled or (row.path not in there and self._is_moved(row, sounds)):
                for name in reversed(row.outputs):
                    if name not in named:
                        self._remove(row, name)

    def _is_moved(self, row: Tokenized, sounds: Mapping[Sound, Sequence[Tokenized]]) -> bool:
        """Whether a recording of this job, whose rows are in `sounds`, is that of a row.

        The same sound played backwards has the same facts, but other ids. Labels do not say which
        ids they were made of: they stay.
        """
        return any(self._has_ids_of(row, each) for each in sounds.get(_sound(row), ()))

    def _has_ids_of(self, row: Tokenized, other: Tokenized) -> bool:
        """Whether the outputs of a row have the ids of those of another, as far as they exist.

        A job that was killed while it removed them has left some.
        """
        for names in zip(row.outputs, other.outputs, strict=False):
            try:
                first, second = (
                    output_paths(self._folder / path_of(name), self._format) for name in names
                )
            except UserError:  # a row that names no output of ulmo's
                return False
            if all(map(lexists, first.files)):
                ids = _ids_hash(first)
                if ids is None or ids != _ids_hash(second):
                    return False
        return len(row.outputs) == len(other.outputs)

    def _of_that_name(self, row: Tokenized) -> list[Planned]:
        """The recordings of the job that have the name of a row, or are a folder of that name.

        None if the file of that name is another one now, and may not be the one that had the name.
        """
        path = path_of(row.path)
        named = [self._planned[each] for each in (path, *path.parents) if each in self._planned]
        sources = {planned.source for planned in named}
        if set(self._known.below(row.path)) - sources and not any(
            _is_of_file(row, source) for source in sources
        ):
            return []
        return named

    def _owners(self, row: Tokenized, but: Planned | None = None) -> list[Planned]:
        """The recordings of the job that a row is of, or may be of; without one of them.

        There is no other if the row is of that one's file.
        """
        owners = self._of_that_name(row)
        if not owners and not is_parts(self._folder):  # parts have the same names in each job
            owners = [self._sources[each] for each in self._known.that_may_be(row.path)]
        others = [planned for planned in owners if planned != but]
        if but and others and row.path == portable(but.known_as) and _is_of_file(row, but.source):
            return []
        return others

    def _at(self, target: Path) -> list[Tokenized]:
        """The rows whose outputs have a place, or that of one of its channels."""
        return self._by_place.get(target, [])

    @cached_property
    def _by_place(self) -> dict[Path, list[Tokenized]]:
        found: dict[Path, list[Tokenized]] = {}
        for row in self._rows:
            paths = {self._folder / path_of(name) for name in row.outputs}
            if self._manifest.channels == "each":
                paths |= {path.with_name(whole_name(path.name)) for path in paths}
            for path in paths:
                found.setdefault(path, []).append(row)
        return found

    def _is_whole(self, row: Tokenized) -> bool:
        outputs = [self._folder / path_of(name) for name in row.outputs]
        return all(map(_is_inside, row.outputs)) and is_as_written(outputs, row, self._manifest)

    def _remove(self, row: Tokenized, name: str) -> None:
        """Remove an output of a row, and what a job that was killed here has left of it.

        One that has the tokens of another recording by now stays, and so does one that a newer ulmo
        wrote.
        """
        path, file_format = self._folder / path_of(name), self._format
        if not _is_inside(name):
            return
        with suppress(UserError), PassingOver():
            paths = output_paths(path, file_format)
            stored = stored_at(paths.header)
            recordings = {header.recording for header in stored.headers} if stored else {row.path}
            if is_there(file_format, path) and recordings == {row.path}:
                remove_tokens(paths, below=self._folder)
            remove_leftovers([path], file_format)


def is_as_written(outputs: Iterable[Path], row: Tokenized, made: TokenizeManifest) -> bool:
    """Whether the outputs of a recording are those that a job of `made` wrote for its row.

    Raises UserError if one of them cannot be read.
    """
    outputs = list(outputs)
    if _is_same_to_the_byte(outputs, row, made):
        return True
    there = []
    for output in outputs:
        paths = output_paths(output, made.file_format)
        if (stored := whole_at(paths)) is None or len(stored.headers) != 1:
            return False
        there.append(stored)
        header = stored.header
        found = (header.fingerprint, header.unk_quantile, header.recording, header.columns)
        if found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
            return False
    unknown = sum(stored.header.unknown for stored in there)
    digest = tokens_hash(there, endings_of(made.file_format)) if there else None
    return (unknown, digest) == (row.unknown, row.tokens_sha256)


def _is_same_to_the_byte(outputs: Sequence[Path], row: Tokenized, made: TokenizeManifest) -> bool:
    """The same where the bytes of the headers have the hash in the row: these need no checks.

    False says nothing: files in other formats may share a header, and it may be damaged.
    """
    unknown = 0
    running, named = sha256(), []
    with suppress(UserError, OSError, ValueError, KeyError):
        for output in outputs:
            paths = output_paths(output, made.file_format)
            refuse_linked_folders(paths.header)
            content = read_unlinked(paths.header, MAX_JSON_BYTES)
            running.update(content)
            named.append((paths, content))
        if not named or running.hexdigest() != row.tokens_sha256:
            return False
        for paths, content in named:
            header = json.loads(content)
            unknown += header["unknown"]
            fields = ("fingerprint", "unk_quantile", "recording", "columns")
            found = tuple(header[name] for name in fields)
            if found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
                return False
            for path, ending in zip(paths.files, paths.endings, strict=True):
                if file_hash(path) != header["hashes"][ending]:
                    return False
        return unknown == row.unknown
    return False


def _ids_hash(outputs: Outputs) -> str | None:
    """SHA-256 of the ids of an output; None if they are damaged, or in a format that has none.

    Raises UserError or OSError if they cannot be read.
    """
    outer, running = handled(), sha256()
    try:
        for _, ids in read_corpus(outputs.files[-1]):
            running.update(np.ascontiguousarray(ids, np.int32).data)
    except (UserError, OSError) as error:
        if reading_error(error, outer):
            raise
        return None
    return running.hexdigest()


def _is_inside(name: str) -> bool:
    """Whether the name of an output is one below the folder of tokens."""
    parts = path_of(name).parts
    return parts[0] == TOKENS and ".." not in parts


def _is_of_file(row: Tokenized, source: Path) -> bool:
    """Whether a file has the size and the ends of the one that a row is of."""
    file = input_file(source)
    return (file.size, file.ends) == (row.bytes, row.ends_crc32c)


def _by_sound(rows: Iterable[Tokenized]) -> dict[Sound, list[Tokenized]]:
    """The rows that have outputs, by what they say of the sound."""
    found: dict[Sound, list[Tokenized]] = {}
    for row in rows:
        if row.outputs:
            found.setdefault(_sound(row), []).append(row)
    return found


def _sound(row: Tokenized) -> Sound:
    """What two recordings have in common if one is the other, by all that a row says."""
    file = row.bytes, row.ends_crc32c, row.frames, row.sample_rate, row.channels, row.start_utc
    measured = row.peak_db, row.bandwidth_hz, row.share_above, row.columns, row.unknown
    return (*file, *measured)
