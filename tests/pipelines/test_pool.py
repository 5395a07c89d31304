import os
import signal

import pytest

from ulmo.config import JobError, UserError
from ulmo.pipelines.pool import Pool, progressed


def work(number):
    """Square a number, and tell of it in two steps."""
    progressed(number, 1000)
    if number == 13:
        raise UserError("unlucky")
    progressed(1)
    return number * number


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
class TestPool:
    def test_results_are_in_order_and_all_progress_is_told(self, workers):
        told = []
        with Pool(workers, lambda *done: told.append(done)) as pool:
            assert list(pool.map(work, range(9))) == [number**2 for number in range(9)]
            assert list(pool.map(work, [5])) == [25]
        sizes, milliseconds = zip(*told, strict=True)
        assert sum(sizes) == sum(range(9)) + 9 + 6
        assert sum(milliseconds) == 10_000

    def test_an_error_comes_through(self, workers):
        with Pool(workers, lambda *_: None) as pool, pytest.raises(UserError, match="unlucky"):
            list(pool.map(work, [1, 13, 2]))

    def test_nothing_is_told_outside(self, workers):
        told = []
        with Pool(workers, lambda *done: told.append(done)):
            pass
        progressed(7)
        assert told == []


def test_a_killed_worker_is_told_in_one_line():
    with Pool(2, lambda *_: None) as pool, pytest.raises(JobError, match="fewer --workers"):
        list(pool.map(die, range(4)))
