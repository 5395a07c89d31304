"""What each Dask worker compares before it works, and whose jobs it ends."""

import pickle
import time
from pathlib import Path

import pytest

from tests.jobs.toys import double, fail
from ulmo.config import JobError, UserError
from ulmo.jobs import dask_worker
from ulmo.jobs.dask_worker import Run, Seen, admit, end_run, versions
from ulmo.jobs.worker import Worker, WorkerLostError
from ulmo.storage.lock import locked


@pytest.fixture
def run_of(tmp_path):
    """A function that makes a run as a driver in `tmp_path` would; all end with the test."""
    (tmp_path / "x.wav").write_bytes(b"sound")
    made = []

    def make(name="one", **changes):
        run = Run(name, versions(), str(tmp_path), {}, (), (), b"")
        made.append(run._replace(**changes))
        return made[-1]

    yield make
    for run in made:
        end_run(run.name)
        dask_worker._over.discard(run.name)


def packed(function, job):
    return pickle.dumps((function, job, frozenset()))


def test_one_that_is_alike_may_work(run_of, tmp_path):
    lock = tmp_path / ".lock"
    with locked(lock, tmp_path):
        seen = (Seen.of(tmp_path / "x.wav")._replace(path="x.wav"), Seen.of(lock))
        run = run_of(files=seen, locks=(str(lock),), ready=packed(double, 1))
        assert admit(run) == ""
        worker = dask_worker._take(run)
        assert worker.do(packed(double, 4), lambda *_: None).result() == 8


def test_packages_of_wavelets_may_be_there_or_not(run_of):
    without = {name: each for name, each in versions().items() if name != "scipy"}
    assert admit(run_of(versions=without)) == ""


GONE = Seen("gone.wav", 1, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"versions": {**versions(), "numpy": "1.0"}}, "numpy there .*, here '1.0'"),
        ({"versions": {**versions(), "PyWavelets": "1.0"}}, "PyWavelets there .*, here '1.0'"),
        ({"folder": "/nowhere"}, "there is no folder /nowhere"),
        ({"files": (GONE,)}, "gone.wav is not there, or is another file"),
        ({"files": (Seen("x.wav", 6, 1),)}, "x.wav is not there, or is another file"),
        ({"locks": ("x.wav",)}, "x.wav does not look locked"),
    ],
)
def test_one_that_differs_says_how_in_one_line(run_of, changes, words):
    run = run_of(**changes)
    said = admit(run)
    assert "\n" not in said
    with pytest.raises(UserError, match=words):
        raise UserError(said)
    with pytest.raises(UserError, match=words):
        dask_worker._take(run)


def test_one_that_cannot_open_the_bundle_says_so_before_its_first_job(run_of):
    run = run_of(ready=packed(fail, 1))
    assert admit(run) == ""
    with pytest.raises(UserError, match="unlucky"):
        dask_worker._take(run)


def test_a_process_that_starts_while_its_run_ends_gets_no_job(run_of, monkeypatch):
    """Whoever ended the run did not know of it: nothing writes once `end_run` has returned."""
    started = []

    class Ending(Worker):
        def do(self, *arguments):
            started.append(self)
            ended = super().do(*arguments)
            end_run("one")
            return ended

    monkeypatch.setattr(dask_worker, "Worker", Ending)
    with pytest.raises(JobError, match="another run"):
        dask_worker._take(run_of(ready=packed(double, 1)))
    (worker,) = started
    assert worker._process.poll() is not None


def sleep(path):
    path.touch()
    time.sleep(600)


def test_jobs_of_an_earlier_driver_on_the_same_output_are_ended(run_of, tmp_path):
    """It was killed; its lock is free, and nobody has told its workers yet."""
    lock = tmp_path / ".lock"
    with locked(lock, tmp_path):
        first, other, second = (
            run_of(name, locks=(str(path),))
            for name, path in (("first", lock), ("other", lock), ("second", lock))
        )
        other = other._replace(locks=())
        busy, apart = dask_worker._take(first), dask_worker._take(other)
        assert admit(second) == ""
        with pytest.raises(WorkerLostError):
            busy.do(packed(sleep, tmp_path / "begun"), lambda *_: None)
        assert not Path(tmp_path, "begun").exists()
        assert apart.do(packed(double, 4), lambda *_: None).result() == 8
        with pytest.raises(JobError, match="another run"):
            dask_worker._take(first)
