"""What a job has done, by key: a sealed manifest, a journal while it runs, a table at the end.

    prep.json             settings, whether the job is complete, the SHA-256 of its tables
    .prep.jsonl           a line for each key that is done; gone once the job is complete
    recordings.parquet    the rows of all keys, in the order of the job

Write order, so that a kill at any moment leaves a state that is true: journal, manifest, outputs;
at the end table, manifest, and the journal goes. A row is only believed if its key, a hash of
everything that decides about it, is the one asked for.
"""

from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from ulmo.config import Settings, UserError, WholeFileError
from ulmo.config.errors import complaint
from ulmo.storage.atomic import check_places, is_of_one_file, owner_of, remove, short_name
from ulmo.storage.differences import differences
from ulmo.storage.faults import Fault, fault_of, reading, reading_error, remove_any
from ulmo.storage.journal import Entry, Journal, progress
from ulmo.storage.manifest import LedgerFiles, LedgerManifest, read_manifest_file
from ulmo.storage.names import portable
from ulmo.storage.packed import Index
from ulmo.storage.parquet_guard import GroupedTable
from ulmo.storage.plain_file import lexists
from ulmo.storage.sealed import write_sealed
from ulmo.storage.tables import (
    BATCH_ROWS,
    publish_table,
    python_rows,
    read_recorded,
    read_table,
    schema_of,
)

# Most rows that a table has for a byte of its size: measured, 1 / 38, as each row has a key, which
# does not compress.
_ROWS_PER_BYTE = 1 / 8
_BY_GROUPS: dict[str, Any] = {"read": GroupedTable, "rows_per_byte": _ROWS_PER_BYTE}
_COUNTED = 2 * BATCH_ROWS  # above the number of rows of any key of ours; more are not counted

M = TypeVar("M", bound=LedgerManifest)
R = TypeVar("R", bound=Settings)  # with a field `key`: a hash of all that decides about a row


class Ledger(Generic[M, R]):
    """The record of an output's job, and what the running job adds to it.

    `remedy` says what to do about a damaged table, `anew` about a damaged or outdated manifest.
    The constructor reads the manifest and writes nothing. Raises UserError if the manifest is
    damaged or cannot be read, and NewerError if a newer ulmo wrote it.
    """

    def __init__(
        self, files: LedgerFiles, manifest: type[M], row: type[R], *, remedy: str, anew: str
    ) -> None:
        self.files = files
        self._row_type = row
        self._remedy = remedy
        self._table: GroupedTable | None = None
        # First row of each key times _COUNTED, plus the number of its rows.
        self._in_table = Index()
        self._block: tuple[int, list[R]] = (0, [])  # rows of the table that were converted
        self._journal = Journal(files.journal, row)
        self._written: M | None = None  # the manifest on the disk
        with reading(files.manifest):
            if lexists(files.manifest):
                self._written = read_manifest_file(files.manifest, manifest, anew)
        self._manifest = self._written

    @property
    def is_new(self) -> bool:
        """Whether there is no manifest on the disk."""
        return self._written is None

    @property
    def is_complete(self) -> bool:
        """Whether a job has ended here, and none has begun since."""
        return self._manifest is not None and self._manifest.complete

    def progress(self) -> str:
        """How much an unfinished job has done: "7 of 24 recordings"."""
        return progress(self.files.journal)

    @property
    def manifest(self) -> M:
        """The manifest there is, or the one to write."""
        assert self._manifest is not None, "call resume() first"
        return self._manifest

    def resume(self, wanted: M, output: Path) -> Self:
        """Find what an earlier job with the settings of `wanted` has done; returns the ledger.

        Raises UserError if `output` was made with other settings or by another command, finished
        or not, or if its table cannot be read or, where there is no manifest, is not ulmo's.
        """
        refuse_folders(self.files.manifest, self.files.table)
        for command, other in self.files.of_others.items():
            with reading(other):
                if lexists(other):
                    raise UserError(f"{output} is an output of ulmo-{command}: choose another one")
        if self._manifest is None:
            self._manifest = wanted
        elif changes := differences(self._manifest.deciding(), wanted.deciding()):
            raise UserError(
                f"{output} was made with other settings ({changes}): "
                "choose another output, or delete that one"
            )
        if self.is_new and lexists(self.files.table):
            move = "move it elsewhere, or choose another output"
            schema = schema_of(self._row_type)
            read_table(self.files.table, schema, remedy=move, **_BY_GROUPS)
        try:
            self._table = self.read_table()
        except UserError as error:
            if reading_error(error):
                raise
        else:
            for number, key in enumerate(self._table.texts("key")):
                found = self._in_table.get(key)
                if found is None:
                    self._in_table[key] = number * _COUNTED + 1
                elif found % _COUNTED < _COUNTED - 1:
                    self._in_table[key] = found + 1
        self._journal.load()
        return self

    def entry(self, key: str) -> Entry[R]:
        """What add() noted: no rows if the key is not done, and no hash if the job has ended."""
        if (entry := self._journal.entry(key)) is not None:
            return entry
        found = self._in_table.get(key)
        return Entry(key, [] if found is None else self._in_table_at(found))

    def done(self, key: str) -> list[R]:
        """The rows of a key; none if it is not done."""
        return list(self.entry(key).rows)

    def others(self, keys: Container[str]) -> Iterator[R]:
        """The rows of all other keys: of what has changed, or is gone; the latest last."""
        for found in self._in_table.numbers:
            rows = self._in_table_at(found)
            if rows and (key := vars(rows[0])["key"]) not in keys:
                yield from self.done(key)
        for entry in self._journal:
            if entry.key not in keys and entry.key not in self._in_table:
                yield from entry.rows

    def has(self, key: str) -> bool:
        """Whether there are rows of a key, in the table or in the journal."""
        return key in self._journal or key in self._in_table

    def has_exactly(self, keys: Iterable[str]) -> bool:
        """Whether the table is complete and has the rows of these keys, in this order."""
        return self._table is not None and self._in_table.has_exactly(keys)

    def is_finished(self, keys: Iterable[str]) -> bool:
        """The same, and whether no job that was killed left anything here."""
        return self.has_exactly(keys) and not self._left_overs()

    @contextmanager
    def writing(
        self,
        keep: Iterable[str],
        expected: int | None = None,
        more: Iterable[Entry[R]] = (),
        others: Collection[str] = (),
    ) -> Iterator[None]:
        """Begin, with the rows of `keep` as done; `add` and `finish` are for inside this block.

        `expected` is the number of rows that there will be, for `progress`; `more` are other lines
        to begin with, which are made one by one; `others` are keys whose rows the job needs until
        its end, after a kill too, and which are no part of what it does: they have no `file_hash`.
        """
        refuse_folders(self.files.journal)
        needed = (Entry(key, self.done(key)) for key in others)
        kept = map(self.entry, keep)
        count = sum(len(self.done(key)) for key in others)
        self._journal.begin(chain(needed, kept, more), expected, others=count)
        self._table, self._in_table, self._block = None, Index(), (0, [])
        self.update(complete=False, hashes={})
        remove(self.files.table)
        try:
            yield
        finally:
            self._journal.close()

    def add(self, key: str, rows: Sequence[R], file_hash: str = "") -> None:
        """Note that a key is done, once all of its outputs are on the disk.

        `file_hash` is the SHA-256 of the file of the key that the job reads again at its end, if
        it has one: a job that goes on believes that file only if it has this hash.
        """
        self._journal.add(key, rows, file_hash)

    def replace(self, manifest: M) -> None:
        """Begin another job on the same output, such as one with more recordings."""
        self._manifest = manifest

    def update(self, **values: Any) -> None:
        """Change the manifest, and write it unless the disk has it already."""
        self._manifest = self.manifest.model_copy(update=values)
        if self._manifest != self._written:
            write_sealed(self.files.manifest, self._manifest)
            self._written = self._manifest

    def finish(self, rows: Iterable[R], **values: Any) -> None:
        """Write the table, with these rows in their order, and complete the manifest."""
        with publish_table(self.files.table, schema_of(self._row_type)) as table:
            for row in rows:
                table.add(row.model_dump())
        hashes = {**values.pop("hashes", {}), _name_of(self.files.table): table.hash}
        self.update(**values, hashes=hashes, complete=True)
        self._journal.close()
        self._journal = Journal(self.files.journal, self._row_type)
        self.tidy()

    def tidy(self) -> None:
        """Remove the journal of a complete output, and what a killed job left of the files."""
        for path in self._left_overs():
            remove_any(path)

    def remove(self) -> None:
        """Remove the three files: the output is about to go."""
        for path in (self.files.table, self.files.journal, self.files.manifest):
            remove(path)
        self._written = None

    def read_table(self) -> GroupedTable:
        """The table of a complete output. Raises UserError if it is missing or damaged."""
        table = self.files.table
        if not self.manifest.complete:
            raise UserError(f"{table.parent} is unfinished: run the same command again")
        recorded = self.manifest.hashes.get(_name_of(table))
        found: GroupedTable = read_recorded(
            table, schema_of(self._row_type), recorded, remedy=self._remedy, **_BY_GROUPS
        )
        return found

    def rows(self) -> Iterator[R]:
        """The rows of a complete output, while few of them are in memory.

        The iterator raises UserError if the table is missing or damaged.
        """
        table, first = self.read_table(), 0
        while first < len(table):
            end = min(first + BATCH_ROWS, table.end_of_group(first))
            yield from self._rows_of(table.slice(first, end - first))
            first = end

    def check_rows(self) -> None:
        """Read all rows. Raises UserError if the table is missing or damaged."""
        deque(self.rows(), maxlen=0)

    def check(self) -> list[Fault]:
        """What is wrong with the three files; an output that has them is described by them."""
        manifest, table, journal = map(_name_of, self.files)
        if not self.manifest.complete:
            return [Fault(manifest, "unfinished", "the job has not ended", self._remedy)]
        faults = []
        if lexists(self.files.journal):
            faults = [Fault(journal, "left_over", "the job has ended without it", "delete it")]
        if not lexists(self.files.table):
            return [*faults, Fault(table, "missing", f"{manifest} names it", self._remedy)]
        try:
            self.check_rows()
        except UserError as error:
            return [*faults, fault_of(table, error, self._remedy)]
        return faults

    def _in_table_at(self, found: int) -> list[R]:
        """The rows of a key by its number in the index."""
        first, count = divmod(found, _COUNTED)
        if self._table is not None and count <= BATCH_ROWS:
            with suppress(UserError):  # sealed, and no rows of ours
                return self._rows_at(self._table, first, count)
        return []

    def _rows_at(self, table: GroupedTable, first: int, count: int) -> list[R]:
        """Rows of the table. Those read in order are converted in ever larger blocks."""
        start, block = self._block
        if not start <= first <= first + count <= start + len(block):
            in_order = 0 <= first - start - len(block) < BATCH_ROWS
            size = min(2 * len(block), BATCH_ROWS) if in_order else 1
            size = max(min(size, table.end_of_group(first) - first), count)
            start, block = self._block = (first, self._rows_of(table.slice(first, size)))
        return block[first - start : first - start + count]

    def _rows_of(self, table: pa.Table) -> list[R]:
        try:
            return [self._row_type.model_validate(row) for row in python_rows(table)]
        except ValidationError as error:
            state = "is as it was written, but has rows of another ulmo"
            raise WholeFileError(
                f"{self.files.table} {state} ({complaint(error)}): {self._remedy}"
            ) from None

    def _left_overs(self) -> list[Path]:
        """The journal, and the halves of the three files that killed jobs left."""
        names = {short_name(each.name) for each in self.files}
        return [
            path
            for path in self.files.manifest.parent.iterdir()
            if path == self.files.journal or (owner_of(path.name) in names and not path.is_dir())
        ]


def _name_of(path: Path) -> str:
    """The name of a file as the manifest has it."""
    return portable(Path(path.name))


def refuse_folders(*paths: Path) -> None:
    """Raise UserError if a folder has the place of a file."""
    try:
        check_places(paths)
    except OSError as error:
        if not is_of_one_file(error):
            raise
        move = "move it elsewhere, or choose another output"
        raise UserError(f"{error.filename} is in the way ({error.strerror}): {move}") from None
