"""A bar on stderr, and lines that several summaries have."""

import math
import sys
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any, Self

from tqdm import tqdm

from ulmo.config import printable
from ulmo.jobs.inputs import left_out_words

tqdm.set_lock(RLock())  # its own needs semaphores, and only one process has a bar


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

    def open(self, total: int, **options: Any) -> None:
        """Show the bar. A pipe or a file gets a line every 30 seconds instead of each step."""
        interval = 0.2 if sys.stderr.isatty() else 30.0
        if self.quiet:
            options["delay"] = math.inf  # seconds until the bar is shown
        self.bar = tqdm(
            total=total, mininterval=interval, miniters=1, dynamic_ncols=True, **options
        )


def unread_line(unread: Sequence[str], recordings: int) -> str:
    """How many names hold a time that is not understood, so that the recordings have none."""
    return (
        f"clock       {len(unread)} of {recordings} names hold a time that is not understood, such "
        f"as {printable(unread[0])}: their times are unknown; give --timestamp-pattern"
    )


def untimed_line(untimed: int, recordings: int) -> str:
    """How many names do not fit the user's pattern."""
    return (
        f"clock       {untimed} of {recordings} names do not fit --timestamp-pattern: "
        "their times come from headers and usual names, if there are any"
    )


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """How many files of sound are of kinds that ulmo does not read; no line if there are none."""
    return [f"left out    {left_out_words(left_out)}"] if left_out else []
