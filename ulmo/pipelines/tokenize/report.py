"""What became of each recording, and what of it need not be done again."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats.header import read_header
from ulmo.formats.outputs import stream_paths
from ulmo.formats.publish import output_paths
from ulmo.jobs.inputs import input_file, portable
from ulmo.pipelines.tokenize.job import How, Maker, Tokenized
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.pipelines.tokenize.rows import (
    JOURNAL,
    REPORT,
    Made,
    Row,
    digest_path,
    line_of,
    publish_journal,
    publish_table,
    read_journal,
    read_table,
    remove_table,
)
from ulmo.preprocessing.audio import Verdict
from ulmo.preprocessing.clock import EPOCH, Start
from ulmo.storage.atomic import is_temporary, remove_temporaries
from ulmo.storage.lock import LOCK
from ulmo.storage.sealed import fingerprint


class Job(NamedTuple):
    """A recording to tokenize, and what it is known again by."""

    planned: Planned
    size: int
    ends: int
    key: str


Jobs = Mapping[Planned, Job]


def identify(folder: Path, maker: Maker, how: How, plan: Sequence[Planned]) -> Jobs:
    """The recordings of a plan, in its order, as they are now."""
    settings = [
        *(how.file_format, how.channels, how.clock.model_dump(mode="json")),
        [sorted(how.options.ids) if how.options.ids is not None else None],
        how.options.min_columns,
    ]
    made_by = [maker.fingerprint, maker.unk_quantile, settings]
    jobs = {}
    for planned in plan:
        file = input_file(planned.source.parent, Path(planned.source.name))
        places = [portable(planned.name), portable(planned.target.relative_to(folder))]
        key = fingerprint([*made_by, [*places, file.size, file.mtime_ns, file.ends]])
        jobs[planned] = Job(planned, file.size, file.ends, key)
    return jobs


class Report:
    """The rows of an output folder: those of an earlier run that still hold, and new ones.

    A row is appended to the journal as soon as its tokens are on the disk. A killed job finds it
    there; a job that ends turns the journal into a table in the order of the plan. Before any
    output is written again, the rows of what it was go: whatever is killed, a row that is found is
    true. Nothing is written before the block begins; UserError for an output that was made with
    other settings, or by a newer ulmo.
    """

    def __init__(self, folder: Path, maker: Maker, how: How, jobs: Jobs) -> None:
        self._folder = folder
        self._made = Made.of(maker, how)
        self._how = how
        self._jobs = jobs
        table = read_table(folder / REPORT, folder, self._made)
        known = {**table, **read_journal(folder / JOURNAL, folder, self._made)}
        self._rows: dict[Planned, Row] = {}
        self.earlier: dict[Planned, Tokenized] = {}
        """What an earlier run made."""
        for planned, job in jobs.items():
            row = known.get(job.key)
            if row is not None and (result := self._result(job, row)):
                self._rows[planned] = row
                self.earlier[planned] = result
        self.left = [planned for planned in jobs if planned not in self.earlier]
        """Recordings of which nothing is known, or which were refused."""
        self._is_told = not self.left and list(table) == [job.key for job in jobs.values()]
        self._stack = ExitStack()

    @property
    def is_finished(self) -> bool:
        """True where all is there, and nothing else of ours: there is nothing to write."""
        return self._is_told and not any(
            is_temporary(path) or path.name in (LOCK, JOURNAL)
            for folder in {planned.target.parent for planned in self._jobs} | {self._folder}
            for path in folder.iterdir()
        )

    @property
    def rows(self) -> list[Row]:
        """All of them, in the order of the plan, once all are added."""
        return [self._rows[planned] for planned in self._jobs]

    def __enter__(self) -> Self:
        if not self._is_told:
            publish_journal(self._folder / JOURNAL, self._rows.values(), self._made)
            remove_table(self._folder / REPORT)
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
                publish_table(self._folder / REPORT, self.rows, self._made)
            (self._folder / JOURNAL).unlink(missing_ok=True)
            names = (REPORT, digest_path(Path(REPORT)).name, JOURNAL)
            remove_temporaries(self._folder, lambda name: name in names)

    def add(self, planned: Planned, result: Tokenized) -> None:
        """Note what became of a recording."""
        row = _row(self._jobs[planned], result, self._folder)
        self._rows[planned] = row
        self._journal.write(line_of(row))
        self._journal.flush()

    def _result(self, job: Job, row: Row) -> Tokenized | None:
        """What a row says, if all that it speaks of is there; of names, only the plan's count."""
        if row.status == "refused" or not row.channels:
            return None
        several = self._how.channels == "each"
        outputs = stream_paths(job.planned.target, range(row.channels) if several else [None])
        if not all(self._is_there(output, row) for output in outputs):
            return None
        return told(job.planned.source, outputs, row)

    def _is_there(self, output: Path, row: Row) -> bool:
        """True where an output's files are there, and its header is of the row's recording."""
        paths = output_paths(output, self._how.file_format)
        try:
            header = read_header(paths.header)
        except (UserError, OSError):
            return False
        found = (header.fingerprint, header.unk_quantile, header.recording, header.columns)
        expected = (self._made.tokenizer, self._made.unk_quantile, row.path, row.columns)
        return found == expected and all(path.is_file() for path in paths.files)


def told(source: Path, outputs: list[Path], row: Row) -> Tokenized:
    """What a row says of a recording."""
    start = None
    if row.start_utc is not None and row.start_source is not None:
        start = Start(EPOCH + timedelta(microseconds=row.start_utc), row.start_source)
    return Tokenized(
        source=source,
        outputs=outputs,
        verdict=Verdict(row.status, row.reason),
        detail=row.detail,
        seconds=row.duration_s,
        columns=row.columns,
        bands=row.bands,
        sample_rate=row.sample_rate,
        channels=row.channels,
        frames=row.frames,
        frames_declared=row.frames_declared,
        frames_missing=row.frames_missing,
        flags=tuple(row.flags),
        samples=row.samples,
        unknown=row.unknown,
        start=start,
        reused=True,
        size=row.bytes,
        ends=row.ends_crc32c,
    )


def _row(job: Job, result: Tokenized, folder: Path) -> Row:
    return Row(
        path=portable(job.planned.name),
        bytes=job.size if result.size is None else result.size,
        ends_crc32c=job.ends if result.ends is None else result.ends,
        status=result.verdict.status,
        reason=result.verdict.reason,
        detail=result.detail,
        sample_rate=result.sample_rate,
        channels=result.channels,
        frames=result.frames,
        frames_declared=result.frames_declared,
        frames_missing=result.frames_missing,
        duration_s=result.seconds,
        flags=list(result.flags),
        start_utc=result.start.microseconds if result.start else None,
        start_source=result.start.source if result.start else None,
        columns=result.columns,
        bands=result.bands,
        samples=result.samples,
        unknown=result.unknown,
        outputs=[portable(path.relative_to(folder)) for path in result.outputs],
        key=job.key,
    )
