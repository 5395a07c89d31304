"""What became of each recording: a journal while the job runs, a table once it is done."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ulmo.config import Settings, UserError, fingerprint, read_json
from ulmo.formats.header import read_header
from ulmo.formats.publish import output_paths
from ulmo.pipelines.inputs import input_file, portable
from ulmo.pipelines.tokenize_job import How, Maker, Tokenized
from ulmo.pipelines.tokenize_plan import Planned, stream_paths
from ulmo.plain_file import file_hash
from ulmo.preprocessing.atomic import publish, remove_temporaries, sync_folder
from ulmo.preprocessing.audio import MAX_CHANNELS, Verdict
from ulmo.preprocessing.clock import EPOCH, Start
from ulmo.preprocessing.store import RECORDING_FIELDS, write_sealed, write_table

REPORT = "recordings.parquet"
DIGEST = "recordings.json"
"""Beside the table; written once it is there."""
JOURNAL = ".tokenize.jsonl"
MAX_LINE = 1 << 20
AGAIN = "delete it and run the same ulmo-tokenize again"

SCHEMA = pa.schema(
    [
        *RECORDING_FIELDS,  # path: as given, or below the folder that was given
        ("start_utc", pa.timestamp("us", tz="UTC")),
        ("start_source", pa.string()),
        ("columns", pa.int64()),  # of tokens, of one channel
        ("bands", pa.int32()),
        ("samples", pa.int64()),  # at the tokenizer's rate
        ("unknown", pa.int64()),  # ids that are <unk>, in all outputs
        ("outputs", pa.list_(pa.string())),  # below the folder of this table
        ("key", pa.string()),  # hash over the recording, the tokenizer and the settings
    ]
)


Count = Annotated[int, Field(ge=0, le=1 << 53)]
Small = Annotated[int, Field(ge=0, lt=1 << 31)]


class Row(Settings):
    """A row of the table, and a line of the journal; nothing else is believed."""

    path: str
    bytes: Count
    ends_crc32c: Annotated[int, Field(ge=0, lt=1 << 32)]
    status: Literal["ok", "repaired", "partial", "refused"]
    reason: str | None
    detail: str | None
    sample_rate: Small | None
    channels: Annotated[int, Field(ge=0, le=MAX_CHANNELS)] | None
    frames: Count
    frames_missing: Count
    duration_s: Annotated[float, Field(ge=0)]
    start_utc: Annotated[int, Field(ge=0, le=1 << 52)] | None
    start_source: str | None
    columns: Count
    bands: Small
    samples: Count
    unknown: Count
    outputs: list[str]
    key: str


class Digest(Settings):
    """recordings.json."""

    schema_version: Literal[1] = 1
    table: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of recordings.parquet."""


class Job(NamedTuple):
    """A recording to tokenize, and what it is known again by."""

    planned: Planned
    size: int
    ends: int
    key: str


class Report:
    """The rows of an output folder: those of an earlier run that still hold, and new ones.

    A row is appended to the journal as soon as its tokens are on the disk. A killed job finds it
    there; a job that ends turns the journal into a table in the order of the plan. Before any
    output is written again, the rows of what it was go: whatever is killed and whatever settings
    come after, a row that is found is true.
    """

    def __init__(self, folder: Path, maker: Maker, how: How, plan: Sequence[Planned]) -> None:
        self._folder = folder
        self._tokenizer = (maker.fingerprint, maker.unk_quantile)
        self._how = how
        self._jobs = {planned: self._job(planned) for planned in plan}
        table = _known_rows(folder)
        known = {**table, **_journal_rows(folder / JOURNAL)}
        self._rows: dict[Planned, Row] = {}
        self.earlier: dict[Planned, Tokenized] = {}
        """What an earlier run made."""
        for planned, job in self._jobs.items():
            row = known.get(job.key)
            if row is not None and (result := self._result(job, row)):
                self._rows[planned] = row
                self.earlier[planned] = result
        self.left = [planned for planned in plan if planned not in self.earlier]
        """Recordings of which nothing is known, or which were refused."""
        keys = [job.key for job in self._jobs.values()]
        self._is_told = not self.left and list(table) == keys
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not self._is_told:
            with publish(self._folder / JOURNAL) as file:
                file.writelines(map(_line, self._rows.values()))
            for name in (REPORT, DIGEST):
                (self._folder / name).unlink(missing_ok=True)
            sync_folder(self._folder)
            self._journal = self._stack.enter_context((self._folder / JOURNAL).open("ab"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is not None:
                return
            if not self._is_told:
                rows = (self._rows[planned].model_dump() for planned in self._jobs)
                write_table(self._folder / REPORT, rows, SCHEMA)
                digest = Digest(table=file_hash(self._folder / REPORT) or "")
                write_sealed(self._folder / DIGEST, digest)
            (self._folder / JOURNAL).unlink(missing_ok=True)
            remove_temporaries(self._folder, lambda name: name in (REPORT, DIGEST, JOURNAL))

    def add(self, planned: Planned, result: Tokenized) -> None:
        """Note what became of a recording."""
        row = _row(self._jobs[planned], result, self._folder)
        self._rows[planned] = row
        self._journal.write(_line(row))
        self._journal.flush()

    def _job(self, planned: Planned) -> Job:
        file = input_file(planned.source.parent, Path(planned.source.name))
        how = self._how
        settings = [
            *(how.file_format, how.channels, how.clock.model_dump(mode="json")),
            [sorted(how.options.ids) if how.options.ids is not None else None],
            how.options.min_columns,
        ]
        places = [portable(planned.name), portable(planned.target.relative_to(self._folder))]
        facts = [*places, file.size, file.mtime_ns, file.ends]
        key = fingerprint([*self._tokenizer, settings, facts])
        return Job(planned, file.size, file.ends, key)

    def _result(self, job: Job, row: Row) -> Tokenized | None:
        """What a row says, if all that it speaks of is there; of names, only the plan's count."""
        if row.status == "refused" or not row.channels:
            return None
        several = self._how.channels == "each"
        outputs = stream_paths(job.planned.target, range(row.channels) if several else [None])
        if not all(map(self._is_there, outputs)):
            return None
        start = None
        if row.start_utc is not None and row.start_source is not None:
            start = Start(EPOCH + timedelta(microseconds=row.start_utc), row.start_source)
        return Tokenized(
            source=job.planned.source,
            outputs=outputs,
            verdict=Verdict(row.status, row.reason),
            detail=row.detail,
            seconds=row.duration_s,
            columns=row.columns,
            bands=row.bands,
            sample_rate=row.sample_rate,
            channels=row.channels,
            frames=row.frames,
            frames_missing=row.frames_missing,
            samples=row.samples,
            unknown=row.unknown,
            start=start,
            reused=True,
        )

    def _is_there(self, output: Path) -> bool:
        paths = output_paths(output, self._how.file_format)
        try:
            header = read_header(paths.header)
        except (UserError, OSError):
            return False
        made_by = (header.fingerprint, header.unk_quantile)
        return made_by == self._tokenizer and all(path.is_file() for path in paths.files)


def _line(row: Row) -> bytes:
    return row.model_dump_json().encode() + b"\n"


def _row(job: Job, result: Tokenized, folder: Path) -> Row:
    return Row(
        path=portable(job.planned.name),
        bytes=job.size,
        ends_crc32c=job.ends,
        status=result.verdict.status,
        reason=result.verdict.reason,
        detail=result.detail,
        sample_rate=result.sample_rate,
        channels=result.channels,
        frames=result.frames,
        frames_missing=result.frames_missing,
        duration_s=result.seconds,
        start_utc=result.start.microseconds if result.start else None,
        start_source=result.start.source if result.start else None,
        columns=result.columns,
        bands=result.bands,
        samples=result.samples,
        unknown=result.unknown,
        outputs=[portable(path.relative_to(folder)) for path in result.outputs],
        key=job.key,
    )


def read_report(folder: Path) -> list[Row]:
    """The rows of a finished output folder; UserError where its table is damaged."""
    path = folder / REPORT
    digest = read_json(folder / DIGEST, Digest, newest=1, remedy=AGAIN, sealed=True)
    if file_hash(path) != digest.table:
        raise UserError(f"{path} is not the file that {DIGEST} speaks of: {AGAIN}")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({error}): {AGAIN}") from None
    if not table.schema.equals(SCHEMA):
        raise UserError(f"{path} has other columns than this ulmo writes: {AGAIN}")
    place = SCHEMA.get_field_index("start_utc")
    table = table.set_column(place, "start_utc", table["start_utc"].cast(pa.int64()))
    return [Row.read(values) for values in table.to_pylist()]


def _known_rows(folder: Path) -> dict[str, Row]:
    """Rows of an earlier run, by their keys; none of a table that cannot be read."""
    try:
        return {row.key: row for row in read_report(folder)}
    except (OSError, UserError):
        return {}


def _journal_rows(path: Path) -> dict[str, Row]:
    """Rows of a run that was killed; a line that a kill cut short is not among them."""
    found = []
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                with suppress(ValueError, RecursionError):
                    found.append(json.loads(line))
    except OSError:
        pass
    return _by_key(found)


def _by_key(rows: Sequence[Any]) -> dict[str, Row]:
    known = {}
    for values in rows:
        with suppress(UserError, TypeError):
            row = Row.read(values)
            known[row.key] = row
    return known
