"""One contract over all executors: results, errors, progress, bounds, lost workers, the end."""

import os
import re
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.jobs.toys import crash_once, crash_with, die, double, is_deaf, meet, sleep, work
from ulmo.config import JobError, UserError
from ulmo.jobs import dask_worker
from ulmo.jobs.processes import _ignoring_interrupts
from ulmo.jobs.progress import TRIES, progressed
from ulmo.jobs.spread import EXECUTORS, Spread

PROCESSES = Spread(2)
SPREADS = {"process": Spread(1), "processes": PROCESSES, "dask": Spread(2, "local")}
REMOTE = [name for name in SPREADS if name != "process"]


def test_every_executor_keeps_the_contract():
    assert SPREADS.keys() == EXECUTORS.keys()
    assert all(SPREADS[name].executor(9) == name for name in SPREADS)


def chosen(name):
    if name == "dask":
        pytest.importorskip("distributed", reason="needs ulmo[dask]")
    return SPREADS[name]


@pytest.fixture(params=SPREADS)
def spread(request):
    return chosen(request.param)


@pytest.fixture(params=REMOTE)
def remote(request):
    """An executor whose jobs run in other processes."""
    return chosen(request.param)


def opened(spread, advance=lambda *_: None):
    return spread.open(9, advance)


def test_results_and_all_progress_are_reported(spread):
    reports = []
    with opened(spread, lambda *done: reports.append(done)) as executor:
        assert list(executor.each(work, [5])) == [(5, 25)]
        assert dict(executor.each(work, iter(range(12)))) == {n: n**2 for n in range(12)}
        assert list(executor.in_order(double, range(4))) == [0, 2, 4, 6]
        assert list(executor.each(work, [])) == []
    progressed(7)  # outside of the executor: to nobody
    assert [sum(done) for done in zip(*reports, strict=True)] == [5 + 66 + 13, 13_000]


def test_an_error_comes_through(spread):
    with opened(spread) as executor, pytest.raises(UserError, match="unlucky"):
        list(executor.each(work, [1, 13, 2]))


def test_jobs_are_handed_out_as_they_are_needed(spread):
    """A hundred thousand recordings are not pickled before the first is done."""
    jobs = iter(range(1, 1000))
    with opened(spread) as executor:
        results = executor.each(double, jobs)
        next(results)
        assert next(jobs) < 10
        results.close()


def test_a_job_whose_worker_is_killed_is_done_again(remote, tmp_path):
    reports = []
    places = [tmp_path / str(number) for number in range(5)]
    for place in places[1:]:
        place.touch()
    with opened(remote, lambda *done: reports.append(done)) as executor:
        found = dict(executor.each(crash_once, places))
    assert found == {place: place.name for place in places}
    assert [sum(done) for done in zip(*reports, strict=True)] == [25, 2500]


def test_a_recording_that_kills_its_worker_each_time_is_refused(tmp_path):
    jobs = [(tmp_path / "a", tmp_path / "bad", tmp_path / "b"), (tmp_path / "c",)]
    with opened(PROCESSES) as executor:
        found = dict(executor.each(crash_with, jobs))
    assert found == {jobs[0]: [True, False, True], jobs[1]: [True]}
    assert len((tmp_path / "bad").read_text()) == TRIES


def test_a_job_of_no_recording_that_kills_its_worker_each_time_is_one_line():
    with opened(PROCESSES) as executor, pytest.raises(JobError, match="fewer workers"):
        list(executor.each(die, range(4)))


def test_no_result_waits_for_a_longer_job_before_it(tmp_path):
    first = (tmp_path / "9", tmp_path / "0")
    others = [(None, tmp_path / str(number)) for number in range(1, 10)]
    with opened(PROCESSES) as executor:
        jobs = [job for job, _ in executor.each(meet, [first, *others])]
    assert jobs.index(first) > 5  # its own end and that of the last may be told in any order
    assert sorted(jobs, key=str) == sorted([first, *others], key=str)


def test_an_error_ends_the_workers_at_once(remote, tmp_path):
    """A recording that takes an hour is not waited for."""
    begun = time.monotonic()
    with pytest.raises(UserError, match="unlucky"), opened(remote) as executor:
        list(executor.each(sleep, [tmp_path / "1", tmp_path / "2", tmp_path / "3"]))
    assert time.monotonic() - begun < 60


def test_a_local_cluster_answers_this_computer_alone():
    said = []
    with opened(chosen("dask")._replace(say=said.append)):
        psutil = pytest.importorskip("psutil")  # Dask needs it, too
        found = psutil.Process().net_connections("inet")
    listening = {each.laddr[:2] for each in found if each.status == psutil.CONN_LISTEN}
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    if find_spec("bokeh") is None:  # which draws the dashboard
        nothing = "no dashboard: bokeh is not installed where the scheduler runs"
        assert said == [f"dask        2 workers; {nothing}"]
        return
    dashboard = re.fullmatch(
        r"dask        2 workers; dashboard at http://(.*):(\d+)/status", said[0]
    )
    assert (dashboard[1], int(dashboard[2])) in listening


def test_a_recording_that_is_written_to_is_no_other_file(tmp_path):
    """Each Dask worker compares a few recordings, also one that comes later."""
    growing = [tmp_path / name for name in "ab"]
    for path in growing:
        path.write_bytes(b"sound")
    executor = chosen("dask").open(9, lambda *_: None, inputs=growing)
    growing[0].write_bytes(b"more sound")
    with executor:
        growing[1].write_bytes(b"more sound")
        dask_worker._runs.clear()  # as if all came later
        assert dict(executor.each(double, range(5))) == {n: 2 * n for n in range(5)}


def test_a_file_that_workers_see_otherwise_than_the_command_ends_it(tmp_path):
    with chosen("dask").open(9, lambda *_: None, inputs=[tmp_path]) as executor:
        elsewhere = dask_worker.Seen(str(tmp_path), 5, 1)
        executor._run = executor._run._replace(files=(elsewhere,))
        executor._forget_changed = lambda: None  # the command sees it as before
        dask_worker._runs.clear()
        with pytest.raises(UserError, match="that all machines share"):
            list(executor.each(double, range(5)))


def test_workers_ignore_the_terminal_whichever_thread_uses_them():
    """Ctrl-C is for the process that can say what it means; only its main thread may set that."""
    results = []

    def use():
        with opened(PROCESSES) as executor:
            results.extend(deaf for _, deaf in executor.each(is_deaf, range(4)))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert results == [True] * 4
    assert not is_deaf(None)


HEARS = "import signal; print(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"


def hears():
    """Whether a process that is started now reacts to Ctrl-C."""
    return subprocess.check_output([sys.executable, "-c", HEARS], text=True) == "True\n"


def test_a_worker_ignores_the_terminal_before_its_first_line_runs():
    with _ignoring_interrupts():
        assert not hears()
    assert hears()


SCRIPT = """
import pathlib, sys
from tests.jobs.toys import sleep
from ulmo.jobs.spread import Spread
if __name__ == "__main__":
    dask = "local" if sys.argv[1] == "dask" else None
    with Spread(2, dask).open(9, lambda *_: None) as executor:
        list(executor.each(sleep, map(pathlib.Path, sys.argv[2:])))
"""


@pytest.mark.parametrize("name", REMOTE)
def test_workers_end_with_a_killed_parent(name, tmp_path):
    """Whoever holds the other end of stdout is seen: it ends with the last process alone."""
    (tmp_path / "script.py").write_text(SCRIPT)
    begun = [tmp_path / "1", tmp_path / "3"]
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", name, *begun],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    until = time.monotonic() + 60
    while not all(path.exists() for path in begun) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.communicate(timeout=60) == (b"", None)
