"""Training that is stopped, and goes on as if it had not been."""

import os
import signal
import time

import pytest

from tests.pipelines.train.forks import Forks
from tests.pipelines.training import BUNDLE, MODEL, SETTINGS, Silent, read_csv
from ulmo.pipelines.train.train import train

SMALL = ["-E", "1", "-D", "1", "--EMB", "4", "--CB", "16", "--width", "4", "--seed", "1"]
SMALL += ["--frequency-stride", "8", "--time-stride", "4", "--batch-size", "8", "--epochs", "2"]
SMALL += ["--threads", "1", "--checkpoint-minutes", "1e-6"]
STEPS = 2  # a run is stopped after as many of the 5 or more of its first epoch


def test_ctrl_c_saves_and_says_how_to_go_on(few_tiles, tmp_path, no_pixels):
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
    """A run on one thread from its start to its end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    forks.start("train", few_tiles, folder, *SMALL)
    assert forks.status() == 0
    return contents(folder)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_was_stopped_ends_as_if_never_stopped(
    undisturbed, forks, few_tiles, tmp_path, how, status
):
    """To the byte, as two runs of one seed on one thread do."""
    folder, deadline = tmp_path / "run", time.monotonic() + 120
    process = forks.start("train", few_tiles, folder, *SMALL)
    while lines(folder / "losses.csv") <= STEPS and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process, how)
    assert forks.status() == status
    assert not (folder / "tokenizer").exists()
    forks.start("train", few_tiles, folder, "--resume")
    assert forks.status() == 0
    assert contents(folder) == undisturbed
