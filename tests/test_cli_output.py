"""--json and --quiet of prep, tokenize and train; sound that is left out of a folder."""

import errno
import io
import json
import os
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tests.commands import TINY, run
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.cli.prep import prep as prep_command
from ulmo.cli.streams import mend_streams
from ulmo.cli.tokenize import tokenize as tokenize_command
from ulmo.reports.train import TrainProgress


@pytest.fixture(scope="session")
def bundle(tokenizer_of):
    return ("--tokenizer", tokenizer_of().ref.place)


@pytest.fixture
def card(troubled):
    """Good, repaired, partial and refused recordings, the trash, and sound that is not read."""
    for name in (".Trash-1000/files/old.wav", "a/._same.wav", "x.WAC", "y.m4a", "a/z.m4a"):
        path = troubled / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((troubled / "zero.wav").read_bytes())
    return troubled


LEFT_OUT = (
    "left out    2 .m4a, 1 .wac: ulmo reads none of these; convert .m4a by ffmpeg, .wac by "
    "Kaleidoscope or wac2wav, to WAV or FLAC"
)
STATUSES = {"ok": 3, "partial": 1, "refused": 2, "repaired": 1}


def commands(bundle, tmp_path):
    return {
        "prep": (prep_command, tmp_path / "out", *TINY, "--workers", 1),
        "tokenize": (tokenize_command, "--out-dir", tmp_path / "out", *bundle),
    }


@pytest.mark.parametrize("name", ["prep", "tokenize"])
def test_what_is_left_out_of_a_folder_is_counted_in_one_line(name, card, bundle, tmp_path):
    command, *options = commands(bundle, tmp_path)[name]
    result = run(command, card, *options)
    assert LEFT_OUT in result.stdout.splitlines()
    assert "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired)" in result.stdout
    again = run(command, card, *options)
    assert LEFT_OUT in again.stdout.splitlines()
    names = pq.read_table(tmp_path / "out" / "recordings.parquet")["path"].to_pylist()
    assert len(names) == 7
    assert not [each for each in names if "Trash" in each or "._" in each]


@pytest.mark.parametrize("name", ["prep", "tokenize"])
def test_json_is_one_object_on_stdout(name, card, bundle, tmp_path):
    command, *options = commands(bundle, tmp_path)[name]
    result = run(command, card, *options, "--json")
    facts = json.loads(result.stdout)
    assert result.exit_code == facts["exit_status"] == exits.SOME_REFUSED
    assert (facts["command"], facts["recordings"]) == (name, 7)
    assert facts["statuses"] == STATUSES
    assert facts["left_out"] == {".m4a": 2, ".wac": 1}
    rows = pq.read_table(tmp_path / "out" / "recordings.parquet").to_pylist()
    assert facts["hours"] == pytest.approx(sum(row["duration_s"] for row in rows) / 3600)
    assert facts["flags"] == Counter(flag for row in rows for flag in row["flags"])
    assert facts["flags"]["silent"] == 2  # zeros, and what was not a number
    if name == "prep":
        assert facts["tiles"] == sum(row["tiles"] for row in rows)
        refused = {one["path"]: one["reason"] for one in facts["refused"]}
        assert refused == {"empty.wav": "empty_file", "text.wav": "not_audio"}
        assert [(one["path"], one["reason"]) for one in facts["partial"]] == [
            ("cut.wav", "truncated")
        ]
        return
    assert facts["tokens"] == sum(row["columns"] * row["bands"] for row in rows)
    files = {one["path"]: one for one in facts["files"]}
    assert {path: one["status"] for path, one in files.items()} == {
        row["path"]: row["status"] for row in rows
    }
    assert files["cut.wav"]["outputs"] == [str(tmp_path / "out" / "tokens" / "cut.tokens.npy")]
    assert files["cut.wav"]["frames_missing"] == 80_011
    assert files["empty.wav"]["outputs"] == []


def test_json_of_single_files_and_of_a_timeline(bundle, card, tmp_path):
    alone = run(tokenize_command, card / "zero.wav", *bundle, "--out", tmp_path / "y.npy", "--json")
    facts = json.loads(alone.stdout)
    assert (facts["exit_status"], facts["statuses"]) == (0, {"ok": 1})
    assert facts["files"][0]["sample_rate"] == 8000
    (tmp_path / "in").mkdir()
    for name in ("S_20230501_000000.wav", "S_20230501_000100.wav"):
        (card / "zero.wav").rename(tmp_path / "in" / name)
        (card / "zero.wav").write_bytes((tmp_path / "in" / name).read_bytes())
    out = tmp_path / "t.tokens.npy"
    joined = run(tokenize_command, tmp_path / "in", *bundle, "--timeline", "--out", out, "--json")
    facts = json.loads(joined.stdout)
    starts = [one["start_utc"] for one in facts["files"]]
    assert starts == ["2023-05-01T00:00:00.000000Z", "2023-05-01T00:01:00.000000Z"]
    assert facts["timeline"]["output"] == str(out)
    assert (facts["timeline"]["recordings"], facts["timeline"]["gaps"]) == (2, 1)


@pytest.mark.parametrize("name", ["prep", "tokenize"])
def test_quiet_prints_errors_alone(name, card, bundle, tmp_path):
    command, *options = commands(bundle, tmp_path)[name]
    result = run(command, card, *options, "--quiet")
    assert (result.exit_code, result.stdout) == (exits.SOME_REFUSED, "")
    lines = result.stderr.splitlines()
    assert [line for line in lines if "refused" not in line] == []
    assert len(lines) == 2
    both = run(command, card, *options, "--quiet", "--json")
    assert json.loads(both.stdout)["statuses"] == STATUSES
    (card / "zero.wav").unlink()
    wrong = run(command, card / "none", *options, "-q")
    assert (wrong.exit_code, wrong.stdout) == (exits.WRONG_USAGE, "")
    assert len(wrong.stderr.splitlines()) == 1


def test_convert_has_both_too(bundle, card, tmp_path):
    run(tokenize_command, card, "--out-dir", tmp_path / "out", *bundle)
    broken = next((tmp_path / "out" / "tokens").rglob("zero.tokens.npy"))
    broken.write_bytes(broken.read_bytes()[:-4])
    options = ("convert", tmp_path / "out", "--format", "jsonl", "--out", tmp_path / "all.jsonl")
    result = run(ulmo, *options, "--json")
    facts = json.loads(result.stdout)
    assert result.exit_code == facts["exit_status"] == exits.SOME_REFUSED
    assert (facts["command"], facts["recordings"], facts["refused"]) == ("convert", 5, 1)
    refused = [one["source"] for one in facts["files"] if one["refusal"]]
    assert refused == [str(broken)]
    assert facts["tokens"] == sum(one["columns"] * one["bands"] for one in facts["files"])
    quiet = run(ulmo, *options, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (exits.SOME_REFUSED, "")
    assert len(quiet.stderr.splitlines()) == 1


ROW = {"epoch": 0, "train_reconstruction": 1.0}
LOSSES = {"reconstruction": 1.0, "commitment": 0.1, "perplexity": 2.0}


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_training_warns_and_no_more(quiet, capsys):
    with TrainProgress(quiet=quiet) as progress:
        progress.note("loading TensorFlow ...")
        progress.warn("ckpt-2 is damaged: going on from the checkpoint before")
        progress.begin(2, 0)
        progress.batch(LOSSES)
        progress.epoch(ROW)
        progress.batch(LOSSES)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("loading" in shown.err, "epoch 1" in shown.err) == (not quiet, not quiet)
    assert "ckpt-2 is damaged: going on" in shown.err
    assert (len(shown.err.splitlines()) == 1) is quiet


class Full(io.StringIO):
    """A stream whose disk is full."""

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stderr_that_is_full_ends_no_training(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    mend_streams()
    with TrainProgress() as progress:
        progress.note("loading TensorFlow ...")
        progress.warn("ckpt-2 is damaged: going on from the checkpoint before")
        progress.begin(2, 0)
        progress.batch(LOSSES)
        progress.epoch(ROW)
