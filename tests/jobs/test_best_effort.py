"""A part of a job that fails is left out, in a line, and the job goes on."""

import pytest

from ulmo.config import UserError
from ulmo.jobs.best_effort import BestEffort


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no $ here\nmore"), "a picture is left out: ValueError: no $ here"),
        (ZeroDivisionError(), "a picture is left out: ZeroDivisionError"),
        (OSError(28, "No space left", "x.png"), "a picture is left out: x.png: No space left"),
        (OSError(28, "No space left"), "a picture is left out: No space left"),
        (
            IsADirectoryError(21, "Is a directory", "x.tmp", None, "x"),
            "a picture is left out: x: Is a directory",
        ),
        (UserError("a tile is damaged"), "a picture is left out: a tile is damaged"),
        (MemoryError(), "a picture is left out: MemoryError"),
        (RuntimeError("\x1b[31m"), r"a picture is left out: RuntimeError: \x1b[31m"),
    ],
)
def test_a_failure_is_one_line_that_names_the_true_error(error, line):
    lines = []
    best_effort = BestEffort(lines.append)
    for _ in range(3):
        with best_effort("a picture") as attempt:
            raise error
        assert attempt.failed
    assert lines == [line]
    with best_effort("a picture") as attempt:
        pass
    assert not attempt.failed


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(error):
    with pytest.raises(error), BestEffort(pytest.fail)("a picture"):
        raise error


def test_a_line_that_cannot_be_written_ends_nothing():
    def warn(_):
        raise BrokenPipeError

    with BestEffort(warn)("a picture"):
        raise ValueError
