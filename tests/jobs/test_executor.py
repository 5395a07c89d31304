import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ulmo.config import JobError, UserError
from ulmo.jobs.executor import Pool, _ignoring_interrupts
from ulmo.jobs.progress import progressed


def work(number):
    """Square a number, and report progress in two steps."""
    progressed(number, 1000)
    if number == 13:
        raise UserError("unlucky")
    progressed(1)
    return number * number


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def meet(paths):
    """Wait for a file, if one is named, and make another."""
    awaited, made = paths
    while awaited and not awaited.exists():
        time.sleep(0.01)
    made.touch()


def is_deaf(_):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def sleep(path):
    """What would be waited for in vain."""
    path.touch()
    if path.name == "2":
        raise UserError("unlucky")
    time.sleep(600)


@pytest.mark.parametrize("workers", [1, 2])
class TestPool:
    def test_results_and_all_progress_are_reported(self, workers):
        reports = []
        with Pool(workers, lambda *done: reports.append(done)) as pool:
            assert list(pool.each(work, [5])) == [(5, 25)]
            assert dict(pool.each(work, iter(range(12)))) == {n: n**2 for n in range(12)}
            assert list(pool.each(work, [])) == []
        progressed(7)  # outside of the pool: to nobody
        assert [sum(done) for done in zip(*reports, strict=True)] == [5 + 66 + 13, 13_000]

    def test_an_error_comes_through(self, workers):
        with Pool(workers, lambda *_: None) as pool, pytest.raises(UserError, match="unlucky"):
            list(pool.each(work, [1, 13, 2]))


def test_a_killed_worker_is_told_in_one_line():
    with Pool(2, lambda *_: None) as pool, pytest.raises(JobError, match="fewer --workers"):
        list(pool.each(die, range(4)))


def test_no_result_waits_for_a_longer_job_before_it(tmp_path):
    first = (tmp_path / "9", tmp_path / "0")
    others = [(None, tmp_path / str(number)) for number in range(1, 10)]
    with Pool(2, lambda *_: None) as pool:
        jobs = [job for job, _ in pool.each(meet, [first, *others])]
    assert jobs[-1] == first
    assert sorted(jobs[:-1], key=str) == others


def test_jobs_are_handed_out_as_they_are_needed():
    """A hundred thousand recordings are not pickled before the first is done."""
    jobs = iter(range(1, 1000))
    with Pool(2, lambda *_: None) as pool:
        results = pool.each(work, jobs)
        next(results)
        assert next(jobs) < 10
        results.close()


def test_workers_ignore_the_terminal_whichever_thread_uses_the_pool():
    """Ctrl-C is for the process that can say what it means; only its main thread may set that."""
    results = []

    def use():
        with Pool(2, lambda *_: None) as pool:
            results.extend(deaf for _, deaf in pool.each(is_deaf, range(4)))

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


def test_an_error_ends_the_workers_at_once(tmp_path):
    """A recording that takes an hour is not waited for."""
    begun = time.monotonic()
    with pytest.raises(UserError, match="unlucky"), Pool(2, lambda *_: None) as pool:
        list(pool.each(sleep, [tmp_path / "1", tmp_path / "2", tmp_path / "3"]))
    assert time.monotonic() - begun < 60


SCRIPT = """
import pathlib, sys
from tests.jobs.test_executor import Pool, sleep
if __name__ == "__main__":
    with Pool(2, lambda *_: None) as pool:
        list(pool.each(sleep, map(pathlib.Path, sys.argv[1:])))
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    """Whoever holds the other end of stdout is seen: it ends with the last process alone."""
    (tmp_path / "script.py").write_text(SCRIPT)
    begun = [tmp_path / "1", tmp_path / "3"]
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", *begun],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    until = time.monotonic() + 60
    while not all(path.exists() for path in begun) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.communicate(timeout=60) == (b"", None)
