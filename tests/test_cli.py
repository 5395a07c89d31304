"""The commands as a user meets them: output, exit status, one line for a mistake."""

import errno
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import termios
import time
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from click.testing import CliRunner

from tests.conftest import SAMPLES
from tests.small_tokenizers import RATE, sound
from ulmo import cli, exits, report
from ulmo.config import AugmentSettings, Config, ModelSettings, PrepSettings, TrainSettings
from ulmo.formats import FORMATS

TINY = ("--frontend", "stft", "-M", "32", "--sample-rate", "8000", "--hop-length", "64")
MODEL = ("--EMB", "4", "--CB", "16", "--width", "8", "--time-stride", "4")


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def assert_refused(result, *words):
    """Status 2, and one line on stderr that has the words."""
    assert result.exit_code == exits.WRONG_USAGE, result.output
    assert result.stdout == ""
    message = result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in message


@pytest.fixture(scope="module")
def trained(tiny_tiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = run(cli.ulmo, "train", tiny_tiles, folder, *MODEL, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert f"next        ulmo-tokenize FILE... --tokenizer {folder}/tokenizer" in result.stdout
    return folder


@pytest.fixture
def troubled(tmp_path):
    """A folder with two good recordings of one name, and five that are in trouble."""
    folder = tmp_path / "field"
    for place in ("a", "b"):
        (folder / place).mkdir(parents=True)
        shutil.copy(SAMPLES / "noise_bursts.wav", folder / place / "same.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("dear diary")
    whole = (SAMPLES / "click_train.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "zero.wav", np.zeros(8000), 8000)
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 8000, subtype="FLOAT")
    return folder


def test_prep_goes_on_past_trouble_and_says_so(troubled, tmp_path):
    out = tmp_path / "tiles"
    result = run(cli.prep, troubled, out, *TINY, "--workers", 1)
    assert result.exit_code == exits.SOME_REFUSED
    assert "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired)" in result.stdout
    assert "refused     empty.wav: empty_file (the file has no bytes)" in result.stdout
    assert "refused     text.wav: not_audio" in result.stdout
    assert f"next        ulmo-train {out} RUN_DIR" in result.stdout
    rows = {row["path"]: row for row in pq.read_table(out / "recordings.parquet").to_pylist()}
    assert {path: row["status"] for path, row in rows.items()} == {
        "a/same.wav": "ok",
        "b/same.wav": "ok",
        "cut.wav": "partial",
        "empty.wav": "refused",
        "nan.wav": "repaired",
        "text.wav": "refused",
        "zero.wav": "ok",
    }
    assert rows["cut.wav"]["frames"] + rows["cut.wav"]["frames_missing"] == 160_000
    for shard in (out / "tiles").iterdir():
        assert np.isfinite(np.load(shard)).all()
    again = run(cli.prep, troubled, out, *TINY)
    assert "prepared already" in again.stdout
    assert again.exit_code == exits.SOME_REFUSED


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-M", "0"), ("tile_size = 0",)),
        (("--overlap", "224"), ("overlap 224", "tile_size 224")),
        (("--fmax", "9000"), ("fmax 9000", "set fmax to 8000")),
        (("--frontend", "cqt", "--bins-per-octave", "4"), ("set bins_per_octave to 29",)),
        (("--hop-length", "600"), ("hop_length 600", "set hop_length to")),
        (("--frontend", "stft", "--n-fft", "256"), ("n_fft 256", "448")),
        (("--views", "0"), ("views = 0",)),
        (("--pcen-gain", "1.5"), ("pcen_gain = 1.5",)),
        (("--hop-factors", "a,b"), ("--hop-factors", "'a,b' is not numbers with commas")),
        (("--hop-factors", "0.8,"), ("'0.8,' is not numbers with commas",)),
        (("--hop-factors", "1,nan"), ("hop_factors.1 = nan",)),
        (("--views", "2", "--hop-factors", "4"), ("hop_factors 4", "hop_length 640")),
        (("--timestamp-pattern", "%H"), ("'%H': it has no date", "%Y%m%d_%H%M%S")),
        (("--timestamp-pattern", ""), ("timestamp_pattern = ''",)),
        (("--timezone", "Mars"), ("timezone 'Mars' is not known", "Europe/Berlin")),
    ],
)
def test_prep_refuses_settings_before_it_begins(flags, words, tmp_path):
    assert_refused(run(cli.prep, SAMPLES, tmp_path / "out", *flags), *words)
    assert not (tmp_path / "out").exists()


def test_prep_refuses_folders_that_do_not_fit(tiny_tiles, tmp_path):
    assert_refused(run(cli.prep, tmp_path / "none", tmp_path / "out"), "none is not a folder")
    assert_refused(run(cli.prep, tmp_path, tmp_path / "out"), "no recordings below")
    changed = run(cli.prep, SAMPLES, tiny_tiles, *TINY, "--overlap", 4)
    assert_refused(changed, "other settings (overlap 0 there, 4 here)")


def test_a_choice_that_is_not_in_the_table_is_named(tmp_path):
    result = run(cli.prep, SAMPLES, tmp_path / "out", "--frontend", "wavelets")
    assert result.exit_code == exits.WRONG_USAGE
    assert "'stft', 'mel', 'cqt'" in result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--CB", "1"), ("codebook_size = 1",)),
        (("--ema-coeff", "1.5"), ("ema_coeff = 1.5",)),
        (("-E", "9"), ("encoder_layers = 9",)),
        (("-M", "64"), ("tiles of 32, not tile_size 64", "-M 64")),
        (("--time-stride", "40"), ("time_stride must be at most tile_size 32",)),
        (("--batch-size", "0"), ("batch_size = 0",)),
        (("--resume",), ("holds no run",)),
    ],
)
def test_train_refuses_settings(flags, words, tiny_tiles, tmp_path):
    assert_refused(run(cli.train, tiny_tiles, tmp_path / "run", *flags), *words)
    assert not (tmp_path / "run").exists()


def test_train_refuses_folders_that_do_not_fit(trained, tiny_tiles, tmp_path):
    assert_refused(run(cli.train, tmp_path / "none", tmp_path / "run"), "ulmo-prep AUDIO_DIR")
    assert_refused(run(cli.train, tiny_tiles, trained, *MODEL), "go on with --resume")


def test_help_names_each_setting_of_a_view_and_its_default():
    shown = " ".join(run(cli.prep, "--help").stdout.split())
    for words in (
        "--views INTEGER",
        "--hop-factors X,Y,...",
        "[default: 0.8,1,1.25]",
        "--window-factors X,Y,...",
        "--pcen-time-constant FLOAT",
        "corpus|recording|tile|pcen|level",
    ):
        assert words in shown


def test_printed_settings_of_views_come_back_through_a_file(tmp_path):
    flags = ("--views", 3, "--hop-factors", "0.8,1", "--noise-db", -50, "--normalization", "pcen")
    printed = run(cli.prep, "x", "y", *flags, "--print-config")
    read = Config.read(tomllib.loads(printed.stdout))
    assert read.augment == AugmentSettings(views=3, hop_factors=(0.8, 1), noise_db=-50)
    assert read.prep == PrepSettings(normalization="pcen")
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    again = run(cli.prep, "x", "y", "--config", path, "--print-config")
    assert again.stdout == printed.stdout
    over = run(cli.prep, "x", "y", "--config", path, "--hop-factors", "2", "--print-config")
    expected = read.augment.model_copy(update={"hop_factors": (2.0,)})
    assert Config.read(tomllib.loads(over.stdout)).augment == expected


def test_printed_settings_of_the_clock_come_back_through_a_file(tmp_path):
    flags = ("--timestamp-pattern", "x%y%m%d", "--timezone", "-03:30")
    printed = run(cli.prep, "x", "y", *flags, "--print-config").stdout
    assert tomllib.loads(printed)["clock"] == {"timestamp_pattern": "x%y%m%d", "timezone": "-03:30"}
    path = tmp_path / "settings.toml"
    path.write_text(printed)
    assert run(cli.prep, "x", "y", "--config", path, "--print-config").stdout == printed


def test_every_command_answers_h():
    for command in (cli.ulmo, cli.prep, cli.train, cli.evaluate, cli.tokenize):
        assert run(command, "-h").output == run(command, "--help").output
        assert run(command, "-h").exit_code == 0


def test_train_takes_the_tile_size_from_the_tiles(tiny_tiles, tmp_path):
    flags = ("--frequency-stride", 32, "--time-stride", 32)
    printed = run(cli.train, tiny_tiles, tmp_path / "run", *flags, "--print-config")
    assert tomllib.loads(printed.stdout)["model"]["tile_size"] == 32
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    again = run(cli.train, tiny_tiles, tmp_path / "run", "--config", path, "--print-config")
    assert again.stdout == printed.stdout


def test_train_without_tiles_claims_no_folder(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "text.wav").write_text("dear diary")
    run(cli.prep, tmp_path / "audio", tmp_path / "tiles", *TINY)
    result = run(cli.train, tmp_path / "tiles", tmp_path / "run")
    assert_refused(result, "no tiles to train on: every recording was refused")
    assert not (tmp_path / "run").exists()


def test_eval_checks_where_the_report_goes_first(trained, tiny_tiles, tmp_path):
    result = run(cli.evaluate, trained, tiny_tiles, "--json", tmp_path / "none" / "x.json")
    assert_refused(result, "there is no folder")


def test_settings_come_from_the_file_and_flags_go_first(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[model]\ncodebook_size = 64\nembedding_dim = 8\n[train]\nseed = 7\n")
    result = run(cli.train, "x", "y", "--config", path, "--CB", 128, "--print-config")
    assert result.exit_code == 0
    printed = tomllib.loads(result.stdout)
    assert printed["model"]["codebook_size"] == 128
    assert printed["model"]["embedding_dim"] == 8
    assert printed["train"]["seed"] == 7
    assert Config.read(printed).model == ModelSettings(codebook_size=128, embedding_dim=8)
    assert Config.read(printed).train == TrainSettings(seed=7)
    printed = tomllib.loads(run(cli.prep, "x", "y", "--print-config").stdout)
    assert Config.read(printed).prep == PrepSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\ncodebok_size = 64", ("unknown setting 'model.codebok_size'",)),
        ("[models]\n", ("unknown setting 'models'",)),
        ("[model", ("cannot be read as TOML",)),
    ],
)
def test_a_settings_file_that_is_wrong_is_refused(text, words, tiny_tiles, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    result = run(cli.train, tiny_tiles, tmp_path / "run", "--config", path)
    assert_refused(result, str(path), *words)


def test_eval_prints_a_table_and_writes_json(trained, tiny_tiles, tmp_path):
    report = tmp_path / "report.json"
    result = run(cli.evaluate, trained, tiny_tiles, "--part", "all", "--batches", "--json", report)
    assert result.exit_code == 0, result.output
    for word in ("best mean per bin", "commitment", "usage", "perplexity", "entropy", "non-silent"):
        assert word in result.stdout
    assert report.exists()
    assert f"written to  {report}" in result.stdout
    assert_refused(run(cli.evaluate, tmp_path, tiny_tiles), "is no tokenizer")


def test_eval_measures_labelled_recordings(trained, tmp_path):
    for label, hertz in (("low", 200), ("high", 900)):
        (tmp_path / "audio" / label).mkdir(parents=True)
        for number in range(2):
            samples = np.sin(2 * np.pi * hertz / 8000 * np.arange(4000 + 500 * number))
            soundfile.write(tmp_path / "audio" / label / f"{number}.wav", samples, 8000)
    options = ("--audio", tmp_path / "audio", "--json", tmp_path / "x.json")
    result = run(cli.evaluate, trained / "tokenizer", *options, "--max-items", 4, "--seed", 1)
    assert result.exit_code == 0, result.output
    for word in ("ABX error", "gain up 6db", "entropy-coded", "perplexity"):
        assert word in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "audio",
        "x.json",
        "x-usage.png",
        "x-codes.png",
    }
    (tmp_path / "audio" / "low" / "y.wav").write_text("no sound")
    refused = run(cli.evaluate, trained, *options)
    assert refused.exit_code == 3
    assert "refused     low/y.wav" in refused.stdout


def test_eval_needs_something_to_measure_on(trained, tmp_path):
    assert_refused(run(cli.evaluate, trained), "nothing to measure on: name TILES_DIR")
    result = run(cli.evaluate, trained, tmp_path, "--labels", tmp_path / "x.csv")
    assert_refused(result, "name them with --audio")


@pytest.fixture(scope="session")
def bundle(tokenizer_of):
    return ("--tokenizer", tokenizer_of().maker[0])


@pytest.fixture
def field(tmp_path):
    """Four seconds, a gap of six, and four seconds more in a folder."""
    for path in ("S_20230501_000000.wav", "a/S_20230501_000010.wav"):
        (tmp_path / "field" / path).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / "field" / path, sound(4 * RATE), RATE)
    return tmp_path / "field"


class TestTokenize:
    def test_a_line_for_each_recording(self, bundle, troubled, tmp_path):
        out = tmp_path / "tokens"
        files = [troubled / name for name in ("nan.wav", "cut.wav", "empty.wav", "zero.wav")]
        result = run(cli.tokenize, *files, *bundle, "--out", out)
        assert result.exit_code == exits.SOME_REFUSED
        assert result.stderr == f"{files[2]}: refused: empty_file (the file has no bytes)\n"
        assert result.stdout.splitlines()[1] == (
            f"{files[1]}: 5.00 s -> 125 x 4 tokens -> {out}/cut.tokens.npy "
            "[partial: the file ends 80011 frames before its header says]"
        )
        ids = np.load(out / "cut.tokens.npy")
        assert (ids.dtype, ids.shape) == (np.int32, (125, 4))
        assert sorted(path.name for path in out.iterdir()) == [
            "cut.tokens.json",
            "cut.tokens.npy",
            "nan.tokens.json",
            "nan.tokens.npy",
            "recordings.json",
            "recordings.parquet",
            "zero.tokens.json",
            "zero.tokens.npy",
        ]
        again = run(cli.tokenize, *files[:2], *bundle, "--out-dir", out)
        assert again.exit_code == 0
        assert again.stdout.count("[was there already]") == 2

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_few_lines_for_a_folder(self, workers, bundle, troubled, tmp_path):
        out = tmp_path / "tokens"
        options = (*bundle, "--out-dir", out, "--workers", workers)
        result = run(cli.tokenize, troubled, *options)
        assert result.exit_code == exits.SOME_REFUSED
        assert sorted(line.split(": ")[0] for line in result.stderr.splitlines()) == [
            f"{troubled}/empty.wav",
            f"{troubled}/text.wav",
        ]
        assert result.stdout.splitlines() == [
            "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired), 0.00 hours",
            f"tokens      {sum(path.stat().st_size // 4 - 32 for path in out.rglob('*.npy'))}",
            f"output      {out}, with recordings.parquet over all",
        ]
        rows = pq.read_table(out / "recordings.parquet").to_pylist()
        assert {row["path"]: row["reason"] for row in rows} == {
            "a/same.wav": None,
            "b/same.wav": None,
            "cut.wav": "truncated",
            "empty.wav": "empty_file",
            "nan.wav": "non_finite",
            "text.wav": "not_audio",
            "zero.wav": None,
        }
        again = run(cli.tokenize, troubled, *options)
        assert "; 5 were there already" in again.stdout

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_one_file_in_each_format(self, file_format, bundle, field, tmp_path):
        out = tmp_path / f"y{FORMATS[file_format].suffixes[0].removeprefix('.tokens')}"
        options = (*bundle, "--out", out, "--format", file_format)
        result = run(cli.tokenize, field / "S_20230501_000000.wav", *options)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.endswith(f" 4.00 s -> 100 x 4 tokens -> {out}\n")
        made = sorted(path.name for path in tmp_path.iterdir() if path != field)
        endings = [suffix.removeprefix(".tokens") for suffix in FORMATS[file_format].suffixes]
        assert made == sorted(["y.json", *(f"y{ending}" for ending in endings)])

    def test_a_folder_of_one_recording_may_become_one_file(self, bundle, field, tmp_path):
        result = run(cli.tokenize, field / "a", *bundle, "--out", tmp_path / "y.npy")
        assert result.exit_code == 0, result.stderr
        assert "recordings.parquet" not in result.stdout

    def test_labels_of_chosen_ids(self, bundle, field, tmp_path):
        out = tmp_path / "y.selections.txt"
        options = (*bundle, "--out", out, "--format", "raven", "--ids", "0,1", "--min-columns", 2)
        assert run(cli.tokenize, field / "a", *options).exit_code == 0
        tokens = {line.split("\t")[7] for line in out.read_text().splitlines()[1:]}
        assert tokens <= {"c0", "c1"}

    def test_a_timeline(self, bundle, field, tmp_path):
        (field / "empty.wav").touch()
        out = tmp_path / "t.tokens.npy"
        options = (*bundle, "--timeline", "--out", out, "--timezone", "+01:00", "--workers", 2)
        result = run(cli.tokenize, field, *options)
        assert result.exit_code == exits.SOME_REFUSED
        assert result.stderr == f"{field}/empty.wav: refused: empty_file (the file has no bytes)\n"
        assert result.stdout.splitlines() == [
            "recordings  3 (2 ok, 1 refused), 0.00 hours",
            "tokens      800",
            f"2 recordings, 1 gaps of 6.0 s in all -> 350 x 4 tokens -> {out}",
        ]
        header = json.loads((tmp_path / "t.tokens.json").read_text())
        assert header["start_utc"] == "2023-04-30T23:00:00.000000Z"
        assert [segment["recording"] for segment in header["segments"]] == [
            "S_20230501_000000.wav",
            "a/S_20230501_000010.wav",
        ]
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "field",
            "t.tokens.json",
            "t.tokens.npy",
            "t.tokens.npy.recordings.json",
            "t.tokens.npy.recordings.parquet",
        ]
        again = run(cli.tokenize, field, *options)
        assert (again.exit_code, again.stderr) == (result.exit_code, result.stderr)
        assert "; 3 were there already" in again.stdout
        assert again.stdout.splitlines()[1:] == result.stdout.splitlines()[1:]

    def test_a_full_disk_is_one_line(self, bundle, field, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        result = run(cli.tokenize, field, *bundle, "--out-dir", tmp_path / "out", "--workers", 1)
        assert result.exit_code == exits.FAILED
        assert result.stderr == (
            "ulmo: [Errno 28] No space left on device: make room, and run the same command again "
            "to go on\n"
        )

    def test_what_is_shorter_than_a_sample_is_refused(self, bundle, tmp_path):
        soundfile.write(tmp_path / "one.wav", [0.5], 96000)
        result = run(cli.tokenize, tmp_path / "one.wav", *bundle)
        assert result.exit_code == exits.SOME_REFUSED
        assert "one.wav: refused: too_short" in result.stderr

    def test_a_pattern_that_fits_no_name_is_told_once(self, bundle, tmp_path):
        for name in ("x230501.wav", "y.wav", "z.wav"):
            soundfile.write(tmp_path / name, sound(RATE), RATE)
        pattern = ("--timestamp-pattern", "x%y%m%d")
        line = "clock       2 of 3 names do not fit --timestamp-pattern: header or usual name tells"
        result = run(cli.tokenize, tmp_path, *bundle, "--out-dir", tmp_path / "out", *pattern)
        assert (result.exit_code, result.stderr.count(line)) == (0, 1)
        fits = run(cli.tokenize, tmp_path / "x230501.wav", *bundle, *pattern)
        assert "clock" not in fits.stdout + fits.stderr
        prepared = run(cli.prep, tmp_path, tmp_path / "tiles", *TINY, *pattern)
        assert prepared.stdout.count(line) == 1
        assert "clock" not in run(cli.prep, tmp_path, tmp_path / "plain", *TINY).stdout

    def test_a_name_of_two_lines_is_told_on_one(self, bundle, tmp_path):
        (tmp_path / "a\nb\x1b[31m.wav").write_bytes(b"")
        prepared = run(cli.prep, tmp_path, tmp_path / "tiles", *TINY)
        assert r"refused     a\nb\x1b[31m.wav: empty_file" in prepared.stdout
        result = run(cli.tokenize, tmp_path / "a\nb\x1b[31m.wav", *bundle)
        assert r"a\nb\x1b[31m.wav: refused: empty_file" in result.stderr

    def test_a_name_that_is_no_utf8_is_told(self, bundle, tmp_path):
        path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.wav"))
        with path.open("wb") as file:
            soundfile.write(file, sound(RATE), RATE, format="WAV")
        result = run(cli.tokenize, path, *bundle)
        assert result.exit_code == 0
        assert result.stdout == (
            f"{tmp_path}/caf\\xe9.wav: 1.00 s -> 25 x 4 tokens -> {tmp_path}/caf\\xe9.tokens.npy\n"
        )

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--out", "x", "--out-dir", "y"), ("--out and --out-dir are two outputs",)),
            (("--out-dir", "y.npy"), ("y.npy is named as a file: use --out",)),
            (("--out", "y.npy"), ("y.npy is one file, but 2 recordings were given",)),
            (("--out", "y.csv"), ("y.csv is no name for npy: end it with .tokens.npy",)),
            (("--channels", "left"), ("channels must be mix, each or a number",)),
            (("--ids", "1"), ("--ids and --min-columns choose runs to label, and npy has none",)),
            (("--ids", "x", "--format", "raven"), ("'x' is not whole numbers",)),
            (("--ids", "64", "--format", "raven"), ("they are 0 to 63",)),
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
        assert_refused(run(cli.tokenize, field, *bundle, *options), *words)
        assert [path.name for path in tmp_path.iterdir()] == ["field"]

    def test_what_is_not_there(self, bundle, field, tmp_path):
        assert_refused(run(cli.tokenize, field, "--tokenizer", tmp_path), "is no tokenizer")
        missing = run(cli.tokenize, tmp_path / "none.wav", *bundle)
        assert_refused(missing, "none.wav is neither a file nor a folder")
        (tmp_path / "empty").mkdir()
        assert_refused(run(cli.tokenize, tmp_path / "empty", *bundle), "no recordings below")

    def test_a_full_disk_and_an_interrupt_are_one_line(self, bundle, field, tmp_path, monkeypatch):
        interrupted = "interrupted: run the same command again to go on"
        for raised, status, words in (
            (OSError(28, "No space left on device"), exits.FAILED, "No space left on device"),
            (KeyboardInterrupt(), exits.INTERRUPTED, interrupted),
        ):

            def fail(*_, raised=raised):
                raise raised

            monkeypatch.setattr("ulmo.formats.npy.Npy._write", fail)
            result = run(cli.tokenize, field, *bundle, "--out-dir", tmp_path / "out")
            assert result.exit_code == status
            assert len(result.stderr.splitlines()) == 1
            assert words in result.stderr
        monkeypatch.undo()
        result = run(cli.tokenize, field, *bundle, "--out-dir", tmp_path / "out")
        assert result.exit_code == 0


def test_in_a_file_no_line_of_tokenizing_meets_the_bar(capsys, monkeypatch):
    with report.TokenizeProgress() as progress:
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
    assert [line for line in lines[2:] if line and not line.startswith("tokenizing")] == [
        "first",
        "second",
    ]


def test_the_bar_of_tokenizing_fits_a_terminal(monkeypatch):
    """80 columns wide; lines stand above it, on rows of their own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setattr("sys.stdout", screen)
        with report.TokenizeProgress() as progress:
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


def test_an_interrupt_is_status_130_and_a_full_disk_1(monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for raised, status in ((interrupted, exits.INTERRUPTED), (full, exits.FAILED)):
        monkeypatch.setattr("ulmo.pipelines.prep.prepare", raised)
        result = run(cli.prep, SAMPLES, tmp_path / "out")
        assert result.exit_code == status
        assert len(result.stderr.splitlines()) == 1
