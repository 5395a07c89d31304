"""How a command ends.

Exit status: 0 clean; 3 done, but some inputs were refused; 2 wrong usage; 1 failed;
130 interrupted. Errors are one line on stderr.
"""

import errno
import functools
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar, cast

import click

from ulmo.cli.streams import leave_broken_streams
from ulmo.config import EXTRAS, JobError, UserError, not_installed, one_line, printable

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG_USAGE, SOME_REFUSED, INTERRUPTED = 1, 2, 3, 130

AGAIN = "interrupted: run the same command again to go on"
MAKE_ROOM = ": make room, and run the same command again to go on"
_LIMITS = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EMFILE: ": raise the limit (ulimit -n), or use fewer --workers",
    errno.EFBIG: ": raise the limit of this shell (ulimit -f), or choose another disk",
    errno.ENOMEM: ": use fewer --workers, or a smaller --batch-size",
}
_INSTALL = "install ulmo again, or raise the limit of memory (ulimit -v)"
_NO_THREAD = (
    "no more threads can be started: raise the limit (ulimit -u), or use --workers 1 --threads 1"
)


def guarded(command: F) -> F:
    """Turn every expected error into one line on stderr and an exit status."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            fail(_with_options(str(error)), WRONG_USAGE)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            fail(str(not_installed(package)), WRONG_USAGE)
        except ImportError as error:
            fail(f"a library cannot be loaded ({one_line(error)}): {_INSTALL}", FAILED)
        except KeyboardInterrupt as interrupt:
            _let_go(interrupt)
            fail(str(interrupt) or "interrupted", INTERRUPTED)
        except BrokenPipeError:
            sys.exit(FAILED)
        except JobError as error:
            fail(str(error), FAILED)
        except OSError as error:
            fail(f"{error}{_LIMITS.get(error.errno or 0, '')}", FAILED)
        except MemoryError:
            fail(f"out of memory{_LIMITS[errno.ENOMEM]}", FAILED)
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            fail(_NO_THREAD, FAILED)
        finally:
            leave_broken_streams()

    return cast(F, run)


def _let_go(error: BaseException | None) -> None:
    """Free what the interrupted calls hold, silently: their files cannot be finished any more."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__context__
    finally:
        sys.unraisablehook = hook


def _with_options(text: str) -> str:
    """A complaint about settings, with the options of the command in place of their names."""
    context = click.get_current_context(silent=True)
    for param in context.command.params if context else ():
        if isinstance(param, click.Option) and param.name:
            text = re.sub(rf"(\A|; ){param.name}(?= = )", rf"\g<1>{param.opts[-1]}", text)
    return text


def fail(message: str, status: int) -> NoReturn:
    """Print one line on stderr, and end with the exit status."""
    with suppress(OSError):  # nobody reads stderr any more, and click opens it anew in ASCII
        click.echo(f"ulmo: {printable(message)}", err=True)
    sys.exit(status)
