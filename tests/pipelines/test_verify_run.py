"""ulmo verify of runs: what it finds, and what --repair does about it."""

import shutil

import pytest

from tests.pipelines.verifying import flip, found
from ulmo.pipelines.checkpoint_files import numbers
from ulmo.pipelines.verify import verify


class TestRuns:
    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / "train.json"), {("train.json", "damaged")}),
            (
                lambda f: flip(f / "checkpoints" / "ckpt-5.index"),
                {("checkpoints/ckpt-5.index", "damaged")},
            ),
            (
                lambda f: (f / "checkpoints" / "ckpt-5.index").unlink(),
                {("checkpoints/ckpt-5.index", "missing")},
            ),
            (
                lambda f: flip(f / "checkpoints" / "ckpt-5.json"),
                {("checkpoints/ckpt-5.json", "damaged")},
            ),
            (
                lambda f: flip(f / "tokenizer" / "encoder.onnx"),
                {("tokenizer/tokenizer.json", "damaged")},
            ),
            (lambda f: shutil.rmtree(f / "tokenizer"), {("tokenizer", "unfinished")}),
            (lambda f: (f / ".tokenizer.new").mkdir(), {(".tokenizer.new", "left_over")}),
            (lambda f: (f / "losses.csv").write_text("step\n"), {("losses.csv", "damaged")}),
            (
                lambda f: (f / "losses.csv").write_text((f / "losses.csv").read_text() * 2),
                {("losses.csv", "damaged")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, run):
        assert verify(run).faults == []
        spoil(run)
        assert found(run) == expected

    def test_a_repair_goes_back_to_the_checkpoint_before(self, run):
        folder = run / "checkpoints"
        flip(folder / "ckpt-5.data-00000-of-00001")
        result = verify(run, repair=True)
        assert result.faults == []
        assert result.mended == ["checkpoints: went back to ckpt-3"]
        assert numbers(folder) == [3]
        assert not list(folder.glob("ckpt-5*"))
        assert numbers(folder / "best") == [5]

    def test_the_best_epochs_weights_may_be_lost(self, run):
        flip(run / "checkpoints" / "best" / "ckpt-5.index")
        result = verify(run, repair=True)
        assert result.faults == []
        assert result.mended == ["checkpoints/best: none is whole, all removed"]
        assert numbers(run / "checkpoints") == [3, 5]

    def test_where_no_checkpoint_is_whole(self, run):
        for path in (run / "checkpoints").glob("*.json"):
            flip(path)
        result = verify(run, repair=True)
        assert [(fault.path, fault.what) for fault in result.faults] == [("checkpoints", "missing")]
        assert "train again" in result.faults[0].remedy

    def test_left_overs_are_removed(self, run):
        (run / ".tokenizer.new").mkdir()
        (run / ".train.json.3.tmp").touch()
        assert verify(run, repair=True).faults == []
        assert not (run / ".tokenizer.new").exists()
