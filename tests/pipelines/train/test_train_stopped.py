"""Training that is stopped, and goes on as if it had not been."""

import signal
import subprocess
import sys
import time

import pytest

from tests.pipelines.training import BUNDLE, FLAGS, MODEL, SETTINGS, Silent, read_csv
from ulmo.pipelines.train.train import RunInterrupt, train


def test_ctrl_c_saves_and_says_how_to_go_on(tiny_tiles, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RunInterrupt, match=r"saved at step 5: go on with .* --resume"):
        train(tiny_tiles, folder, MODEL, SETTINGS, Silent(interrupt_at=5))
    assert len(read_csv(folder / "losses.csv")) == 5
    assert not (folder / "tokenizer").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    reporter = Silent()
    summary = train(tiny_tiles, folder, {}, {}, reporter, resume=True)
    assert reporter.steps == summary.steps
    assert [row["epoch"] for row in reporter.rows] == [0, 1, 2]


def command(tiles, run_dir, *flags):
    return [sys.executable, "-m", "ulmo", "train", str(tiles), str(run_dir), *flags]


def on_one_thread(tiles, run_dir, *flags):
    flags = (*FLAGS, "--epochs", "6", "--threads", "1", "--checkpoint-minutes", "1e-6", *flags)
    return command(tiles, run_dir, *flags)


def contents(run_dir):
    names = [f"tokenizer/{name}" for name in BUNDLE]
    return {name: (run_dir / name).read_bytes() for name in (*names, "losses.csv", "epochs.csv")}


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def stop_after(process, path, steps, how):
    """Wait until so many steps are in the log, then send the signal."""
    deadline = time.monotonic() + 120
    while lines(path) <= steps and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    return process.wait(60)


@pytest.fixture(scope="module")
def undisturbed(tiny_tiles, tmp_path_factory):
    """A run on one thread from its start to its end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(on_one_thread(tiny_tiles, folder), check=True, capture_output=True)
    return contents(folder)


def test_same_seed_and_data_give_the_same_weights(undisturbed, tiny_tiles, tmp_path):
    subprocess.run(on_one_thread(tiny_tiles, tmp_path / "run"), check=True, capture_output=True)
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_was_stopped_ends_as_if_never_stopped(
    undisturbed, tiny_tiles, tmp_path, how, status
):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        on_one_thread(tiny_tiles, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert stop_after(process, folder / "losses.csv", 20, how) == status
    process.communicate()
    assert not (folder / "tokenizer").exists()
    subprocess.run(
        command(tiny_tiles, folder, "--resume"), check=True, capture_output=True, timeout=300
    )
    assert contents(folder) == undisturbed
