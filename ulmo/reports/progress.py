"""A bar on stderr, and lines that several summaries have."""

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, Self

from tqdm import tqdm

from ulmo.config import printable
from ulmo.jobs.inputs import left_out_words
from ulmo.storage.names import path_text

_SHOWN = 10  # recordings that a summary names

tqdm.set_lock(RLock())  # its own needs semaphores, and only one process has a bar


class _Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar that no line of others shows before its delay is over; once shown, it ends its line."""

    delay: float

    def refresh(self, *args: Any, **options: Any) -> Any:
        """Draw the bar, if it is time to."""
        if self.delay and time.time() < self.start_t + self.delay:
            return None
        self.delay = 0  # or `close` might take it for one that was never drawn
        return super().refresh(*args, **options)

    def clear(self, *args: Any, **options: Any) -> None:
        """Make way for a line, if the bar was drawn."""
        if not self.delay:
            super().clear(*args, **options)


class Progress:
    """A progress bar on stderr, which closes when the `with` block ends; none if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        print(text, file=sys.stderr)

    def open(self, total: int, **options: Any) -> None:
        """Show the bar. A pipe or a file gets a line every 30 seconds instead of each step."""
        interval = 0.2 if sys.stderr.isatty() else 30.0
        if self.quiet:
            options["delay"] = math.inf  # seconds until the bar is shown
        self.bar = _Bar(
            total=total, mininterval=interval, miniters=1, dynamic_ncols=True, **options
        )


def counted(count: int, noun: str) -> str:
    """A number and its noun, which is singular for 1.

    >>> counted(1, "gap"), counted(2_000, "gap")
    ('1 gap', '2,000 gaps')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def named_lines(
    word: str,
    recordings: Sequence[tuple[Path | str, str, str]],
    rest: str = "see recordings.parquet",
) -> list[str]:
    """A line for each of the first recordings (path, reason, detail), and one for the others.

    word: what became of them. rest: where all of them are named.
    """
    lines = [
        f"{word:<10}  {_name(path)}: {printable(f'{reason} ({detail})')}"
        for path, reason, detail in recordings[:_SHOWN]
    ]
    hidden = Counter(reason for _, reason, _ in islice(recordings, _SHOWN, None))
    if hidden:
        counts = ", ".join(f"{count} {reason}" for reason, count in hidden.most_common())
        lines.append(f"{word:<10}  and {hidden.total()} more: {printable(counts)}; {rest}")
    return lines


def _name(path: Path | str) -> str:
    return path_text(path) if isinstance(path, Path) else printable(path)


def unread_line(unread: Sequence[str], recordings: int) -> str:
    """How many names hold a time that is not understood, so that the recordings have none."""
    return (
        f"clock       {_names(len(unread), recordings, 'hold')} a time that is not understood, "
        f"such as {printable(unread[0])}: it is unknown; give --timestamp-pattern"
    )


def untimed_line(untimed: int, recordings: int) -> str:
    """How many names do not fit the user's pattern."""
    return (
        f"clock       {_names(untimed, recordings, 'do')} not fit --timestamp-pattern: "
        "times then come from headers and usual names, if there are any"
    )


def _names(some: int, recordings: int, verb: str) -> str:
    """`2 of 3 names hold`, `1 of 3 names holds`."""
    ending = "" if some != 1 else "es" if verb.endswith("o") else "s"
    return f"{some} of {counted(recordings, 'name')} {verb}{ending}"


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """How many files of sound are of kinds that ulmo does not read; no line if there are none."""
    return [f"left out    {left_out_words(left_out)}"] if left_out else []
