"""The files of a run in training: its logs, and its checkpoints, whole and damaged."""

import math
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.outputs import names
from tests.pipelines.training import read_csv
from tests.pipelines.verifying import deny
from ulmo.config import UserError, loss_names
from ulmo.jobs.best_effort import BestEffort
from ulmo.pipelines import run_files
from ulmo.pipelines.run_files import Checkpoints, RunLog
from ulmo.storage.checkpoint_files import damaged_files, numbers, remove_others
from ulmo.storage.csv_log import LogColumns

OBJECTIVES = ("reconstruct", "simclr")
BEST_EFFORT = BestEffort(pytest.fail)
COLUMNS = LogColumns.of(OBJECTIVES)
EPOCH_COLUMNS = COLUMNS.epochs
PIXELS = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
PICTURE = tf.io.encode_png(PIXELS).numpy()


def batch_row(step):
    losses = {name: step + i / 8 for i, name in enumerate(loss_names(OBJECTIVES))}
    return {"step": step, "epoch": (step - 1) // 2, **losses}


def epoch_row(epoch):
    values = {name: epoch + i / 16 for i, name in enumerate(EPOCH_COLUMNS)}
    return {**values, "epoch": epoch, "step": 2 * epoch + 2}


def train(run_dir, steps, *, last_step):
    log = RunLog(run_dir, COLUMNS, BEST_EFFORT, steps=last_step, epochs=last_step // 2)
    for step in steps:
        log.batch(batch_row(step))
        if step % 2 == 0:
            log.epoch(epoch_row(step // 2 - 1), PICTURE)
    log.close()


def rows(path):
    return [{name: float(value) for name, value in row.items()} for row in read_csv(path)]


def events(run_dir):
    """Steps and values of every tag that TensorBoard shows."""
    accumulator = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: {event.step: tf.make_ndarray(event.tensor_proto) for event in accumulator.Tensors(tag)}
        for tag in accumulator.Tags()["tensors"]
    }


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(folder, [1, 2, 3, 4], last_step=0)
    return folder


def test_every_batch_and_epoch_is_a_row(run_dir):
    first = ",".join(COLUMNS.batches) + "\n1,0,"
    assert (run_dir / "losses.csv").read_text().startswith(first)
    assert rows(run_dir / "losses.csv") == [batch_row(step) for step in (1, 2, 3, 4)]
    assert rows(run_dir / "epochs.csv") == [epoch_row(0), epoch_row(1)]


def test_tensorboard_reads_every_figure(run_dir):
    found = events(run_dir)
    expected = {f"batch/{name}" for name in loss_names(OBJECTIVES)}
    expected |= {f"epoch/{name}" for name in EPOCH_COLUMNS if name not in ("epoch", "step")}
    assert set(found) == {*expected, "reconstructions"}
    assert found["batch/perplexity"] == {step: step + 0.5 for step in (1, 2, 3, 4)}
    part = EPOCH_COLUMNS.index("val_reconstruction") / 16
    assert found["epoch/val_reconstruction"] == {2: part, 4: 1 + part}


def test_tensorboard_shows_the_pictures(run_dir):
    pictures = events(run_dir)["reconstructions"]
    assert list(pictures) == [2, 4]
    width, height, content = pictures[4]
    assert (int(width), int(height)) == (5, 3)
    np.testing.assert_array_equal(tf.io.decode_png(content), PIXELS)


def test_figures_without_validation_are_left_empty(tmp_path):
    log = RunLog(tmp_path, COLUMNS, BEST_EFFORT, steps=0, epochs=0)
    log.epoch({"epoch": 0, "step": 2, "train_total": 0.5, "val_reconstruction": None}, PICTURE)
    log.close()
    empty = "," * (len(EPOCH_COLUMNS) - 3)
    assert (tmp_path / "epochs.csv").read_text().splitlines()[1] == f"0,2,0.5{empty}"
    assert set(events(tmp_path)) == {"epoch/train_total", "reconstructions"}


def test_a_resumed_run_goes_on_from_its_checkpoint(run_dir, tmp_path):
    train(tmp_path, [1, 2, 3], last_step=0)
    train(tmp_path, [2, 3, 4], last_step=1)
    for name in ("losses.csv", "epochs.csv"):
        assert (tmp_path / name).read_bytes() == (run_dir / name).read_bytes()


def test_an_epoch_that_was_not_closed_in_the_checkpoint_is_not_told_twice(tmp_path):
    """A kill after its row and before its checkpoint: the one before has all of its steps."""
    train(tmp_path, [1, 2, 3, 4], last_step=0)
    log = RunLog(tmp_path, COLUMNS, BEST_EFFORT, steps=4, epochs=1)
    log.epoch(epoch_row(1), PICTURE)
    log.close()
    assert [row["epoch"] for row in rows(tmp_path / "epochs.csv")] == [0, 1]
    assert [row["step"] for row in rows(tmp_path / "losses.csv")] == [1, 2, 3, 4]


@pytest.fixture
def saved(tmp_path):
    """Checkpoints 1 to 3 of a variable, of which two are kept."""
    value = tf.Variable(tf.zeros(100))
    checkpoints = Checkpoints(tmp_path / "ckpt", keep=2, value=value)
    for number in (1, 2, 3):
        value.assign(tf.fill(100, float(number)))
        checkpoints.save()
    value.assign(tf.zeros(100))
    return checkpoints, value, tmp_path / "ckpt"


def test_the_latest_are_kept_and_nothing_else(saved):
    checkpoints, value, folder = saved
    assert checkpoints.numbers == [2, 3]
    endings = ("data-00000-of-00001", "index", "json")
    assert names(folder) == [f"ckpt-{number}.{ending}" for number in (2, 3) for ending in endings]
    assert checkpoints.restore() == []
    assert set(value.numpy()) == {3}


@pytest.mark.parametrize("ending", ["data-00000-of-00001", "index", "json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_a_damaged_one_is_named_and_passed_over(saved, ending, damage):
    checkpoints, value, folder = saved
    path = folder / f"ckpt-3.{ending}"
    content = bytearray(path.read_bytes())
    if damage == "lose":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-1])
    if (ending, damage) == ("index", "lose"):
        assert checkpoints.restore() == []  # as if it had never been there
    else:
        assert checkpoints.restore() == damaged_files(folder, 3) == [path]
    assert set(value.numpy()) == {2}


def test_where_all_are_damaged_a_line_says_so(saved):
    checkpoints, _, folder = saved
    for path in folder.glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"ckpt-3\.index is damaged, and no checkpoint is whole"):
        checkpoints.restore()


def test_where_all_hashes_are_gone_a_line_says_that_they_are_missing(saved):
    checkpoints, _, folder = saved
    for path in folder.glob("*.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"ckpt-3\.json is missing, .* copy it from a backup"):
        checkpoints.restore()


def test_what_others_put_there_stays(saved):
    _, _, folder = saved
    for name in ("notes.txt", "ckpt-notes.txt", "ckpt-9.json.bak"):
        (folder / name).touch()
    remove_others(folder, [])
    assert names(folder) == ["ckpt-9.json.bak", "ckpt-notes.txt", "notes.txt"]
    assert numbers(folder) == []


@pytest.mark.parametrize("at", ["write_digests", "remove_others"])
def test_a_folder_that_becomes_a_link_to_another_runs(at, saved, tmp_path, monkeypatch):
    checkpoints, _, folder = saved
    others = tmp_path / "others"
    shutil.copytree(folder, others)
    for number in (1, 77):
        (others / f"ckpt-{number}.index").write_text("of another run")
    before = {path.name: path.read_bytes() for path in others.iterdir()}
    original = getattr(run_files, at)

    def swap(*arguments, **options):
        if at == "write_digests":
            original(*arguments, **options)
        folder.rename(tmp_path / "moved")
        folder.symlink_to(others)
        if at == "remove_others":
            original(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(run_files, at, swap)
        with pytest.raises(OSError, match="a link is in its place"):
            checkpoints.save()
    with pytest.raises(OSError, match="a link is in its place"):
        checkpoints.save()
    with pytest.raises(OSError, match="a link is in its place"):
        checkpoints.tidy()
    assert {path.name: path.read_bytes() for path in others.iterdir()} == before


def test_one_that_cannot_be_read_is_not_passed_over(saved, monkeypatch):
    """Going on from the one before would remove it."""
    checkpoints, _, folder = saved
    deny(monkeypatch, folder / "ckpt-3.index")
    with pytest.raises(UserError, match=r"ckpt-3\.index cannot be read .*change its permissions"):
        checkpoints.restore()


def test_what_is_not_a_number_is_left_out(tmp_path):
    log = RunLog(tmp_path, COLUMNS, BEST_EFFORT, steps=0, epochs=0)
    log.batch({**batch_row(1), "usage": math.nan, "total": math.inf})
    log.epoch({**epoch_row(0), "val_sound_usage": math.nan}, PICTURE)
    log.close()
    assert read_csv(tmp_path / "losses.csv")[0]["usage"] == ""
    assert read_csv(tmp_path / "epochs.csv")[0]["val_sound_usage"] == ""
    tags = set(events(tmp_path))
    assert not {"batch/usage", "batch/total", "epoch/val_sound_usage"} & tags
    assert {"batch/perplexity", "epoch/val_usage"} <= tags


def test_a_checkpoint_of_another_ulmo_is_refused_in_one_line(tmp_path):
    Checkpoints(tmp_path, keep=2, step=tf.Variable(3)).save()
    newer = Checkpoints(tmp_path, keep=2, step=tf.Variable(0), seconds=tf.Variable(0.0))
    with pytest.raises(UserError, match="was written by another ulmo: begin a new run"):
        newer.restore()


def test_a_folder_whose_path_is_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    train(folder, [1, 2], last_step=0)
    assert len(list((folder / "tensorboard").iterdir())) == 1
    Checkpoints(folder / "ckpt", keep=2, value=tf.Variable(3.0)).save()
    value = tf.Variable(0.0)
    assert Checkpoints(folder / "ckpt", keep=2, value=value).restore() == []
    assert float(value) == 3
    assert numbers(folder / "ckpt") == [1]
