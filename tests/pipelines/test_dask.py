"""Jobs on a Dask cluster of processes that share files alone: the bytes of a local run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bounded import in_make_crash
from tests.jobs.clusters import running
from tests.pipelines.recordings import RATE, TINY, contents, noise, write
from tests.pipelines.tokenizing import tokenize
from ulmo.config import JobError
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize.tokenize import Listener

RECORDINGS = 12


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    for number in range(RECORDINGS):
        write(folder / f"{number:02}.wav", noise(RATE * 10, number))
    (folder / "text.wav").write_text("this is no sound")
    return folder


@pytest.fixture(scope="module")
def expected(field, tokenizer, tmp_path_factory):
    """The tokens of a run in this process."""
    out = tmp_path_factory.mktemp("expected") / "out"
    tokenize(tokenizer, field, out=out)
    return contents(out)


def at(count, action):
    """A listener that does something once so many recordings are done."""
    left = [count]

    def done(_):
        left[0] -= 1
        if left[0] == 0:
            action()

    return Listener(lambda _: lambda *_: None, done)


def replace_worker(cluster):
    cluster.kill_worker()
    cluster.start_worker()


def test_tokens_if_a_worker_is_killed(cluster, field, expected, tokenizer, tmp_path):
    listener = at(3, lambda: replace_worker(cluster))
    tokenize(tokenizer, field, out=tmp_path / "out", dask=cluster.address, listener=listener)
    assert contents(tmp_path / "out") == expected


def test_a_file_that_has_no_lock_is_written_by_the_command(field, tokenizer, tmp_path):
    """No worker could tell that its folder of that name is another one."""
    out = tmp_path / "own" / "x.tokens.npy"
    (result,) = tokenize(tokenizer, field / "00.wav", out=out, dask="tcp://127.0.0.1:1")
    assert result.outputs == [out]
    assert out.exists()


@in_make_crash
def test_tiles_if_a_worker_is_killed(cluster, field, tmp_path, monkeypatch):
    monkeypatch.setattr(prep_job, "_JOB_FILES", 2)
    prepare(field, tmp_path / "expected", TINY)
    done = []

    def advance(size):
        if size and not done:
            done.append(size)
            replace_worker(cluster)

    spread = Spread(dask=cluster.address)
    prepare(field, tmp_path / "out", TINY, spread=spread, progress=lambda _: advance)
    assert done
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def start(cluster, field, tokenizer, out):
    """The command, as a process of its own."""
    command = [sys.executable, "-m", "ulmo", "tokenize", field, "--out-dir", out]
    command += ["--tokenizer", tokenizer.ref.place]
    environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": cluster.address}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def done(out):
    return len(list(out.glob("tokens/*.npy")))


def test_tokens_if_the_driver_is_killed(cluster, field, expected, tokenizer, tmp_path):
    out = tmp_path / "out"
    process = start(cluster, field, tokenizer, out)
    until = time.monotonic() + 60
    while not done(out) and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < done(out) < RECORDINGS
    tokenize(tokenizer, field, out=out, dask=cluster.address)
    assert contents(out) == expected


@in_make_crash
def test_tokens_if_the_scheduler_is_killed(field, expected, tokenizer, tmp_path):
    (tmp_path / "cluster").mkdir()
    with running(tmp_path / "cluster", workers=1) as cluster:
        listener = at(3, cluster.scheduler.kill)
        out = tmp_path / "out"
        with pytest.raises(JobError, match="start it again, and run the same command again"):
            tokenize(tokenizer, field, out=out, dask=cluster.address, listener=listener)
        cluster.restart()
        tokenize(tokenizer, field, out=out, dask=cluster.address)
    assert contents(out) == expected
