"""What the commands show a person: progress on stderr, summaries on stdout."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from ulmo.config import printable

if TYPE_CHECKING:
    from ulmo.pipelines.convert import Converted
    from ulmo.pipelines.prep import PrepSummary
    from ulmo.pipelines.show import Shown
    from ulmo.pipelines.timeline_file import Timeline
    from ulmo.pipelines.tokenize_job import Tokenized

SHOWN_REFUSALS = 10


class Progress:
    """A bar on stderr, which ends with the block that it is opened for."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def open(self, total: int, **options: Any) -> None:
        """Show the bar; a pipe or a file gets a line now and then in place of each tick."""
        interval = 0.2 if sys.stderr.isatty() else 30.0
        self.bar = tqdm(
            total=total, mininterval=interval, miniters=1, dynamic_ncols=True, **options
        )


class PrepProgress(Progress):
    """Bytes of input that are prepared."""

    def begin(self, total: int) -> Callable[[int], None]:
        """Show the bar; what is returned moves it."""
        self.open(total, desc="preparing", unit="B", unit_scale=True)

        def advance(size: int) -> None:
            self.bar.update(size)

        return advance


class TokenizeProgress(Progress):
    """Bytes of input that are tokenized, and how much faster than they sound."""

    def begin(self, total: int) -> Callable[[int, int], None]:
        """Show the bar, unless it is all over in a second; what is returned moves it."""
        self.open(total, desc="tokenizing", unit="B", unit_scale=True, delay=1)
        self._printed = self.bar.last_print_t
        begun = time.monotonic()
        heard = 0

        def advance(size: int, milliseconds: int) -> None:
            nonlocal heard
            heard += milliseconds
            speed = heard / 1000 / max(time.monotonic() - begun, 1e-3)
            self.bar.set_postfix_str(f"{speed:.0f} times real time", refresh=False)
            self.bar.update(size)

        return advance

    def line(self, text: str, *, error: bool = False) -> None:
        """Write a line above the bar, or in a file or a pipe below it."""
        if self.bar is not None and self.bar.last_print_t > self._printed:
            if sys.stderr.isatty():
                self.bar.clear()
            else:
                print(file=sys.stderr)
                self._printed = self.bar.last_print_t
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def prep_summary(summary: "PrepSummary") -> str:
    """A few lines: what was prepared, what was refused and why, what to do next."""
    lines = []
    if summary.reused:
        lines.append("Everything was prepared already; nothing was done.")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    lines.append(f"recordings  {summary.recordings} ({counts}), {summary.hours:.2f} hours")
    lines.append(f"tiles       {summary.tiles}")
    for path, reason, detail in summary.refused[:SHOWN_REFUSALS]:
        lines.append(f"refused     {printable(path)}: {reason} ({detail})")
    hidden = Counter(reason for _, reason, _ in summary.refused[SHOWN_REFUSALS:])
    if hidden:
        rest = ", ".join(f"{count} {reason}" for reason, count in hidden.most_common())
        lines.append(f"refused     and {hidden.total()} more: {rest}; see recordings.parquet")
    if summary.rewritten:
        lines.append(
            f"rewritten   {len(summary.rewritten)} recordings since (such as "
            f"{printable(summary.rewritten[0])}): if in more than their time, delete the folder "
            "and prepare it again"
        )
    lines += [untimed_line(summary.untimed, summary.recordings)] if summary.untimed else []
    lines.append(f"output      {summary.out_dir}")
    if summary.tiles:
        lines.append(f"next        ulmo-train {summary.out_dir} RUN_DIR")
    return "\n".join(lines)


def untimed_line(untimed: int, recordings: int) -> str:
    """Names that the user's pattern does not fit: once, in place of silence."""
    return (
        f"clock       {untimed} of {recordings} names do not fit --timestamp-pattern: "
        "header or usual name tells when they began, if anything does"
    )


def shown_lines(shown: "Shown") -> str:
    """What was drawn, and what of it the settings leave out."""
    lines = [f"{shown.seconds:.2f} s, up to {shown.bandwidth_hz:g} Hz -> {shown.picture}"]
    if shown.bandwidth_hz < shown.sample_rate / 2:
        lines.append(
            f"its sample rate is {shown.sample_rate} Hz: "
            f"--sample-rate {shown.sample_rate} shows all of it"
        )
    return "\n".join(lines)


def tokenized_line(result: "Tokenized") -> str:
    """One line a recording."""
    source = _text(result.source)
    if not result.outputs:
        return f"{source}: refused: {result.verdict.reason} ({result.detail})"
    outputs = ", ".join(_text(path) for path in result.outputs)
    notes = [f"{result.verdict.status}: {result.detail}"] if result.detail else []
    notes += ["was there already"] if result.reused else []
    return (
        f"{source}: {result.seconds:.2f} s -> {result.columns} x {result.bands} tokens"
        f" -> {outputs}" + "".join(f" [{note}]" for note in notes)
    )


def tokenize_summary(results: "Sequence[Tokenized]", out: Path | None) -> str:
    """What became of many recordings."""
    counts = Counter(result.verdict.status for result in results)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    reused = sum(result.reused for result in results)
    hours = sum(result.seconds for result in results) / 3600
    tokens = sum(result.columns * result.bands * len(result.outputs) for result in results)
    lines = [
        f"recordings  {len(results)} ({told}), {hours:.2f} hours"
        + (f"; {reused} were there already" if reused else ""),
        f"tokens      {tokens}",
    ]
    if out is not None:
        lines.append(f"output      {_text(out)}, with recordings.parquet over all")
    return "\n".join(lines)


def timeline_line(timeline: "Timeline") -> str:
    """What a timeline came to."""
    return (
        f"{timeline.recordings} recordings, {timeline.gaps} gaps of {timeline.gap_seconds:.1f} s "
        f"in all -> {timeline.columns} x {timeline.bands} tokens -> {_text(timeline.output)}"
    )


def converted_line(result: "Converted") -> str:
    """One line a file of tokens."""
    if result.refusal is not None:
        return f"{_text(result.source)}: refused: {result.refusal}"
    output = _text(result.output or Path())
    return f"{_text(result.source)}: {result.columns} x {result.bands} tokens -> {output}"


def _text(path: Path) -> str:
    r"""A path as every terminal takes it; bytes that are no UTF-8 as \xNN."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
