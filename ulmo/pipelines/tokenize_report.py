"""What became of each recording: a journal while the job runs, a table once it is done."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ulmo.config import Settings, UserError, fingerprint
from ulmo.pipelines.inputs import input_file, portable
from ulmo.pipelines.tokenize_job import How, Tokenized
from ulmo.pipelines.tokenize_plan import Planned
from ulmo.preprocessing.audio import Verdict
from ulmo.preprocessing.clock import EPOCH, Start
from ulmo.preprocessing.store import write_table

REPORT = "recordings.parquet"
JOURNAL = ".tokenize.jsonl"
MAX_LINE = 1 << 20

SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as given, or below the folder that was given
        ("bytes", pa.int64()),
        ("ends_crc32c", pa.uint32()),  # CRC-32C of its first and last 4096 bytes
        ("status", pa.string()),  # ok, repaired, partial, refused
        ("reason", pa.string()),  # a stable code; null when ok
        ("detail", pa.string()),  # the same for people
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("frames", pa.int64()),  # read
        ("frames_missing", pa.int64()),  # declared, and not there
        ("duration_s", pa.float64()),
        ("start_utc", pa.timestamp("us", tz="UTC")),
        ("start_source", pa.string()),
        ("columns", pa.int64()),  # of tokens, of one channel
        ("bands", pa.int32()),
        ("samples", pa.int64()),  # at the tokenizer's rate
        ("unknown", pa.int64()),  # ids that are <unk>
        ("outputs", pa.list_(pa.string())),  # below the folder of this table
        ("key", pa.string()),  # hash over the recording, the tokenizer and the settings
    ]
)


class Row(Settings):
    """A row of the table, and a line of the journal; nothing else is believed."""

    path: str
    bytes: int
    ends_crc32c: int
    status: Literal["ok", "repaired", "partial", "refused"]
    reason: str | None
    detail: str | None
    sample_rate: int | None
    channels: int | None
    frames: int
    frames_missing: int
    duration_s: float
    start_utc: int | None
    start_source: str | None
    columns: int
    bands: int
    samples: int
    unknown: int
    outputs: list[str]
    key: str


class Job(NamedTuple):
    """A recording to tokenize, and what it is known again by."""

    planned: Planned
    size: int
    ends: int
    key: str


def make_job(planned: Planned, tokenizer: str, how: How) -> Job:
    """`tokenizer` is its fingerprint."""
    file = input_file(planned.source.parent, Path(planned.source.name))
    settings = [
        *(how.file_format, how.channels, how.clock.model_dump(mode="json")),
        [sorted(how.options.ids) if how.options.ids is not None else None],
        how.options.min_columns,
    ]
    facts = [portable(planned.name), planned.target.name, file.size, file.mtime_ns, file.ends]
    return Job(planned, file.size, file.ends, fingerprint([tokenizer, settings, facts]))


class Report:
    """The rows of an output folder: those of an earlier run, and those that come in.

    A row is appended to the journal as soon as its tokens are on the disk. A killed job finds it
    there; a job that ends turns the journal into a table in the order of the plan.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = {**_table_rows(folder / REPORT), **_journal_rows(folder / JOURNAL)}
        self._rows: dict[str, Row] = {}

    def __enter__(self) -> Self:
        self._journal = (self._folder / JOURNAL).open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def done(self, job: Job) -> Tokenized | None:
        """What became of a recording in an earlier run, if all of it is still there."""
        row = self._known.get(job.key)
        if row is None or row.status == "refused":
            return None
        result = _result(job, row)
        if not all(path.is_file() for path in result.outputs):
            return None
        self._rows[job.key] = row
        return result

    def add(self, job: Job, result: Tokenized) -> None:
        """Note what became of a recording."""
        row = _row(job, result, self._folder)
        self._rows[job.key] = row
        self._journal.write(row.model_dump_json() + "\n")
        self._journal.flush()

    def close(self, jobs: Sequence[Job]) -> None:
        """Publish the table."""
        write_table(
            self._folder / REPORT, (self._rows[job.key].model_dump() for job in jobs), SCHEMA
        )
        (self._folder / JOURNAL).unlink(missing_ok=True)


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


def _result(job: Job, row: Row) -> Tokenized:
    """What a row says; of its outputs the names alone are taken, the folder is the plan's."""
    start = None
    if row.start_utc is not None and row.start_source is not None:
        start = Start(EPOCH + timedelta(microseconds=row.start_utc), row.start_source)
    return Tokenized(
        source=job.planned.source,
        outputs=[job.planned.target.with_name(Path(name).name) for name in row.outputs],
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


def _table_rows(path: Path) -> dict[str, Row]:
    """Rows of an earlier run, by their keys; none of a table that cannot be read."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return {}
    if not table.schema.equals(SCHEMA):
        return {}
    place = SCHEMA.get_field_index("start_utc")
    table = table.set_column(place, "start_utc", table["start_utc"].cast(pa.int64()))
    return _by_key(table.to_pylist())


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
