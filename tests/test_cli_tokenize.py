"""ulmo-tokenize as a user meets it: output, exit status, one line for a mistake."""

import errno
import fcntl
import json
import os
import pty
import re
import struct
import termios
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.commands import TINY, assert_refused, run
from tests.gaps import write_triggered
from tests.small_tokenizers import RATE, sound
from ulmo.cli import exits, spread
from ulmo.cli.prep import prep as prep_command
from ulmo.cli.tokenize import tokenize as tokenize_command
from ulmo.formats import FORMATS
from ulmo.reports import tokenize as tokenize_report

FULL = (
    "ulmo: [Errno 28] No space left on device: make room, and run the same command again to go on\n"
)
INTERRUPTED = "ulmo: interrupted: run the same command again to go on\n"


@pytest.fixture(scope="session")
def bundle(tokenizer_of):
    return ("--tokenizer", tokenizer_of().ref.place)


@pytest.fixture
def field(tmp_path):
    """Four seconds, a gap of six, and four seconds more in a folder."""
    for path in ("S_20230501_000000.wav", "a/S_20230501_000010.wav"):
        (tmp_path / "field" / path).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / "field" / path, sound(4 * RATE), RATE)
    return tmp_path / "field"


class TestTokenize:
    def test_gaps_are_written_as_told(self, bundle, tmp_path):
        """And a recording that nothing triggered is no fault."""
        folder = tmp_path / "field"
        write_triggered(folder / "20230501_120000T.WAV", sound(800), 100, sound(800), rate=RATE)
        soundfile.write(folder / "20230501_130000T.WAV", np.zeros(0), RATE, subtype="PCM_16")
        for gaps, columns in (("keep", 340), ("one", 21), ("omit", 20)):
            out = tmp_path / gaps
            result = run(tokenize_command, folder, *bundle, "--out", out, "--gaps", gaps)
            assert result.exit_code == 0
            line = "130000T.WAV: recorded with a trigger that never fired: it has no sound\n"
            assert result.stdout.count(line) == 1
            assert ("of all tokens are <gap>" in result.stdout) == (gaps == "keep")
            ids = np.load(out / "tokens" / "20230501_120000T.tokens.npy")
            assert len(ids) == columns

    def test_a_line_for_each_recording(self, bundle, troubled, tmp_path):
        out = tmp_path / "tokens"
        files = [troubled / name for name in ("nan.wav", "cut.wav", "empty.wav", "zero.wav")]
        result = run(tokenize_command, *files, *bundle, "--out", out)
        assert result.exit_code == exits.SOME_REFUSED
        assert result.stderr == f"{files[2]}: refused: empty_file (the file has no bytes)\n"
        assert result.stdout.splitlines()[1] == (
            f"{files[1]}: 5.00 s -> 125 x 4 tokens -> {out}/tokens/cut.tokens.npy "
            "[partial: the file ends 80011 frames before its header says]"
        )
        ids = np.load(out / "tokens" / "cut.tokens.npy")
        assert (ids.dtype, ids.shape) == (np.int32, (125, 4))
        ledger = ["recordings.parquet", "token_headers", "tokenize.json"]
        assert sorted(path.name for path in out.iterdir()) == [*ledger, "tokens"]
        for folder, ending in (("tokens", "npy"), ("token_headers", "json")):
            made = {path.name for path in (out / folder).iterdir()}
            assert made == {f"{name}.tokens.{ending}" for name in ("cut", "nan", "zero")}
        again = run(tokenize_command, *files[:2], *bundle, "--out-dir", out)
        assert again.exit_code == 0
        assert again.stdout.count("[was there already]") == 2

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_few_lines_for_a_folder(self, workers, bundle, troubled, tmp_path):
        out = tmp_path / "tokens"
        options = (*bundle, "--out-dir", out, "--workers", workers)
        result = run(tokenize_command, troubled, *options)
        assert result.exit_code == exits.SOME_REFUSED
        assert sorted(line.split(": ")[0] for line in result.stderr.splitlines()) == [
            f"{troubled}/empty.wav",
            f"{troubled}/text.wav",
        ]
        rate, *lines = result.stdout.splitlines()
        assert rate == "rate        100 tokens a second, 1.44 MB an hour; up to 1000 Hz"
        assert [line for line in lines if not line.startswith(("silent", "above_bandwidth"))] == [
            "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired), 0.00 hours",
            f"tokens      {sum(path.stat().st_size // 4 - 32 for path in out.rglob('*.npy'))}",
            f"partial     {troubled}/cut.wav: truncated (the file ends 80011 frames before its "
            "header says)",
            f"output      {out} (recordings.parquet has a row for each recording)",
        ]
        rows = pq.read_table(out / "recordings.parquet").to_pylist()
        assert {row["path"]: row["reason"] for row in rows} == {
            **dict.fromkeys(("a/same.wav", "b/same.wav", "zero.wav")),
            **{"cut.wav": "truncated", "nan.wav": "non_finite"},
            **{"empty.wav": "empty_file", "text.wav": "not_audio"},
        }
        again = run(tokenize_command, troubled, *options)
        assert "; 5 were there already" in again.stdout

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_one_file_in_each_format(self, file_format, bundle, field, tmp_path):
        out = tmp_path / f"y{FORMATS[file_format].suffixes[0].removeprefix('.tokens')}"
        options = (*bundle, "--out", out, "--format", file_format)
        result = run(tokenize_command, field / "S_20230501_000000.wav", *options)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.endswith(f" 4.00 s -> 100 x 4 tokens -> {out}\n")
        made = sorted(path.name for path in tmp_path.iterdir() if path != field)
        endings = [suffix.removeprefix(".tokens") for suffix in FORMATS[file_format].suffixes]
        assert made == sorted(["y.json", *(f"y{ending}" for ending in endings)])

    def test_a_folder_of_one_recording_may_become_one_file(self, bundle, field, tmp_path):
        result = run(tokenize_command, field / "a", *bundle, "--out", tmp_path / "y.npy")
        assert result.exit_code == 0, result.stderr
        assert "recordings.parquet" not in result.stdout
        out = tmp_path / "y.selections.txt"
        options = (*bundle, "--out", out, "--format", "raven", "--ids", "0,1", "--min-columns", 2)
        assert run(tokenize_command, field / "a", *options).exit_code == 0
        tokens = {line.split("\t")[7] for line in out.read_text().splitlines()[1:]}
        assert tokens <= {"c0", "c1"}

    def test_a_timeline(self, bundle, field, tmp_path):
        (field / "empty.wav").touch()
        out = tmp_path / "t.tokens.npy"
        options = (*bundle, "--timeline", "--out", out, "--timezone", "+01:00", "--workers", 2)
        result = run(tokenize_command, field, *options)
        assert result.exit_code == exits.SOME_REFUSED
        assert result.stderr == f"{field}/empty.wav: refused: empty_file (the file has no bytes)\n"
        assert result.stdout.splitlines()[1:] == [
            "recordings  3 (2 ok, 1 refused), 0.00 hours",
            "tokens      1400",
            f"2 recordings, 1 gap, 6 s in all -> 350 x 4 tokens -> {out}",
        ]
        header = json.loads((tmp_path / "t.tokens.json").read_text())
        assert header["start_utc"] == "2023-04-30T23:00:00.000000Z"
        names = [segment["recording"] for segment in header["segments"]]
        assert names == ["S_20230501_000000.wav", "a/S_20230501_000010.wav"]
        endings = ("json", "npy", "npy.recordings.parquet", "npy.tokenize.json")
        made = {path.name for path in tmp_path.iterdir()} - {"field"}
        assert made == {f"t.tokens.{ending}" for ending in endings}
        again = run(tokenize_command, field, *options)
        assert (again.exit_code, again.stderr) == (result.exit_code, result.stderr)
        assert "; 3 were there already" in again.stdout
        assert again.stdout.splitlines()[1:] == result.stdout.splitlines()[2:]

    def test_what_is_shorter_than_a_sample_is_refused(self, bundle, tmp_path):
        soundfile.write(tmp_path / "one.wav", [0.5], 96000)
        result = run(tokenize_command, tmp_path / "one.wav", *bundle)
        assert result.exit_code == exits.SOME_REFUSED
        assert "one.wav: refused: too_short" in result.stderr

    def test_a_pattern_that_fits_no_name_is_told_once(self, bundle, tmp_path):
        for name in ("x230501.wav", "y.wav", "z.wav"):
            soundfile.write(tmp_path / name, sound(RATE), RATE)
        pattern = ("--timestamp-pattern", "x%y%m%d")
        line = "clock       2 of 3 names do not fit --timestamp-pattern: times then come"
        result = run(tokenize_command, tmp_path, *bundle, "--out-dir", tmp_path / "out", *pattern)
        assert (result.exit_code, result.stderr.count(line)) == (0, 1)
        fits = run(tokenize_command, tmp_path / "x230501.wav", *bundle, *pattern)
        assert "clock" not in fits.stdout + fits.stderr
        prepared = run(prep_command, tmp_path, tmp_path / "tiles", *TINY, *pattern)
        assert prepared.stdout.count(line) == 1
        assert "clock" not in run(prep_command, tmp_path, tmp_path / "plain", *TINY).stdout

    def test_a_pattern_that_fits_no_name_at_all_is_an_error(self, bundle, tmp_path):
        soundfile.write(tmp_path / "y.wav", sound(RATE), RATE)
        for command in (
            (tokenize_command, tmp_path, *bundle, "--out-dir", tmp_path / "out"),
            (tokenize_command, tmp_path, *bundle, "--out", tmp_path / "a.npy", "--timeline"),
            (tokenize_command, tmp_path / "y.wav", *bundle),
            (prep_command, tmp_path, tmp_path / "tiles", *TINY),
        ):
            result = run(*command, "--timestamp-pattern", "x%y%m%d")
            assert result.exit_code == exits.WRONG_USAGE
            assert "fits none of the files' names, such as y.wav" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["y.wav"]

    def test_names_that_are_not_understood_are_counted(self, bundle, tmp_path):
        for name in ("20230101_120000_CST.wav", "20230101_120000_EST.wav", "z.wav"):
            soundfile.write(tmp_path / name, sound(RATE), RATE)
        line = "clock       1 of 3 names holds a time that is not understood, such as 20230101_1200"
        result = run(tokenize_command, tmp_path, *bundle, "--out-dir", tmp_path / "out")
        assert (result.exit_code, result.stderr.count(line)) == (0, 1)
        prepared = run(prep_command, tmp_path, tmp_path / "tiles", *TINY)
        assert prepared.stdout.count(line) == 1

    def test_a_name_of_two_lines_and_one_that_is_no_utf8_are_one_line(self, bundle, tmp_path):
        lines = tmp_path / "field" / "a\nb\x1b[31m.wav"
        lines.parent.mkdir()
        lines.write_bytes(b"")
        prepared = run(prep_command, lines.parent, tmp_path / "tiles", *TINY)
        assert r"refused     a\x0ab\x1b[31m.wav: empty_file" in prepared.stdout
        result = run(tokenize_command, lines, *bundle)
        assert r"a\x0ab\x1b[31m.wav: refused: empty_file" in result.stderr
        path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.wav"))
        with path.open("wb") as file:
            soundfile.write(file, sound(RATE), RATE, format="WAV")
        result = run(tokenize_command, path, *bundle)
        shown = f"{tmp_path}/caf\\xe9"
        line = f"{shown}.wav: 1.00 s -> 25 x 4 tokens -> {shown}.tokens.npy\n"
        assert (result.exit_code, result.stdout) == (0, line)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--out", "x", "--out-dir", "y"), ("--out and --out-dir are two outputs",)),
            (("--time-expansion", "0"), ("--time-expansion = 0.0: it must be at least 0.001",)),
            (("--out", "y.npy"), ("y.npy is one file, but 2 recordings were given",)),
            (("--out", "y.csv", "--format", "npy"), ("y.csv is no name for npy: end it with",)),
            (("--channels", "left"), ("channels must be mix, each or a number",)),
            (("--ids", "1"), ("--ids and --min-columns choose runs to label, and npy has none",)),
            (("--ids", "x", "--format", "raven"), ("'x' is not whole numbers",)),
            (
                ("--ids", "64", "--format", "raven"),
                ("--ids: 64 is not an id of this",),
            ),
            (("--timestamp-pattern", "%H"), ("'%H': it has no date",)),
            (("--timezone", "Mars"), ("timezone 'Mars' is not known",)),
            (("--format", "xml"), ("'npy', 'parquet'",)),
            (("--timeline",), ("--timeline makes one file of all: name it with --out",)),
            (("--timeline", "--out-dir", "y"), ("set --out to NAME.tokens.npy",)),
            (("--timeline", "--out", "y.npy", "--channels", "each"), ("has one channel",)),
            (("--workers", "0"), ("--workers",)),
            (("--batch-size", "0"), ("--batch-size",)),
            (("--unk-quantile", "0.5"), ("must be one of 0.9, 0.95, 0.99, 0.999, not 0.5",)),
        ],
    )
    def test_wrong_usage(self, options, words, bundle, field, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert_refused(run(tokenize_command, field, *bundle, *options), *words)
        assert [path.name for path in tmp_path.iterdir()] == ["field"]

    @pytest.mark.parametrize("name", ["o.npy", "o.csv"])
    def test_an_out_dir_is_a_folder_whatever_its_name(self, name, bundle, field, tmp_path):
        result = run(tokenize_command, field, *bundle, "--out-dir", tmp_path / name)
        assert result.exit_code == 0
        assert (tmp_path / name / "recordings.parquet").is_file()
        assert list((tmp_path / name / "tokens").rglob("*.tokens.npy"))

    def test_the_output_line_names_what_was_written(self, bundle, tmp_path):
        """One file with two channels becomes two tables."""
        (tmp_path / "in").mkdir()
        stereo = np.stack([sound(RATE), sound(RATE)[::-1]], axis=1)
        soundfile.write(tmp_path / "in" / "x.wav", stereo, RATE)
        out = tmp_path / "all.csv"
        result = run(tokenize_command, tmp_path / "in", *bundle, "--channels", "each", "--out", out)
        written = [str(tmp_path / f"all.ch{channel}.csv") for channel in (0, 1)]
        assert result.stdout.splitlines()[-1] == f"output      {', '.join(written)}"
        assert all(map(os.path.exists, written))

    def test_what_is_not_there(self, bundle, field, tmp_path):
        assert_refused(run(tokenize_command, field, "--tokenizer", tmp_path), "is not a tokenizer")
        missing = run(tokenize_command, tmp_path / "none.wav", *bundle)
        assert_refused(missing, "none.wav is neither a file nor a folder")
        (tmp_path / "empty").mkdir()
        assert_refused(run(tokenize_command, tmp_path / "empty", *bundle), "no recordings below")

    @pytest.mark.parametrize(
        ("place", "raised", "status", "line"),
        [
            ("os.fsync", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), exits.FAILED, FULL),
            ("ulmo.formats.npy.Npy._write", KeyboardInterrupt(), exits.INTERRUPTED, INTERRUPTED),
        ],
    )
    def test_a_full_disk_and_an_interrupt_are_one_line(
        self, place, raised, status, line, bundle, field, tmp_path, monkeypatch
    ):
        def fail(*_):
            raise raised

        monkeypatch.setattr(place, fail)
        options = (*bundle, "--out-dir", tmp_path / "out", "--workers", 1)
        result = run(tokenize_command, field, *options)
        assert (result.exit_code, result.stderr) == (status, line)
        monkeypatch.undo()
        assert run(tokenize_command, field, *options).exit_code == 0


def test_in_a_file_no_line_of_tokenizing_meets_the_bar(capsys, monkeypatch):
    with tokenize_report.TokenizeProgress() as progress:
        progress.line("before", error=True)
        advance = progress.begin(1000)
        progress.line("not yet shown", error=True)
        monkeypatch.setattr(progress.bar, "delay", 0)
        monkeypatch.setattr(progress.bar, "mininterval", 0)
        advance(500, 1000)
        progress.line("first", error=True)
        progress.line("second", error=True)
    lines = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert lines[:2] == ["before", "not yet shown"]
    rest = [line for line in lines[2:] if line and not line.startswith("tokenizing")]
    assert rest == ["first", "second"]


def test_a_line_of_another_neither_shows_the_bar_early_nor_leaves_its_line_open(capsys):
    with tokenize_report.TokenizeProgress() as progress:
        progress.begin(1000)
        spread.say("dask        1 worker")
    assert capsys.readouterr().err == "dask        1 worker\n"
    with tokenize_report.TokenizeProgress() as progress:
        progress.begin(1000)
        progress.bar.start_t -= 3  # its delay is over
        spread.say("dask        no worker is left")
    err = capsys.readouterr().err
    assert "dask        no worker is left\n" in err
    assert err.endswith("\n")


def test_the_bar_of_tokenizing_fits_a_terminal(monkeypatch):
    """80 columns wide; lines stand above it, on rows of their own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setattr("sys.stdout", screen)
        with tokenize_report.TokenizeProgress() as progress:
            advance = progress.begin(9_876_543_210)
            advance(1_000_000_000, 1_000_000)
            progress.bar.start_t -= 3  # its delay is over
            for _ in range(3):
                time.sleep(0.25)
                advance(2_000_000_000, 100_000_000)
            progress.line("x.wav: refused: empty_file", error=True)
            time.sleep(0.25)
            advance(2_000_000_000, 100_000_000)
        screen.flush()
        shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    drawn = [text for row in shown.split("\n") for text in row.rstrip("\r").split("\r")]
    assert max(map(len, drawn)) <= 80
    bars = [text for text in drawn if text.startswith("tokenizing")]
    assert len(bars) >= 3
    assert all(re.search(r"\d+ times real time\]$", bar.rstrip()) for bar in bars[1:])
    assert "x.wav: refused: empty_file" in drawn
    before = drawn[drawn.index("x.wav: refused: empty_file") - 1]
    assert before.strip() == ""
