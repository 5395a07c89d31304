"""What `ulmo tokenize` and `ulmo convert` print."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from ulmo.config import printable
from ulmo.jobs.outcome import FlagCount, Tokenized, count_flags
from ulmo.pipelines.convert.convert import Converted
from ulmo.pipelines.tokenize.job import Result
from ulmo.pipelines.tokenize.timeline_file import Timeline
from ulmo.preprocessing.times.names import unread_names
from ulmo.reports.progress import Progress, counted, left_out_lines, named_lines
from ulmo.storage.names import path_text
from ulmo.storage.packed import Packed


class TokenizeProgress(Progress):
    """A bar over the bytes of input, with the speed in times real time."""

    doing: ClassVar[str] = "tokenizing"

    def begin(self, total: int) -> Callable[[int, int], None]:
        """Show the bar, unless the job ends within a second. Returns a function that moves it."""
        self.open(total, desc=self.doing, unit="B", unit_scale=True, delay=1)
        self._printed = self.bar.last_print_t
        begun = time.monotonic()
        milliseconds_done = 0

        def advance(size: int, milliseconds: int) -> None:
            nonlocal milliseconds_done
            milliseconds_done += milliseconds
            speed = milliseconds_done / 1000 / max(time.monotonic() - begun, 1e-3)
            self.bar.set_postfix_str(f"{speed:.0f} times real time", refresh=False)
            self.bar.update(size)

        return advance

    def line(self, text: str, *, error: bool = False) -> None:
        """Write a line above the bar; in a file or a pipe, below it."""
        if self.bar is not None and self.bar.last_print_t > self._printed:
            if sys.stderr.isatty():
                self.bar.clear()
            else:
                print(file=sys.stderr)
                self._printed = self.bar.last_print_t
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def tokenized_line(result: Result) -> str:
    """One line for a recording."""
    source, outcome = path_text(result.source), result.outcome
    if outcome.status == "refused":
        why = printable(f"{outcome.reason} ({outcome.detail})")
        return f"{source}: refused: {why}" + ("; its earlier tokens stay" if result.kept else "")
    if not result.outputs:
        return f"{source}: {printable(outcome.detail or '')}"
    outputs = ", ".join(path_text(path) for path in result.outputs)
    notes = [f"{outcome.status}: {printable(outcome.detail)}"] if outcome.detail else []
    notes += [f"{outcome.stretches} stretches with gaps"] if outcome.stretches > 1 else []
    notes += ["was there already"] if result.reused else []
    return (
        f"{source}: {outcome.duration_s:.2f} s -> {outcome.columns} x {outcome.bands} tokens"
        f" -> {outputs}" + "".join(f" [{note}]" for note in notes)
    )


@dataclass
class Totals:
    """What is to be said of all recordings: their results are read once, as there may be many."""

    recordings: int = 0
    reused: int = 0  # that an earlier job had tokenized
    seconds: float = 0.0
    columns: int = 0  # of all files
    tokens: int = 0
    untimed: int = 0  # whose time is not that of a pattern of the user
    statuses: Counter[str] = field(default_factory=Counter)
    flags: Mapping[str, FlagCount] = field(default_factory=dict)
    partial: Packed[tuple[str, str, str]] = field(default_factory=Packed)  # path, reason, detail
    unread: list[str] = field(default_factory=list)  # names whose time is not understood
    gapped: int = 0  # recordings that have gaps
    gapped_such_as: str = ""  # the first of them
    gap_columns: int = 0

    @classmethod
    def of(cls, results: Iterable[Result], hop: int | None) -> Self:
        """hop: samples of a column, at the tokenizer's rate; None if gaps may be shorter."""
        totals = cls()
        totals.flags = count_flags(map(dict, totals._added(results, hop)))
        return totals

    def _added(self, results: Iterable[Result], hop: int | None) -> Iterator[Tokenized]:
        """The rows of results that have flags; all are counted on the way."""
        for result in results:
            row, files = result.outcome, len(result.outputs)
            self.recordings += 1
            self.reused += result.reused
            self.seconds += row.duration_s
            self.columns += files * row.columns
            self.tokens += files * row.columns * row.bands
            self.untimed += row.start_source != "pattern"
            self.statuses[row.status] += 1
            if row.status == "partial":
                self.partial.append((path_text(result.source), row.reason or "", row.detail or ""))
            if row.start_utc is None:
                self.unread += unread_names([result.source.name])
            if row.stretches > 1 and hop:
                self.gap_columns += files * max(row.columns + row.samples // -hop, 0)
                self.gapped += files > 0
                self.gapped_such_as = self.gapped_such_as or (
                    path_text(result.source) * (files > 0)
                )
            if row.flags:
                yield row


def tokenize_summary(
    totals: Totals,
    out: Path | None,
    left_out: Mapping[str, int],
    lost: Sequence[str] = (),
    *,
    timeline: Timeline | None = None,
) -> str:
    """A few lines about many recordings, what tokens lost, and files of sound that are not read."""
    counts = sorted(totals.statuses.items())
    statuses = ", ".join(f"{count} {status}" for status, count in counts)
    reused, hours = totals.reused, totals.seconds / 3600
    lines = [
        f"recordings  {totals.recordings} ({statuses}), {hours:.2f} hours"
        + (f"; {reused} {'was' if reused == 1 else 'were'} there already" if reused else ""),
        f"tokens      {token_count(totals, timeline)}",
        *(_gap_lines(totals) if not timeline else []),
        *named_lines("partial", totals.partial, "--json names all of them"),
        *left_out_lines(left_out),
    ]
    lines += lost
    if out is not None:
        table = " (recordings.parquet has a row for each recording)" if out.is_dir() else ""
        lines.append(f"output      {path_text(out)}{table}")
    return "\n".join(lines)


def token_count(totals: Totals, timeline: Timeline | None) -> int:
    """Tokens that were written, `<gap>` included."""
    if timeline:
        return timeline.columns * timeline.bands
    return totals.tokens


def _gap_lines(totals: Totals) -> list[str]:
    """How many recordings have gaps, and how many of all tokens are `<gap>`."""
    if not totals.gapped:
        return []
    who = f"{totals.gapped_such_as} has"
    if totals.gapped > 1:
        who = f"{counted(totals.gapped, 'recording')} (such as {totals.gapped_such_as}) have"
    share = totals.gap_columns / totals.columns
    return [
        f"gaps        {who} gaps in time: {share:.1%} of all tokens are <gap>; --gaps one writes "
        "one column for each gap, --gaps omit none"
    ]


def lasting(seconds: float) -> str:
    """A length of time, in the unit that a person would use.

    >>> lasting(6), lasting(890), lasting(5097596)
    ('6 s', '14.8 minutes', '59 days')
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def timeline_line(timeline: Timeline) -> str:
    """One line for a timeline, and one for the recordings that have no place on it."""
    gaps = "no gaps"
    if timeline.gaps:
        gaps = f"{counted(timeline.gaps, 'gap')}, {lasting(timeline.gap_seconds)} in all"
    recordings = counted(timeline.recordings, "recording")
    grid = f"{timeline.columns} x {timeline.bands}"
    line = f"{recordings}, {gaps} -> {grid} tokens -> {path_text(timeline.output)}"
    if lost := timeline.without_columns:
        line += (
            f"\nshort       {counted(len(lost), 'recording')} (such as {printable(lost[0])}) "
            f"{'has' if len(lost) == 1 else 'have'} no column on the timeline, as the next begins "
            "within the same one: join such files first, or tokenize them without --timeline"
        )
    return line


def converted_line(result: Converted) -> str:
    """One line for a file of tokens."""
    if result.refusal is not None:
        return f"{path_text(result.source)}: refused: {printable(result.refusal)}"
    output = path_text(result.output or Path())
    return f"{path_text(result.source)}: {result.columns} x {result.bands} tokens -> {output}"


def convert_summary(results: Sequence[Converted], out: Path) -> str:
    """A few lines about all files of tokens."""
    refused = sum(result.refusal is not None for result in results)
    hours = sum(result.seconds for result in results) / 3600
    tokens = sum(result.columns * result.bands for result in results)
    return "\n".join(
        [
            f"recordings  {len(results)} ({refused} refused), {hours:.2f} hours",
            f"tokens      {tokens}",
            f"output      {path_text(out) if refused < len(results) else 'none'}",
        ]
    )
