"""--workers and --dask: one place that chooses where a command works."""

import click
import pytest
from click.testing import CliRunner

from tests.commands import assert_refused, run
from tests.test_extras import run as run_without
from ulmo.cli import options as cli
from ulmo.cli.main import ulmo
from ulmo.cli.spread import spread_of, spread_options
from ulmo.jobs.spread import Spread


@cli.command("toy")
@spread_options
@cli.quiet_option
def toy(quiet, **options):
    """Say where it works."""
    spread = spread_of(options, workers=3)
    click.echo(f"{spread.workers} {spread.dask}")


SCHEDULER = {"DASK_SCHEDULER_ADDRESS": "tcp://there:1"}


@pytest.mark.parametrize(
    ("arguments", "environment", "found"),
    [
        ([], {}, "3 None"),
        (["--workers", "2"], {}, "2 None"),
        (["--dask", "tcp://here:1"], SCHEDULER, "3 tcp://here:1"),
        ([], SCHEDULER, "3 tcp://there:1"),
        (["--workers", "2"], SCHEDULER, "2 None"),
        (["--workers", "2", "--dask", "local"], {}, "2 local"),
        ([], {"DASK_SCHEDULER_ADDRESS": ""}, "3 None"),
    ],
)
def test_where_a_command_works(arguments, environment, found):
    done = CliRunner().invoke(toy, arguments, env={"DASK_SCHEDULER_ADDRESS": None, **environment})
    assert done.stdout == f"{found}\n"


def test_processes_here_and_a_scheduler_are_too_much():
    done = CliRunner().invoke(toy, ["--workers", "2", "--dask", "tcp://here:1"])
    assert done.exit_code == 2
    assert "leave one out" in done.stderr


@pytest.mark.parametrize(
    ("spread", "recordings", "name", "threads"),
    [
        (Spread(1), 9, "process", None),
        (Spread(2), 1, "process", None),
        (Spread(), 3, "process", None),
        (Spread(10**6), 10**6, "processes", 1),
        (Spread(dask="local"), 1, "dask", 1),
        (Spread(dask="local"), 0, "process", None),
    ],
)
def test_what_carries_the_jobs(spread, recordings, name, threads):
    assert spread.executor(recordings) == name
    assert spread.threads(recordings) == threads


def test_an_address_that_is_none_is_one_line(few_recordings, tmp_path):
    pytest.importorskip("distributed", reason="needs ulmo[dask]")
    done = run_without("nothing", "verify", "--audio", few_recordings, "--dask", "nonsense")
    assert done.returncode == 2
    assert done.stderr == (
        "ulmo: no Dask scheduler answers at nonsense (missing port number in address "
        "'nonsense'): start one with `dask scheduler`, or name the address that it prints\n"
    )


def test_without_dask_one_line_says_what_to_install(few_recordings):
    done = run_without("distributed", "verify", "--audio", few_recordings, "--dask", "local")
    assert done.returncode == 2
    assert done.stderr == (
        "ulmo: this needs distributed, which is not installed: pip install 'ulmo[dask]'\n"
    )


@pytest.mark.parametrize("command", [("verify", "."), ("eval",)])
def test_without_recordings_there_is_nothing_to_share_out(command):
    for option in (("--workers", "2"), ("--dask", "local")):
        refused = run(ulmo, *command, *option)
        assert_refused(refused, f"{option[0]} needs --audio")
    refused = CliRunner().invoke(ulmo, ["verify", "nothing"], env=SCHEDULER)
    assert "--dask" not in refused.output
