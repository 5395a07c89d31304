"""Training that is stopped, and goes on as if it had not been."""

import csv
import io
import json
import os
import shutil
import signal
import socket
import time

import pytest

from tests.bounded import in_make_crash
from tests.crash.faults import WHY_NOT, can_run
from tests.pipelines.train.forks import Forks
from tests.pipelines.training import BUNDLE, MODEL, SETTINGS, Silent, read_csv
from ulmo.pipelines.train.train import train

SMALL = ["-E", "1", "-D", "1", "--EMB", "4", "--CB", "16", "--width", "4", "--seed", "1"]
SMALL += ["--frequency-stride", "8", "--time-stride", "4", "--batch-size", "8", "--epochs", "2"]
SMALL += ["--threads", "2", "--checkpoint-minutes", "1e-6"]
SAVES = 42
STEPS = 2  # a run is stopped after as many of the 5 or more of its first epoch


def test_ctrl_c_saves_and_says_how_to_go_on(few_tiles, tmp_path, no_pictures):
    folder = tmp_path / "run"
    settings = {**SETTINGS, "epochs": 2}
    with pytest.raises(KeyboardInterrupt, match=r"saved at step 3: go on with .* --resume"):
        train(few_tiles, folder, MODEL, settings, Silent(interrupt_at=3))
    assert len(read_csv(folder / "losses.csv")) == 3
    assert not (folder / "tokenizer").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    reporter = Silent()
    summary = train(few_tiles, folder, {}, {}, reporter, resume=True)
    assert reporter.steps == summary.steps
    assert [row["epoch"] for row in reporter.rows] == [0, 1]


def contents(run_dir):
    names = [f"tokenizer/{name}" for name in BUNDLE]
    return {name: (run_dir / name).read_bytes() for name in (*names, "losses.csv", "epochs.csv")}


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture(scope="module")
def forks():
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def undisturbed(forks, few_tiles, tmp_path_factory):
    """A run on two threads from its start to its end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    forks.start("train", few_tiles, folder, *SMALL)
    assert forks.status() == 0, forks.errors()
    return contents(folder)


def wait_for_rows(folder, rows):
    """Wait until losses.csv has more than `rows`."""
    deadline = time.monotonic() + 120
    while lines(folder / "losses.csv") <= rows + 1 and time.monotonic() < deadline:
        time.sleep(0.002)


def stop(forks, folder, arguments, how, *, rows):
    """Start, and send a signal once losses.csv has more than `rows`; the exit status."""
    process = forks.start("train", *arguments)
    wait_for_rows(folder, rows)
    os.kill(process, how)
    return forks.status()


def test_a_run_that_was_interrupted_ends_as_if_never_stopped(
    undisturbed, forks, few_tiles, tmp_path
):
    """To the byte, as two runs of one seed do."""
    folder = tmp_path / "run"
    arguments = (few_tiles, folder, *SMALL)
    assert stop(forks, folder, arguments, signal.SIGINT, rows=STEPS) == 130
    assert not (folder / "tokenizer").exists()
    forks.start("train", few_tiles, folder, "--resume")
    assert forks.status() == 0, forks.errors()
    assert contents(folder) == undisturbed


@pytest.fixture(scope="module")
def on_two_devices(forks, few_tiles, tmp_path_factory):
    """The same run on two devices."""
    folder = tmp_path_factory.mktemp("two") / "run"
    forks.start("train", few_tiles, folder, *SMALL, "--devices", "2")
    assert forks.status() == 0, forks.errors()
    return contents(folder)


def test_two_devices_learn_what_one_learns(undisturbed, on_two_devices):
    """To rounding."""
    one, two = (
        csv.DictReader(io.StringIO(each["losses.csv"].decode()))
        for each in (undisturbed, on_two_devices)
    )
    for row, expected in zip(two, one, strict=True):
        assert float(row["total"]) == pytest.approx(float(expected["total"]), rel=1e-3)


@in_make_crash  # `make test` kills one of two hosts
def test_a_run_on_two_devices_that_was_killed_ends_as_if_never_stopped(
    on_two_devices, forks, few_tiles, tmp_path
):
    arguments = (few_tiles, tmp_path / "run", *SMALL, "--devices", "2")
    assert stop(forks, tmp_path / "run", arguments, signal.SIGKILL, rows=STEPS) == -signal.SIGKILL
    forks.start("train", few_tiles, tmp_path / "run", "--resume")
    assert forks.status() == 0, forks.errors()
    assert contents(tmp_path / "run") == on_two_devices


def test_a_host_is_killed_and_the_run_goes_on_with_it(on_two_devices, forks, few_tiles, tmp_path):
    """Two hosts end in the bytes of two devices; the one that follows knows neither folder."""
    own = ("127.0.0.1", 0)  # any port that is free
    with socket.create_server(own) as one, socket.create_server(own) as other:
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    leads, follows = (
        {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        for task in ({"type": "worker", "index": 0}, {"type": "worker", "index": 1})
    )
    run = tmp_path / "run"
    follower = forks.start("train", "nowhere", "nothing", *SMALL, **follows)
    leader = forks.start("train", few_tiles, run, *SMALL, **leads)
    wait_for_rows(run, STEPS)
    os.kill(follower, signal.SIGKILL)
    assert (forks.status(leader), forks.status(follower)) == (1, -signal.SIGKILL)
    go_on = f"start ulmo there again, and go on with ulmo-train {few_tiles} {run} --resume"
    assert forks.errors()[-1] == f"ulmo: {addresses[1]} was lost: {go_on}"
    follower = forks.start("train", "nowhere", "nothing", "--threads", "2", **follows)
    forks.start("train", few_tiles, run, "--resume", **leads)
    assert forks.status() == 0, forks.errors()
    os.kill(follower, signal.SIGTERM)
    assert forks.status(follower) == -signal.SIGTERM
    assert not (tmp_path / "nothing").exists()
    assert contents(run) == on_two_devices


def test_kills_full_disks_and_broken_pictures_change_nothing(
    undisturbed, forks, few_tiles, tmp_path
):
    """A full disk is a line and status 1; pictures and events are a line each, and no more.

    `tests.crash.training stops` has more kills.
    """
    folder = tmp_path / "run"
    resumed = (few_tiles, folder, "--resume", "--quiet")

    def fill(fault, *arguments):
        """Run with a full disk; the lines before the last."""
        forks.start("train", *arguments, fault=fault)
        assert forks.status() == 1
        *others, last = forks.errors()
        go_on = f"make room, and go on with ulmo-train {few_tiles} {folder} --resume"
        assert last == f"ulmo: [Errno 28] No space left on device: {go_on}"
        assert not (folder / "tokenizer").exists()
        return others

    assert fill("losses", few_tiles, folder, *SMALL, "--quiet") == []
    assert stop(forks, folder, resumed, signal.SIGKILL, rows=STEPS) == -signal.SIGKILL
    assert fill("checkpoint", *resumed) == []
    assert fill("bundle", *resumed) == [
        "what TensorBoard shows is left out: No space left on device",
        "the picture of an epoch is left out: ValueError: $x^$y is no picture",
    ]
    shutil.rmtree(folder / "tensorboard")
    (folder / "tensorboard").touch()
    (folder / "pictures" / "losses.png").mkdir()
    forks.start("train", *resumed)
    assert forks.status() == 0, forks.errors()
    assert forks.errors() == [
        f"what TensorBoard shows is left out: {folder / 'tensorboard'}: File exists",
        f"the picture losses.png is left out: {folder / 'pictures' / 'losses.png'}: Is a directory",
    ]
    assert contents(folder) == undisturbed


@pytest.mark.skipif(not can_run(), reason=WHY_NOT)
def test_kills_in_a_save(forks):
    """At each of the calls of a save of a checkpoint: what was saved before is restored.

    `make crash` has more of them.
    """
    forks.start("-m", "tests.crash.training", "saves", SAVES)
    assert forks.status() == 0, forks.errors()
    said = forks.errors()
    figures = json.loads("".join(said[said.index("{") :]))
    assert figures["lost"] == 0
    assert figures["kills"] == SAVES >= figures["points"]
    assert figures["saved all the same"] > 0
