"""How a command ends.

Exit status: 0 clean; 3 done, but some inputs were refused; 2 wrong usage; 1 failed;
130 interrupted. Errors are one line on stderr.
"""

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from ulmo.config import EXTRAS, JobError, UserError, not_installed, printable

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG_USAGE, SOME_REFUSED, INTERRUPTED = 1, 2, 3, 130

AGAIN = "interrupted: run the same command again to go on"
MAKE_ROOM = ": make room, and run the same command again to go on"


def guarded(command: F) -> F:
    """Turn every expected error into one line on stderr and an exit status."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            fail(str(error), WRONG_USAGE)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            fail(str(not_installed(package)), WRONG_USAGE)
        except KeyboardInterrupt as interrupt:
            fail(str(interrupt) or "interrupted", INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except JobError as error:
            fail(str(error), FAILED)
        except OSError as error:
            room = error.errno in (errno.ENOSPC, errno.EDQUOT)
            fail(f"{error}{MAKE_ROOM if room else ''}", FAILED)

    return cast(F, run)


def fail(message: str, status: int) -> None:
    """Print one line on stderr, and end with the exit status."""
    click.echo(f"ulmo: {printable(message)}", err=True)
    sys.exit(status)
