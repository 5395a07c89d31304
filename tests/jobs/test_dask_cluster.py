"""A Dask cluster that keeps the user waiting: lines that say for what."""

import logging
import time

import pytest

from tests.jobs.toys import work
from ulmo.config import JobError, UserError
from ulmo.jobs import dask_cluster
from ulmo.jobs.spread import Spread

distributed = pytest.importorskip("distributed", reason="needs ulmo[dask]")


def advance(*_):
    """Nobody looks at the progress."""


@pytest.fixture
def address():
    """That of a scheduler in this process, without workers."""
    how = {"processes": False, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=0, **how) as cluster:
        yield cluster.scheduler_address


def test_a_scheduler_without_workers(address, monkeypatch):
    monkeypatch.setattr(dask_cluster, "_SILENT_SECONDS", 0.1)
    monkeypatch.setattr(dask_cluster, "_WORKERS_SECONDS", 0.3)
    said = []
    spread = Spread(dask=address, say=said.append)
    with pytest.raises(UserError, match="has no workers: start some with"), spread.open(9, advance):
        pass
    assert said == [f"dask        waiting for a worker of {address}"]


def test_a_worker_that_stands_still(monkeypatch):
    monkeypatch.setattr(dask_cluster, "_SILENT_SECONDS", 0.1)
    monkeypatch.setattr(dask_cluster, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(dask_cluster, "admit", lambda _: time.sleep(1))
    said = []
    opened = Spread(1, "local", say=said.append).open(9, advance)
    with pytest.raises(JobError, match=r"has not answered for 0\.3 s .*: end that"), opened:
        pass
    assert said == ["dask        waiting for the workers of local to answer"]


def test_dasks_own_log_stays_off_the_terminal():
    """Its client logs how the scheduler went, with a traceback, at a level of its own."""
    loggers = [logging.getLogger(name) for name in ("distributed.client", "distributed.worker")]
    levels = [logger.level for logger in loggers]
    with Spread(1, "local").open(9, advance) as executor:
        assert not any(logger.isEnabledFor(logging.ERROR) for logger in loggers)
        assert list(executor.each(work, [5])) == [(5, 25)]
    assert [logger.level for logger in loggers] == levels
