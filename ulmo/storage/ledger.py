"""What a job has done, by key: a sealed manifest, a journal while it runs, a table at the end.

    prep.json             settings, whether the job is complete, the SHA-256 of its tables
    .prep.jsonl           a line for each key that is done; gone once the job is complete
    recordings.parquet    the rows of all keys, in the order of the job

Write order, so that a kill at any moment leaves a state that is true: journal, manifest, outputs;
at the end table, manifest, and the journal goes. A row is only believed if its key, a hash of
everything that decides about it, is the one asked for.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import pyarrow as pa
from pydantic import ValidationError

from ulmo.config import Settings, UserError
from ulmo.config.errors import complaint
from ulmo.storage.atomic import TEMPORARY, publish, remove, short_name
from ulmo.storage.differences import differences
from ulmo.storage.faults import Fault, fault_of
from ulmo.storage.manifest import LedgerFiles, LedgerManifest, read_manifest_file
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import canonical_json, write_sealed
from ulmo.storage.tables import publish_table, python_rows, read_table, schema_of

MAX_LINE = 16 << 20  # bytes of a line of the journal

M = TypeVar("M", bound=LedgerManifest)
R = TypeVar("R", bound=Settings)  # with a field `key`: a hash of all that decides about a row


class OtherSettingsError(UserError):
    """An output was made with other settings than those given now."""


class Ledger(Generic[M, R]):
    """What an output says of its job, and what the job adds to it.

    `remedy` says what to do about a damaged file. The constructor reads the manifest and writes
    nothing. Raises UserError if the manifest is damaged, NewerError if a newer ulmo wrote it, and
    OSError if it cannot be read.
    """

    def __init__(self, files: LedgerFiles, manifest: type[M], row: type[R], *, remedy: str) -> None:
        self.files = files
        self._manifest_type = manifest
        self._row_type = row
        self._remedy = remedy
        self._table: pa.Table | None = None
        self._in_table: dict[str, tuple[int, int]] = {}  # first row and number of rows, by key
        self._in_journal: dict[str, int] = {}  # where a line begins, by key
        self._appended: BinaryIO | None = None
        self._written: M | None = None  # the manifest on the disk
        if os.path.lexists(files.manifest):
            self._written = read_manifest_file(files.manifest, manifest, remedy)
        self._manifest = self._written

    @property
    def is_new(self) -> bool:
        """Whether there is no manifest on the disk."""
        return self._written is None

    @property
    def manifest(self) -> M:
        """The manifest there is, or the one to write."""
        assert self._manifest is not None, "call resume() first"
        return self._manifest

    def resume(self, wanted: M, output: Path) -> None:
        """Find what an earlier job with the settings of `wanted` has done.

        Raises OtherSettingsError if `output` was made with other settings.
        """
        if self._manifest is None:
            self._manifest = wanted
        elif changes := differences(self._manifest.deciding(), wanted.deciding()):
            raise OtherSettingsError(
                f"{output} was made with other settings ({changes}): "
                "choose another output, or delete that one"
            )
        with suppress(UserError):
            self._table = self.read_table()
            for number, key in enumerate(self._table["key"].to_pylist()):
                first, count = self._in_table.get(key, (number, 0))
                self._in_table[key] = (first, count + 1)
        self._in_journal = dict(self._journal_lines())

    def done(self, key: str) -> list[R]:
        """The rows of a key; none if it is not done."""
        if (place := self._in_journal.get(key)) is not None:
            return self._line(place)[1]
        if self._table is not None and key in self._in_table:
            return self._rows_of(self._table.slice(*self._in_table[key]))
        return []

    def is_finished(self, keys: Iterable[str]) -> bool:
        """Whether the table is complete and has the rows of these keys, in this order.

        False as well if a job that was killed left anything here.
        """
        return (
            self._table is not None
            and list(self._in_table) == list(keys)
            and not self.files.journal.exists()
            and not any(map(self._is_left_over, self.files.manifest.parent.iterdir()))
        )

    @contextmanager
    def writing(self, keep: Iterable[str]) -> Iterator[None]:
        """Begin, with the rows of `keep` as done; `add` and `finish` are for inside this block."""
        places = {}
        with publish(self.files.journal) as file:
            for key in keep:
                places[key] = file.tell()
                file.write(_packed(key, self.done(key)))
        self._in_journal, self._in_table, self._table = places, {}, None
        self.update(complete=False, hashes={})
        remove(self.files.table)
        self._appended = self.files.journal.open("ab")
        try:
            yield
        finally:
            self._close()

    def add(self, key: str, rows: Sequence[R]) -> None:
        """Note that a key is done, once all of its outputs are on the disk."""
        assert self._appended is not None, "add() is for inside writing()"
        self._in_journal[key] = self._appended.tell()
        self._appended.write(_packed(key, rows))
        self._appended.flush()

    def replace(self, manifest: M) -> None:
        """Begin another job on the same output, such as one with more recordings."""
        self._manifest = manifest

    def update(self, **values: Any) -> None:
        """Change the manifest, and write it unless the disk has it already."""
        self._manifest = self.manifest.model_copy(update=values)
        if self._manifest != self._written:
            write_sealed(self.files.manifest, self._manifest)
            self._written = self._manifest

    def finish(self, keys: Iterable[str], **values: Any) -> None:
        """Write the table, with the rows of `keys` in their order, and complete the manifest."""
        with publish_table(self.files.table, schema_of(self._row_type)) as table:
            for key in keys:
                for row in self.done(key):
                    table.add(row.model_dump())
        hashes = {**values.pop("hashes", {}), self.files.table.name: file_hash(self.files.table)}
        self.update(**values, hashes=hashes, complete=True)
        self._close()
        remove(self.files.journal)
        self._in_journal = {}
        for path in filter(self._is_left_over, self.files.manifest.parent.iterdir()):
            path.unlink()

    def remove(self) -> None:
        """Remove the three files: the output is about to go."""
        for path in (self.files.table, self.files.journal, self.files.manifest):
            remove(path)

    def read_table(self) -> pa.Table:
        """The table of a complete output. Raises UserError if it is missing or damaged."""
        table = self.files.table
        if not self.manifest.complete:
            raise UserError(f"{table.parent} is unfinished: run the same command again")
        if file_hash(table) != self.manifest.hashes.get(table.name):
            what = "is damaged" if os.path.lexists(table) else "is missing"
            raise UserError(f"{table} {what}: {self._remedy}")
        return read_table(table, schema_of(self._row_type), remedy=self._remedy)

    def rows(self) -> list[R]:
        """The rows of a complete output. Raises UserError if its table is missing or damaged."""
        return self._rows_of(self.read_table())

    def check(self) -> list[Fault]:
        """What is wrong with the three files; an output that has them is described by them."""
        manifest, table, journal = (path.name for path in self.files)
        if not self.manifest.complete:
            return [Fault(manifest, "unfinished", "the job has not ended", self._remedy)]
        faults = []
        if self.files.journal.exists():
            faults = [Fault(journal, "left_over", "the job has ended without it", "delete it")]
        if not os.path.lexists(self.files.table):
            return [*faults, Fault(table, "missing", f"{manifest} names it", self._remedy)]
        try:
            self.read_table()
        except (UserError, OSError) as error:
            return [*faults, fault_of(table, error, self._remedy)]
        return faults

    def _close(self) -> None:
        if self._appended is not None:
            self._appended.close()
            self._appended = None

    def _rows_of(self, table: pa.Table) -> list[R]:
        try:
            return [self._row_type.model_validate(row) for row in python_rows(table)]
        except ValidationError as error:
            raise UserError(
                f"{self.files.table} is damaged ({complaint(error)}): {self._remedy}"
            ) from None

    def _is_left_over(self, path: Path) -> bool:
        """Whether a killed job left this half of one of the three files."""
        match = TEMPORARY.fullmatch(path.name)
        return match is not None and match["name"] in {short_name(each.name) for each in self.files}

    def _journal_lines(self) -> Iterator[tuple[str, int]]:
        """The key of each line, and where the line begins; a line cut short is left out."""
        with suppress(FileNotFoundError), self.files.journal.open("rb") as file:
            place = 0
            while line := file.readline(MAX_LINE):
                with suppress(ValueError, KeyError, TypeError):
                    yield self._parsed(line)[0], place
                place = file.tell()

    def _line(self, place: int) -> tuple[str, list[R]]:
        with self.files.journal.open("rb") as file:
            file.seek(place)
            return self._parsed(file.readline(MAX_LINE))

    def _parsed(self, line: bytes) -> tuple[str, list[R]]:
        """Raises ValueError, KeyError or TypeError for what is no line of ours."""
        if not line.endswith(b"\n"):
            raise ValueError("the line is cut short")
        entry = json.loads(line)
        rows = [self._row_type.model_validate(row) for row in entry["rows"]]
        if any(row.model_dump()["key"] != entry["key"] for row in rows):
            raise ValueError("a row has another key than its line")
        return str(entry["key"]), rows


def _packed(key: str, rows: Sequence[Settings]) -> bytes:
    return canonical_json({"key": key, "rows": [row.model_dump() for row in rows]}).encode() + b"\n"
