"""The options that say where a command does its work: --workers and --dask."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ulmo.cli import options as cli
from ulmo.config import UserError

F = TypeVar("F", bound=Callable[..., Any])


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The address that was given; that of the environment, unless --workers is given."""
    if not value or value == "local" or ctx.params.get("workers") is None:
        return value or None
    if ctx.get_parameter_source("dask") is click.core.ParameterSource.ENVIRONMENT:
        return None
    raise click.UsageError(
        "--workers starts processes here, and a scheduler has its own workers: leave one out"
    )


_OPTIONS = (
    cli.option(
        "--workers",
        type=click.IntRange(1),
        is_eager=True,
        help="Processes on this machine.  [default: by cores and files]",
    ),
    cli.option(
        "--dask",
        metavar="ADDRESS",
        envvar="DASK_SCHEDULER_ADDRESS",
        callback=_address,
        help="Work on the workers of this Dask scheduler, such as tcp://host:8786; local: on this "
        "machine, with Dask's dashboard. Needs ulmo[dask].  [default: DASK_SCHEDULER_ADDRESS]",
    ),
)


def say(line: str) -> None:
    """Print a line on stderr, above a bar if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def spread_options(function: F) -> F:
    """Add --workers and --dask to a command; `spread_of` takes them."""
    for each in reversed(_OPTIONS):
        function = each(function)
    return function


def spread_of(arguments: dict[str, Any], *, workers: int | None = None) -> Any:
    """Where a command does its work (jobs.spread.Spread), removed from its arguments.

    workers: the default of --workers; None: by cores and files.
    """
    from ulmo.jobs.spread import Spread

    spread = Spread(arguments.pop("workers", None) or workers, arguments.pop("dask", None))
    if click.get_current_context().params.get("quiet"):
        return spread
    return spread._replace(say=say)


def refuse_spread() -> None:
    """Raise UserError for --workers or --dask of a command that was given no recordings.

    An address of the environment is for other commands, too, and so it stays without effect.
    """
    source = click.get_current_context().get_parameter_source
    for name in ("workers", "dask"):
        if source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UserError(f"--{name} needs --audio: only work on recordings is shared out")
