"""What earlier jobs made of the recordings of a folder, by the ledger's rows.

A recording that cannot be read now keeps the tokens that it has. Tokens of a recording that is
there, but under names that it had before, are removed once its new ones are there.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmo.config import UserError
from ulmo.formats.folder import TokensLedger
from ulmo.formats.places import TOKENS
from ulmo.formats.publish import (
    Outputs,
    is_parts,
    output_paths,
    remove_leftovers,
    remove_tokens,
    stored_at,
    whole_name,
)
from ulmo.formats.read import read_corpus
from ulmo.jobs.inputs import input_file
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.as_written import is_as_written
from ulmo.pipelines.tokenize.job import MAY_STAY, is_there
from ulmo.pipelines.tokenize.known import Known
from ulmo.pipelines.tokenize.plan import Planned, moved_aside
from ulmo.preprocessing.reading.refusal import MAY_PASS
from ulmo.storage.atomic import PassingOver
from ulmo.storage.faults import handled, reading_error
from ulmo.storage.names import path_of, portable
from ulmo.storage.packed import Anew, Index, Packed
from ulmo.storage.plain_file import lexists

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
        plan: Iterable[Planned],
        made: Index,
    ) -> None:
        """`made` has the keys of recordings that an earlier job has done. `plan` is read again."""
        self._folder = folder
        self._manifest = ledger.manifest
        self._format = ledger.manifest.file_format
        self._plan = plan
        others = ledger.others(made)
        self._rows = [row for row in others if row.status != "refused"]  # the latest last
        self._below: dict[Path, list[Tokenized]] = {}
        for row in self._rows:
            path = path_of(row.path)
            for each in (path, *path.parents):
                self._below.setdefault(each, []).append(row)
        # Sources of recordings of which this job knows that they can be read.
        self._settled = Index()
        for planned in plan if self._rows else ():
            if planned.key in made:
                self._settled[str(planned.source)] = 0

    @cached_property
    def _planned(self) -> dict[Path, Planned]:
        """The recordings that have the names of rows, or are folders above these."""
        return {
            planned.known_as: planned for planned in self._plan if planned.known_as in self._below
        }

    @cached_property
    def _sources(self) -> dict[Path, Planned]:
        """The recordings that `_known` may name."""
        folders = set(self._known.folders)
        return {
            planned.source: planned
            for planned in self._plan
            if planned.source in folders or planned.source.name in self._names
        }

    @cached_property
    def _known(self) -> Known:
        return Known(Anew(lambda: (planned.source for planned in self._plan)), self._names)

    @cached_property
    def _names(self) -> set[str]:
        """The last parts of the names of rows."""
        return {path_of(row.path).name for row in self._rows}

    @cached_property
    def _targets(self) -> Index:
        return Index(str(planned.target) for planned in self._plan)

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
            self._settled[str(planned.source)] = 0
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
        made = self._made(rows)
        kept = {
            row.path: row
            for row in self._rows
            if made.outputs.isdisjoint(row.outputs)
            and not self._is_moved(row, made.sounds)
            and not self._of_that_name(row)
            and not all(map(self._is_settled, self._owners(row)))
            and self._is_whole(row)
        }
        return list(kept.values())

    def in_turn(self, plan: Sequence[Planned]) -> tuple[Sequence[Planned], Sequence[Planned]]:
        """Recordings in two groups: the second is for later, as it would replace tokens of others.

        By then it is known which of the others cannot be read.
        """
        if not self._rows:
            return plan, []
        first, later = Packed[Planned](), Packed[Planned]()
        for planned in plan:
            rows = self._at(planned.target)
            (later if any(self._owners(row, planned) for row in rows) else first).append(planned)
        return first, later

    def made_room(self, planned: Planned) -> Planned:
        """A recording, with a place at which it replaces no tokens of one that cannot be read."""

        def is_free(target: Path) -> bool:
            return all(
                self._is_settled(owner)
                for row in self._at(target)
                for owner in self._owners(row, planned)
                if self._is_whole(row)
            )

        def is_new(target: Path) -> bool:
            return str(target) not in self._targets and is_free(target)

        return planned if is_free(planned.target) else moved_aside(planned, self._format, is_new)

    def remove_replaced(self, rows: Iterable[Tokenized]) -> None:
        """Remove outputs that the rows of this job do not name, of recordings that are there.

        A recording that was moved or renamed is there too: its row has the same facts, and its
        tokens are the same. Nothing else is known of recordings that are gone, and their outputs
        stay.
        """
        if not self._rows:
            return
        made = self._made(rows)
        for row in self._rows:
            is_moved = row.path not in made.paths and self._is_moved(row, made.sounds)
            if row.path in made.settled or is_moved:
                for name in reversed(row.outputs):
                    if name not in made.outputs:
                        self._remove(row, name)

    def _made(self, rows: Iterable[Tokenized]) -> "_Made":
        """What the rows of this job have in common with those of earlier ones."""
        sounds = {_sound(row) for row in self._rows}
        outputs = {name for row in self._rows for name in row.outputs}
        paths = {row.path for row in self._rows}
        made = _Made(set(), set(), set(), {})
        for row in rows:
            made.outputs.update(outputs.intersection(row.outputs))
            if row.path in paths:
                made.paths.add(row.path)
                if row.reason not in MAY_STAY:
                    made.settled.add(row.path)
            if row.outputs and (sound := _sound(row)) in sounds:
                made.sounds.setdefault(sound, []).append(row)
        return made

    def _is_settled(self, planned: Planned) -> bool:
        return str(planned.source) in self._settled

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


class _Made(NamedTuple):
    """What rows of a job have in common with those of earlier jobs."""

    outputs: set[str]
    paths: set[str]
    settled: set[str]  # paths of recordings that could be read
    sounds: dict[Sound, list[Tokenized]]  # rows that have outputs, by what they say of the sound


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


def _sound(row: Tokenized) -> Sound:
    """What two recordings have in common if one is the other, by all that a row says."""
    file = row.bytes, row.ends_crc32c, row.frames, row.sample_rate, row.channels, row.start_utc
    measured = row.peak_db, row.bandwidth_hz, row.share_above, row.columns, row.unknown
    return (*file, *measured)
