"""Training that is stopped, and goes on as if it had not been."""

import csv
import io
import os
import shutil
import signal
import time

import pytest

from tests.pipelines.train.forks import Forks
from tests.pipelines.training import BUNDLE, MODEL, SETTINGS, Silent, read_csv
from ulmo.pipelines.train.train import train

SMALL = ["-E", "1", "-D", "1", "--EMB", "4", "--CB", "16", "--width", "4", "--seed", "1"]
SMALL += ["--frequency-stride", "8", "--time-stride", "4", "--batch-size", "8", "--epochs", "2"]
SMALL += ["--threads", "2", "--checkpoint-minutes", "1e-6"]
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


def stop(forks, folder, arguments, how, *, rows):
    """Start, and send a signal once losses.csv has more than `rows`; the exit status."""
    process, deadline = forks.start("train", *arguments), time.monotonic() + 120
    while lines(folder / "losses.csv") <= rows + 1 and time.monotonic() < deadline:
        time.sleep(0.002)
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


def test_two_devices_learn_what_one_learns_and_go_on_after_a_kill(
    undisturbed, forks, few_tiles, tmp_path
):
    """The losses of one device, to rounding; a run that was killed ends in the same bytes."""
    whole, killed = (contents_of_two(forks, few_tiles, tmp_path / name) for name in ("a", "b"))
    assert whole == killed
    one, two = (io.StringIO(each["losses.csv"].decode()) for each in (undisturbed, whole))
    for row, expected in zip(csv.DictReader(two), csv.DictReader(one), strict=True):
        assert float(row["total"]) == pytest.approx(float(expected["total"]), rel=1e-3)


def contents_of_two(forks, tiles, folder):
    """What a training on two devices leaves; that of the folder b is killed on the way."""
    arguments = (tiles, folder, *SMALL, "--devices", "2")
    if folder.name == "b":
        assert stop(forks, folder, arguments, signal.SIGKILL, rows=STEPS) == -signal.SIGKILL
        arguments = (tiles, folder, "--resume")
    forks.start("train", *arguments)
    assert forks.status() == 0, forks.errors()
    return contents(folder)


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
    for rows in (1, 2, 3):
        assert stop(forks, folder, resumed, signal.SIGKILL, rows=rows) == -signal.SIGKILL
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
