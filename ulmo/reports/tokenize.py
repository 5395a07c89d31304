"""What `ulmo tokenize` and `ulmo convert` print."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ulmo.config import printable
from ulmo.pipelines.convert.convert import Converted
from ulmo.pipelines.tokenize.job import Result
from ulmo.pipelines.tokenize.timeline_file import Timeline
from ulmo.reports.progress import Progress, counted, left_out_lines, named_lines
from ulmo.storage.names import path_text


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


def tokenize_summary(
    results: Sequence[Result],
    out: Path | None,
    left_out: Mapping[str, int],
    lost: Sequence[str] = (),
    *,
    timeline: Timeline | None = None,
    hop: int | None = None,
) -> str:
    """A few lines about many recordings, what tokens lost, and files of sound that are not read.

    hop: samples of a column, at the tokenizer's rate; None if the length of gaps is not kept.
    """
    outcomes = [result.outcome for result in results]
    counts = Counter(outcome.status for outcome in outcomes)
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    reused = sum(result.reused for result in results)
    hours = sum(outcome.duration_s for outcome in outcomes) / 3600
    partial = [
        (path_text(result.source), one.reason or "", one.detail or "")
        for result, one in zip(results, outcomes, strict=True)
        if one.status == "partial"
    ]
    lines = [
        f"recordings  {len(results)} ({statuses}), {hours:.2f} hours"
        + (f"; {reused} {'was' if reused == 1 else 'were'} there already" if reused else ""),
        f"tokens      {token_count(results, timeline)}",
        *(_gap_lines(results, hop) if hop and not timeline else []),
        *named_lines("partial", partial, "--json names all of them"),
        *left_out_lines(left_out),
    ]
    lines += lost
    if out is not None:
        table = " (recordings.parquet has a row for each recording)" if out.is_dir() else ""
        lines.append(f"output      {path_text(out)}{table}")
    return "\n".join(lines)


def token_count(results: Sequence[Result], timeline: Timeline | None) -> int:
    """Tokens that were written, `<gap>` included."""
    if timeline:
        return timeline.columns * timeline.bands
    return sum(one.outcome.columns * one.outcome.bands * len(one.outputs) for one in results)


def _gap_lines(results: Sequence[Result], hop: int) -> list[str]:
    """How many recordings have gaps, and how many of all tokens are `<gap>`."""
    gapped = [result for result in results if result.outcome.stretches > 1 and result.outputs]
    if not gapped:
        return []
    columns = gaps = 0
    for result in results:
        one, files = result.outcome, len(result.outputs)
        columns += files * one.columns
        if one.stretches > 1:
            gaps += files * max(one.columns + one.samples // -hop, 0)
    name = path_text(gapped[0].source)
    who = f"{counted(len(gapped), 'recording')} (such as {name}) have" if gapped[1:] else name
    return [
        f"gaps        {who if gapped[1:] else who + ' has'} gaps in time: {gaps / columns:.1%} of "
        "all tokens are <gap>; --gaps one writes one column for each gap, --gaps omit none"
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
