"""Optional parts of a job, such as a picture: if one fails, the job says so and goes on."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from ulmo.config import JobError, UserError, one_line, printable


class BestEffort:
    """Blocks of code whose failure does not end a job: `with best_effort("the picture"): ...`.

    warn: called with a line that names the part and the error; the same line is not repeated.
    Ctrl-C and SystemExit are not caught.

    >>> best_effort = BestEffort(print)
    >>> for _ in range(2):
    ...     with best_effort("the sum") as attempt:
    ...         1 / 0
    the sum is left out: ZeroDivisionError: division by zero
    >>> attempt.failed
    True
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: set[str] = set()

    def __call__(self, what: str) -> "Attempt":
        """A block to enter; `what` names it at the start of the line about a failure."""
        return Attempt(what, self.say)

    def say(self, line: str) -> None:
        """Say a line, unless it was said before."""
        if line in self._said:
            return
        self._said.add(line)
        with suppress(OSError, ValueError):  # nobody reads stderr, or it is full
            self._warn(line)


class Attempt:
    """One block; afterwards, `failed` says whether an error ended it."""

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self.failed = False
        self._what = what
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed = True
        self._say(f"{printable(self._what)} is left out: {_words(error)}")
        return True


def _words(error: Exception) -> str:
    """An error as one line, with the type of a library's error, whose text may say little."""
    if isinstance(error, UserError | JobError):
        return one_line(error)
    if isinstance(error, OSError) and error.strerror:
        path = error.filename2 or error.filename  # the second is the target of a rename
        return printable(f"{path}: {error.strerror}" if path else error.strerror)
    name = type(error).__name__
    return name if not str(error) else f"{name}: {one_line(error)}"
