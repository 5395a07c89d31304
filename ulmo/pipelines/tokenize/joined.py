"""A timeline beside the table of its recordings, which tells whether it is finished."""

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ulmo.config import NewerError, UserError
from ulmo.formats.header import TokensHeader, read_header
from ulmo.formats.publish import output_paths
from ulmo.pipelines.tokenize.job import How, Maker, Tokenized
from ulmo.pipelines.tokenize.plan import Planned, parts_folder
from ulmo.pipelines.tokenize.report import Jobs, Report, told
from ulmo.pipelines.tokenize.rows import (
    REPORT,
    Made,
    OtherSettingsError,
    Row,
    digest_path,
    publish_table,
    read_table,
    remove_table,
)
from ulmo.pipelines.tokenize.timeline_file import Timeline, write_timeline
from ulmo.storage.atomic import TEMPORARY, is_left, remove, remove_temporaries, short_name
from ulmo.storage.lock import lock_path

MAY_PASS = frozenset({"unreadable", "changed"})
"""Reasons for which a recording may be refused today, and read tomorrow as it is."""


class Joined:
    """One timeline: what an earlier run made of it, or what is to be made.

    Nothing is written before `write`; UserError where it was made with other settings, or by a
    newer ulmo.
    """

    def __init__(self, out: Path, maker: Maker, how: How, jobs: Jobs) -> None:
        self._out = out
        self._maker = maker
        self._how = how
        self._jobs = jobs
        self._outputs = output_paths(out, how.file_format)
        self._made = Made.of(maker, how)
        self.earlier: dict[Planned, Tokenized] = {}
        """What an earlier run made, if it is finished."""
        self.timeline: Timeline | None = None
        rows = read_table(self.table, out, self._made)
        header = self._header()
        if header is None or list(rows) != [job.key for job in jobs.values()]:
            return
        if any(row.reason in MAY_PASS and row.bytes for row in rows.values()):
            return
        self.timeline = _timeline(out, header)
        for planned, row in zip(jobs, rows.values(), strict=True):
            outputs = [] if row.status == "refused" else [out]
            self.earlier[planned] = told(planned.source, outputs, row)

    @property
    def table(self) -> Path:
        """x.tokens.npy.recordings.parquet of x.tokens.npy."""
        first = self._outputs.files[0]
        return first.with_name(f"{first.name}.{REPORT}")

    @property
    def is_told(self) -> bool:
        """True where the timeline of these recordings is there."""
        return self.timeline is not None

    @property
    def is_finished(self) -> bool:
        """True where there is nothing of ours besides: there is nothing to do."""
        return self.is_told and not self._leftovers()

    def parts(self, alone: How) -> Report:
        """What is known of the recordings by themselves; parts of other settings are removed."""
        folder = parts_folder(self._out)
        try:
            return Report(folder, self._maker, alone, self._jobs)
        except OtherSettingsError:
            shutil.rmtree(folder)
            return Report(folder, self._maker, alone, self._jobs)

    def write(self, results: Sequence[Tokenized], rows: Sequence[Row]) -> Timeline | None:
        """Join the parts, and write the table; None where all were refused: an older one goes."""
        good = [result for result in results if result.outputs]
        remove_table(self.table)
        if not good:
            for path in (self._outputs.header, *self._outputs.files):
                remove(path)
            return None
        timeline = write_timeline(good, self._out, self._how.file_format, self._how.options)
        told_rows = (
            row.model_copy(update={"outputs": [self._out.name] if row.outputs else []})
            for row in rows
        )
        publish_table(self.table, told_rows, self._made)
        return timeline

    def tidy(self) -> None:
        """Remove what is of no use once all is there, and what a kill may have left."""
        shutil.rmtree(parts_folder(self._out), ignore_errors=True)
        remove_temporaries(self._out.parent, self._is_ours)

    def _is_ours(self, name: str) -> bool:
        ours = (*self._outputs.files, self._outputs.header, self.table, digest_path(self.table))
        return name in {short_name(path.name) for path in ours}

    def _leftovers(self) -> bool:
        beside = ((path, TEMPORARY.fullmatch(path.name)) for path in self._out.parent.iterdir())
        ours = (path for path, match in beside if match and self._is_ours(match["name"]))
        hidden = (parts_folder(self._out), lock_path(self._out))
        return any(map(is_left, ours)) or any(path.exists() for path in hidden)

    def _header(self) -> TokensHeader | None:
        """The header of a timeline whose files are all there; UserError for a newer one."""
        try:
            header = read_header(self._outputs.header)
        except NewerError:
            raise
        except (UserError, OSError):
            return None
        made_by = (header.fingerprint, header.unk_quantile)
        if made_by != (self._made.tokenizer, self._made.unk_quantile):
            raise UserError(
                f"{self._out} was made with another tokenizer ({header.fingerprint[:8]} there, "
                f"{self._made.tokenizer[:8]} here): choose another name, or delete it"
            )
        return header if all(path.is_file() for path in self._outputs.files) else None


def _timeline(out: Path, header: TokensHeader) -> Timeline:
    """What a finished timeline's header says of it."""
    ends = [0, *(segment.column + segment.columns for segment in header.segments)]
    gaps = [segment.column - end for segment, end in zip(header.segments, ends, strict=False)]
    return Timeline(
        output=out,
        recordings=len(header.segments),
        gaps=sum(gap > 0 for gap in gaps),
        gap_seconds=float(sum(gaps) * Fraction(header.hop, header.sample_rate)),
        columns=header.columns,
        bands=header.bands,
    )
