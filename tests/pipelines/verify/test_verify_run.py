"""ulmo verify of runs: what it finds, and what --repair does about it."""

import os
import shutil
import tracemalloc
from pathlib import Path

import pytest

from tests.outputs import save_checkpoint
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import deny, flip, found
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.checkpoint_files import numbers


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def hole(path):
    with path.open("r+b") as file:
        file.truncate(1 << 28)


FAULTS = [
    ("train.json", flip, "damaged"),
    ("checkpoints/ckpt-5.index", flip, "damaged"),
    ("checkpoints/ckpt-5.index", Path.unlink, "missing"),
    ("checkpoints/ckpt-5.json", flip, "damaged"),
    ("tokenizer/encoder.onnx", flip, "damaged"),
    ("tokenizer", shutil.rmtree, "unfinished"),
    (".tokenizer.new", Path.mkdir, "left_over"),
    ("losses.csv", lambda path: path.write_text("step\n"), "damaged"),
    ("losses.csv", lambda path: path.write_text(path.read_text() * 2), "damaged"),
    ("losses.csv", pipe, "damaged"),
    ("losses.csv", Path.unlink, "missing"),
    ("epochs.csv", Path.unlink, "missing"),
    ("train.json", Path.unlink, "missing"),
]


class TestRuns:
    @pytest.mark.parametrize("name", ["losses.csv", "epochs.csv"])
    def test_a_hole_in_a_log_is_damage_and_not_read(self, name, run):
        hole(run / name)
        tracemalloc.start()
        assert found(run) == {(name, "damaged")}
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6

    @pytest.mark.parametrize(("name", "spoil", "what"), FAULTS)
    def test_what_is_wrong_is_named(self, name, spoil, what, run):
        assert verify(run).faults == []
        spoil(run / name)
        assert found(run) == {(name, what)}

    def test_a_repair_goes_back_to_the_checkpoint_before(self, run):
        folder = run / "checkpoints"
        flip(folder / "ckpt-5.data-00000-of-00001")
        result = verify(run, repair=True)
        assert result.faults == []
        assert result.mended == ["checkpoints: removed ckpt-5, ckpt-3 is the latest"]
        assert numbers(folder) == [3]
        assert not list(folder.glob("ckpt-5*"))
        assert numbers(folder / "best") == [5]

    def test_the_best_epochs_weights_may_be_lost(self, run):
        flip(run / "checkpoints" / "best" / "ckpt-5.index")
        result = verify(run, repair=True)
        assert found(run) == {("checkpoints/best", "missing")}
        assert "goes on from the latest weights" in result.faults[0].remedy
        assert result.mended == ["checkpoints/best: removed ckpt-5, no other is left"]
        assert numbers(run / "checkpoints") == [3, 5]

    def test_where_no_checkpoint_is_whole(self, run):
        for path in (run / "checkpoints").glob("*.index"):
            flip(path)
        result = verify(run, repair=True)
        assert [(fault.path, fault.what) for fault in result.faults] == [("checkpoints", "missing")]
        assert "train again" in result.faults[0].remedy

    @pytest.mark.parametrize("spoil", [Path.unlink, flip])
    def test_checkpoints_whose_hashes_are_gone_stay(self, spoil, run):
        """They may be whole, and nothing else brings the run back."""
        hashes = sorted((run / "checkpoints").rglob("ckpt-*.json"))
        for path in hashes:
            spoil(path)
        before = contents(run)
        result = verify(run, repair=True)
        assert contents(run) == before
        assert result.mended == []
        what = "missing" if spoil is Path.unlink else "damaged"
        expected = [(path.relative_to(run).as_posix(), what) for path in hashes]
        assert sorted((fault.path, fault.what) for fault in result.faults) == sorted(expected)
        assert all("copy it from a backup" in fault.remedy for fault in result.faults)

    def test_one_that_is_damaged_goes_though_another_has_no_hashes(self, run):
        flip(run / "checkpoints" / "ckpt-3.index")
        (run / "checkpoints" / "ckpt-5.json").unlink()
        assert verify(run, repair=True).mended == [
            "checkpoints: removed ckpt-3, ckpt-5 is the latest"
        ]
        assert numbers(run / "checkpoints") == [5]

    def test_checkpoints_without_an_index_stay_if_none_has_one(self, run):
        for path in (run / "checkpoints").glob("*.index"):
            path.unlink()
        before = contents(run)
        assert verify(run, repair=True).mended == []
        assert contents(run) == before

    def test_left_overs_are_removed(self, run):
        (run / ".tokenizer.new").mkdir()
        (run / ".train.json.3.tmp").touch()
        assert verify(run, repair=True).faults == []
        assert not (run / ".tokenizer.new").exists()

    @pytest.mark.parametrize("place", [".tokenizer.old", ".tokenizer.new", ".x.tmp"])
    def test_files_of_others_in_a_left_over_folder_stay(self, run, place):
        (run / place).mkdir()
        (run / place / "notes.txt").write_text("mine")
        assert verify(run, repair=True).mended == []
        assert (run / place / "notes.txt").read_text() == "mine"

    def test_a_run_that_has_just_begun_has_no_logs(self, run):
        shutil.rmtree(run / "tokenizer")
        for path in (run / "checkpoints").glob("ckpt-*"):
            path.unlink()
        save_checkpoint(run / "checkpoints", 1)
        for name in ("losses.csv", "epochs.csv"):
            (run / name).unlink()
        assert found(run) == {("tokenizer", "unfinished")}

    def test_a_damaged_one_goes_and_one_that_cannot_be_read_stays(self, run, monkeypatch):
        flip(run / "checkpoints" / "ckpt-5.index")
        deny(monkeypatch, run / "checkpoints" / "ckpt-3.index")
        result = verify(run, repair=True)
        assert {fault.what for fault in result.faults} == {"unreadable"}
        assert numbers(run / "checkpoints") == [3]
