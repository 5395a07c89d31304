"""ulmo-tokenize run again: after a kill, wherever it came, and after any change."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.bounded import some_of
from tests.oracles import wav_bytes
from tests.outputs import names
from tests.pipelines.recordings import (
    NON_UTF8,
    RATE,
    before_tables,
    contents,
    count_moves,
    counting,
    doomed,
    named,
    noise,
    read_complete,
    run_killed,
    stats,
    write,
)
from tests.pipelines.tokenizing import hidden, tokenize
from ulmo.pipelines.tokenize import tokenize as pipeline

JOURNAL = ".tokenize.jsonl"


@pytest.fixture
def field(tmp_path):
    """Three good recordings, one of them stereo and one of an odd name, and two that are not."""
    folder = tmp_path / "field"
    write(folder / "a.wav", noise(3000, 1))
    write(folder / "b" / "stereo.wav", noise(3000, 2, channels=2))
    write(folder / "b" / NON_UTF8, noise(3000, 3))
    (folder / "b" / "empty.wav").write_bytes(b"")
    cut = wav_bytes(bytes(4000), sample_rate=RATE)[:-1000]
    (folder / "cut.wav").write_bytes(cut)
    return folder


@pytest.fixture
def calls(monkeypatch):
    """Names of the recordings that are truly tokenized."""
    done = []
    monkeypatch.setattr(pipeline, "tokenize_recording", counting(done, pipeline.tokenize_recording))
    return lambda: [arguments[2].name.as_posix() for arguments in done]


class TestKilled:
    @pytest.mark.kills
    @pytest.mark.parametrize(
        "how", [{"channels": "each"}, {"file_format": "megatron"}, {"file_format": "parquet"}]
    )
    def test_at_the_move_of_each_file(self, how, tokenizer, field, tmp_path, monkeypatch):
        """What comes out is the same to the last byte, and nothing hidden stays."""
        for name in ("cut.wav", f"b/{NON_UTF8}"):
            (field / name).unlink()
        moves = count_moves(
            monkeypatch, tokenize, tokenizer, field, out=tmp_path / "undisturbed", **how
        )
        undisturbed = contents(tmp_path / "undisturbed")
        assert moves == len(undisturbed) + 2  # the journal, and tokenize.json twice
        for number in some_of(range(moves), str(how)):
            out = tmp_path / f"out{number}"
            run_killed(monkeypatch, doomed(number), tokenize, tokenizer, field, out=out, **how)
            assert not read_complete(out, "tokenize.json")
            tokenize(tokenizer, field, out=out, **how)
            assert contents(out) == undisturbed
            assert hidden(out) == []

    def test_what_was_done_is_not_done_again(self, tokenizer, field, tmp_path, monkeypatch, calls):
        run_killed(
            monkeypatch, named("cut.tokens.json"), tokenize, tokenizer, field, out=tmp_path / "out"
        )
        assert len(calls()) == 5
        results = tokenize(tokenizer, field, out=tmp_path / "out")
        assert calls()[5:] == ["b/empty.wav", "cut.wav"]
        assert [result.reused for result in results] == [True, True, False, True, False]
        fresh = tokenize(tokenizer, field, out=tmp_path / "fresh")
        assert [result.outcome for result in results] == [result.outcome for result in fresh]

    def test_for_good_in_the_middle_of_it(self, tokenizer, tmp_path):
        """SIGKILL to a real command and its workers; they are gone, and the rest is done."""
        for number in range(60):
            write(tmp_path / "in" / f"{number:02d}.wav", noise(60_000, number))
        out = tmp_path / "out"
        process = start(tokenizer, out, 2, lambda: lines_of(out / JOURNAL) > 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done = lines_of(out / JOURNAL)
        assert 3 < done < 60
        results = tokenize(tokenizer, tmp_path / "in", out=out)
        assert sum(result.reused for result in results) == done
        tokenize(tokenizer, tmp_path / "in", out=tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_by_ctrl_c(self, workers, tokenizer, tmp_path):
        """All processes hear it; one line is said, and no process goes on with its recording."""
        for number in range(3):
            write(tmp_path / "in" / f"{number}.wav", noise(RATE * 3000, number))
        out = tmp_path / "out"
        process = start(tokenizer, out, workers, lambda: list(out.glob("tokens/.*.npy.*.tmp")))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.decode().strip() == ("ulmo: interrupted: run the same command again to go on")
        assert names(out) == [JOURNAL, "token_headers", "tokenize.json", "tokens"]
        assert names(out / "tokens") == []


def start(tokenizer, out, workers, is_ready):
    """Start the command on the recordings in `in` beside its output, and wait until it is ready."""
    command = [sys.executable, "-m", "ulmo", "tokenize", out.parent / "in", "--out-dir", out]
    command += ["--tokenizer", tokenizer.ref.place, "--workers", str(workers)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not is_ready() and time.monotonic() < until:
        time.sleep(0.002)
    return process


def lines_of(path):
    """Lines of a journal with rows: not the first."""
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


class TestChanged:
    @pytest.fixture
    def out(self, tokenizer, field, tmp_path, calls):
        """An output that is complete."""
        tokenize(tokenizer, field, out=tmp_path / "out")
        assert calls() == ["a.wav", f"b/{NON_UTF8}", "b/empty.wav", "b/stereo.wav", "cut.wav"]
        return tmp_path / "out"

    @pytest.fixture
    def again(self, tokenizer, field, out, calls):
        """A function that runs the job again, and tells what was done again."""

        def again(**how):
            before = len(calls())
            tokenize(tokenizer, field, out=out, **how)
            return calls()[before:]

        return again

    def test_nothing_but_what_was_refused(self, out, again):
        before = contents(out)
        assert again() == ["b/empty.wav"]
        assert contents(out) == before

    def test_an_output_that_is_complete_is_not_touched(self, field, out, again):
        (field / "b" / "empty.wav").unlink()
        again()
        before = stats(out)
        assert again() == []
        assert stats(out) == before

    @pytest.mark.parametrize("lost", ["tokens/a.tokens.npy", "token_headers/a.tokens.json"])
    def test_an_output_that_is_lost(self, lost, out, again):
        before = contents(out)
        (out / lost).unlink()
        assert again() == ["a.wav", "b/empty.wav"]
        assert contents(out) == before

    def test_one_file_of_two_that_is_lost(self, tokenizer, field, tmp_path, calls):
        out = tmp_path / "out"
        tokenize(tokenizer, field, out=out, file_format="megatron")
        before = contents(out)
        (out / "tokens" / "a.tokens.idx").unlink()
        tokenize(tokenizer, field, out=out, file_format="megatron")
        assert calls()[5:] == ["a.wav", "b/empty.wav"]
        assert contents(out) == before

    @pytest.mark.parametrize("change", ["size", "time", "ends", "repaired", "added", "gone"])
    def test_a_recording(self, change, field, tokenizer, out, again, tmp_path):
        path, expected = field / "a.wav", ["a.wav", "b/empty.wav"]
        status = path.stat()
        match change:
            case "size":
                write(path, noise(2000, 1))
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            case "time":
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            case "ends":
                content = bytearray(path.read_bytes())
                content[-1] ^= 1
                path.write_bytes(content)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            case "repaired":
                shutil.copy(path, field / "b" / "empty.wav")
                expected = ["b/empty.wav"]
            case "added":
                write(field / "b" / "c.wav", noise(2000, 4))
                expected = ["b/c.wav", "b/empty.wav"]
            case "gone":
                path.unlink()
                (out / "tokens" / "a.tokens.npy").unlink()
                (out / "token_headers" / "a.tokens.json").unlink()
                expected = ["b/empty.wav"]
        assert again() == expected
        tokenize(tokenizer, field, out=tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    def test_how_it_is_computed_is_no_setting(self, out, again):
        assert again(batch_size=4) == ["b/empty.wav"]

    def test_an_output_that_another_tokenizer_wrote_over(self, tokenizer_of, field, out, again):
        before = contents(out)
        tokenize(tokenizer_of("mel"), field / "a.wav", out=out / "tokens" / "a.tokens.npy")
        assert contents(out) != before
        assert again() == ["a.wav", "b/empty.wav"]
        assert contents(out) == before

    def test_the_folder_may_be_moved(self, tokenizer, field, out, tmp_path, calls):
        out.rename(tmp_path / "elsewhere")
        before = len(calls())
        tokenize(tokenizer, field, out=tmp_path / "elsewhere")
        assert len(calls()) == before + 1


class TestDamaged:
    @pytest.fixture
    def killed(self, tokenizer, field, tmp_path, monkeypatch):
        """An output whose job was killed before its last move."""
        run_killed(monkeypatch, before_tables, tokenize, tokenizer, field, out=tmp_path / "out")
        assert lines_of(tmp_path / "out" / JOURNAL) == 5
        return tmp_path / "out"

    @pytest.mark.parametrize(
        "change", [{"channels": None}, {"columns": 1}, {"unknown": 1}, {"outputs": ["../../a.wav"]}]
    )
    def test_rows_that_do_not_fit_their_recording(self, change, tokenizer, field, killed):
        """A ledger would believe them: what it does not, its own tests show."""
        journal = killed / JOURNAL
        entries = [json.loads(line) for line in journal.read_text().splitlines()]
        assert entries[0] == {"expected": 5}
        for entry in entries[1:]:
            entry["rows"] = [{**row, **change} for row in entry["rows"]]
        journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        tokenize(tokenizer, field, out=killed)
        tokenize(tokenizer, field, out=killed.parent / "fresh")
        assert contents(killed) == contents(killed.parent / "fresh")

    def test_a_table_below_a_folder_that_looks_like_a_partition(
        self, tokenizer, field, tmp_path, calls
    ):
        out = tmp_path / "site=3" / "out"
        tokenize(tokenizer, field, out=out)
        before = len(calls())
        tokenize(tokenizer, field, out=out)
        assert len(calls()) == before + 1


def test_beside_recordings_a_killed_file_is_tidied_and_others_are_not(tokenizer, tmp_path):
    write(tmp_path / "x.wav", noise(3000, 1))
    for name in (".x.tokens.npy.77.tmp", ".y.tokens.npy.77.tmp", ".notes.tmp"):
        (tmp_path / name).touch()
    tokenize(tokenizer, tmp_path / "x.wav")
    kept = [".notes.tmp", ".y.tokens.npy.77.tmp", "x.tokens.json", "x.tokens.npy", "x.wav"]
    assert names(tmp_path) == kept
