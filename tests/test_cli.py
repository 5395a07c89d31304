"""The commands as a user meets them: output, exit status, one line for a mistake."""

import gc
import shutil
import sys
import tomllib

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.commands import TINY, assert_refused, run
from tests.conftest import SAMPLES
from ulmo.cli import exits
from ulmo.cli.evaluate import evaluate as evaluate_command
from ulmo.cli.main import ulmo
from ulmo.cli.prep import prep as prep_command
from ulmo.cli.tokenize import tokenize as tokenize_command
from ulmo.cli.train import train as train_command
from ulmo.config import Config, ModelSettings, TrainSettings

MODEL = ("-E", "2", "-D", "2", "--EMB", "4", "--CB", "16", "--width", "8", "--time-stride", "4")


@pytest.fixture(scope="module")
def trained(few_tiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = run(ulmo, "train", few_tiles, folder, *MODEL, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert f"next        ulmo-tokenize FILE... --tokenizer {folder}/tokenizer" in result.stdout
    return folder


def test_prep_goes_on_past_trouble_and_says_so(troubled, tmp_path):
    out = tmp_path / "tiles"
    result = run(prep_command, troubled, out, *TINY, "--workers", 1)
    assert result.exit_code == exits.SOME_REFUSED
    assert "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired)" in result.stdout
    assert "refused     empty.wav: empty_file (the file has no bytes)" in result.stdout
    assert "refused     text.wav: not_audio" in result.stdout
    lost = "truncated (the file ends 80011 frames before its header says)"
    assert f"partial     cut.wav: {lost}" in result.stdout
    assert f"next        ulmo-train {out} RUN_DIR" in result.stdout
    rows = {row["path"]: row for row in pq.read_table(out / "recordings.parquet").to_pylist()}
    refused = {"empty.wav": "refused", "text.wav": "refused"}
    good = dict.fromkeys(("a/same.wav", "b/same.wav", "zero.wav"), "ok")
    expected = {**refused, **good, "cut.wav": "partial", "nan.wav": "repaired"}
    assert {path: row["status"] for path, row in rows.items()} == expected
    assert rows["cut.wav"]["frames"] + rows["cut.wav"]["frames_missing"] == 160_000
    for shard in (out / "tiles").iterdir():
        assert np.isfinite(np.load(shard)).all()
    again = run(prep_command, troubled, out, *TINY)
    assert "prepared already" in again.stdout
    assert again.exit_code == exits.SOME_REFUSED


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-M", "0"), ("--tile-size = 0: it must be",)),
        (("--overlap", "224"), ("overlap 224", "tile_size 224")),
        (("--fmax", "9000"), ("fmax 9000", "set fmax to 8000")),
        (("--frontend", "cqt", "--bins-per-octave", "4"), ("set bins_per_octave to 29",)),
        (("--hop-length", "600"), ("hop_length 600", "set hop_length to")),
        (("--frontend", "stft", "--n-fft", "256"), ("n_fft 256", "448")),
        (("--views", "0"), ("--views = 0",)),
        (("--pcen-gain", "1.5"), ("--pcen-gain = 1.5: it must be at most 1",)),
        (("--hop-factors", "a,b"), ("--hop-factors", "'a,b' is not numbers with commas")),
        (("--hop-factors", "0.8,"), ("'0.8,' is not numbers with commas",)),
        (("--hop-factors", "1,nan"), ("hop_factors.1 = nan",)),
        (("--views", "2", "--hop-factors", "4"), ("hop_factors 4", "hop_length 640")),
        (("--timestamp-pattern", "%H"), ("'%H': it has no date", "%Y%m%d_%H%M%S")),
        (("--timestamp-pattern", ""), ("--timestamp-pattern = ''",)),
        (("--timezone", "Mars"), ("timezone 'Mars' is not known", "Europe/Berlin")),
    ],
)
def test_prep_refuses_settings_before_it_begins(flags, words, tmp_path):
    assert_refused(run(prep_command, SAMPLES, tmp_path / "out", *flags), *words)
    assert not (tmp_path / "out").exists()


def test_prep_refuses_folders_that_do_not_fit(tiny_tiles, tmp_path):
    assert_refused(run(prep_command, tmp_path / "none", tmp_path / "out"), "none does not exist")
    assert_refused(run(prep_command, tmp_path, tmp_path / "out"), "no recordings below")
    changed = run(prep_command, SAMPLES, tiny_tiles, *TINY, "--overlap", 4)
    assert_refused(changed, "other settings (overlap there 0, here 4)")
    unknown = run(prep_command, SAMPLES, tmp_path / "out", "--frontend", "wavelets")
    assert_refused(unknown, "'stft', 'mel', 'cqt'")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--CB", "1"), ("--codebook-size = 1",)),
        (("--ema-coeff", "1.5"), ("--ema-coeff = 1.5",)),
        (("-E", "9"), ("--encoder-layers = 9",)),
        (("-M", "64"), ("tiles of 32, not tile_size 64", "-M 64")),
        (("--time-stride", "40"), ("time_stride must be at most tile_size 32",)),
        (("--batch-size", "0"), ("--batch-size = 0",)),
        (("--resume",), ("holds no run",)),
        (("--objective", "juggle"), ("objective = 'juggle'", "no objective", "next_frame")),
        (("--objective", "byol=0"), ("byol=0 is not a weight",)),
        (("--objective", "denoising"), ("denoising is now called denoise",)),
        (("--beside", "tiles"), ("only abx_choice uses beside: leave it out",)),
        (("--objective", "wav2vec2", "--quantizer", "kmeans"), ("set quantizer to ema or",)),
    ],
)
def test_train_refuses_settings(flags, words, tiny_tiles, tmp_path):
    assert_refused(run(train_command, tiny_tiles, tmp_path / "run", *flags), *words)
    assert not (tmp_path / "run").exists()


def test_train_refuses_folders_that_do_not_fit(trained, few_tiles, tmp_path):
    assert_refused(run(train_command, tmp_path / "none", tmp_path / "run"), "ulmo-prep AUDIO_DIR")
    assert_refused(run(train_command, few_tiles, trained, *MODEL), "go on with --resume")


def test_help_names_each_setting_of_a_view_and_its_default():
    shown = " ".join(run(prep_command, "--help").stdout.split())
    for words in (
        *("--views INTEGER", "--hop-factors X,Y,...", "[default: 0.8,1,1.25]"),
        *("--window-factors X,Y,...", "--pcen-time-constant FLOAT"),
        "corpus|recording|tile|pcen|level",
    ):
        assert words in shown
    for command in (ulmo, prep_command, train_command, evaluate_command, tokenize_command):
        assert run(command, "-h").output == run(command, "--help").output


WEIGHTED = "reconstruct=1,next_frame=0.1234567"


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        (prep_command, (), {"prep": {}, "augment": {}, "clock": {}}),
        (
            prep_command,
            ("--views", 3, "--hop-factors", "0.8,1", "--noise-db", -50, "--normalization", "pcen"),
            {
                "augment": {"views": 3, "hop_factors": [0.8, 1], "noise_db": -50},
                "prep": {"normalization": "pcen"},
            },
        ),
        (
            prep_command,
            ("--timestamp-pattern", "x%y%m%d", "--timezone", "-03:30"),
            {"clock": {"timestamp_pattern": "x%y%m%d", "timezone": "-03:30"}},
        ),
        (train_command, ("--objective", "simclr"), {"train": {"objective": "simclr"}}),
        (train_command, ("--objective", "byol=2"), {"train": {"objective": "byol=2"}}),
        (
            train_command,
            ("--objective", WEIGHTED.replace(",", ", "), "--init", "first"),
            {"train": {"objective": WEIGHTED, "init": "first"}},
        ),
        (
            train_command,
            ("--objective", "abx_choice", "--beside", "stft", "--beside", "cqt"),
            {"train": {"objective": "abx_choice", "beside": ["stft", "cqt"]}},
        ),
    ],
)
def test_printed_settings_come_back_through_a_file(command, flags, expected, tmp_path):
    """All others have their defaults; a flag goes before the file."""
    printed = run(command, "x", "y", *flags, "--print-config").stdout
    assert Config.read(tomllib.loads(printed)) == Config.read(expected)
    path = tmp_path / "settings.toml"
    path.write_text(printed)
    again = run(command, "x", "y", "--config", path, "--print-config").stdout
    assert again == printed
    over = "--batch-size" if command is train_command else "--overlap"
    changed = run(command, "x", "y", "--config", path, over, 7, "--print-config").stdout
    table, name = ("train", "batch_size") if command is train_command else ("prep", "overlap")
    assert tomllib.loads(changed)[table].pop(name) == 7


def test_train_takes_the_tile_size_from_the_tiles(tiny_tiles, tmp_path):
    flags = ("--frequency-stride", 32, "--time-stride", 32)
    printed = run(train_command, tiny_tiles, tmp_path / "run", *flags, "--print-config")
    assert tomllib.loads(printed.stdout)["model"]["tile_size"] == 32
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    again = run(train_command, tiny_tiles, tmp_path / "run", "--config", path, "--print-config")
    assert again.stdout == printed.stdout


def test_train_without_tiles_claims_no_folder(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "text.wav").write_text("dear diary")
    run(prep_command, tmp_path / "audio", tmp_path / "tiles", *TINY)
    result = run(train_command, tmp_path / "tiles", tmp_path / "run")
    assert_refused(result, "no tiles to train on: every recording was refused")
    assert not (tmp_path / "run").exists()


def test_settings_come_from_the_file_and_flags_go_first(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[model]\ncodebook_size = 64\nembedding_dim = 8\n[train]\nseed = 7\n")
    result = run(train_command, "x", "y", "--config", path, "--CB", 128, "--print-config")
    read = Config.read(tomllib.loads(result.stdout))
    assert read.model == ModelSettings(codebook_size=128, embedding_dim=8)
    assert read.train == TrainSettings(seed=7)


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
    result = run(train_command, tiny_tiles, tmp_path / "run", "--config", path)
    assert_refused(result, str(path), *words)


def test_eval_prints_a_table_and_writes_json(trained, few_tiles, tmp_path):
    report = tmp_path / "report.json"
    result = run(
        evaluate_command, trained, few_tiles, "--part", "all", "--batches", "--json", report
    )
    assert result.exit_code == 0, result.output
    for word in ("best mean per bin", "commitment", "usage", "perplexity", "entropy", "non-silent"):
        assert word in result.stdout
    assert report.exists()
    assert f"written to  {report}" in result.stdout
    assert_refused(run(evaluate_command, tmp_path, few_tiles), "is not a tokenizer")


def test_eval_measures_labelled_recordings(trained, tmp_path):
    for label, hertz in (("low", 200), ("high", 900)):
        (tmp_path / "audio" / label).mkdir(parents=True)
        for number in range(2):
            samples = np.sin(2 * np.pi * hertz / 8000 * np.arange(4000 + 500 * number))
            soundfile.write(tmp_path / "audio" / label / f"{number}.wav", samples, 8000)
    options = ("--audio", tmp_path / "audio", "--json", tmp_path / "x.json")
    result = run(evaluate_command, trained / "tokenizer", *options, "--max-items", 4, "--seed", 1)
    assert result.exit_code == 0, result.output
    for word in ("ABX error", "gain up 6db", "entropy-coded", "perplexity"):
        assert word in result.stdout
    made = {path.name for path in tmp_path.iterdir()} - {"audio"}
    assert made == {"x.json", "x-usage.png", "x-codes.png"}
    (tmp_path / "audio" / "low" / "y.wav").write_text("no sound")
    refused = run(evaluate_command, trained, *options)
    assert refused.exit_code == 3
    assert "refused     low/y.wav" in refused.stdout


@pytest.mark.parametrize("name", ["eval.json", "eval-usage.png", "eval-codes.png"])
def test_eval_replaces_its_own_files_alone(name, trained, few_tiles, tmp_path, monkeypatch):
    """In a place that nobody named."""
    shutil.copytree(trained / "tokenizer", tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    arguments = (tmp_path / "bundle", few_tiles)
    (tmp_path / name).write_text('{"tokenizer": "mine"}')
    assert_refused(run(evaluate_command, *arguments), name, "--json")
    assert (tmp_path / name).read_text() == '{"tokenizer": "mine"}'
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", name}


def test_eval_needs_recordings_or_tiles_and_a_place_for_the_report(trained, few_tiles, tmp_path):
    assert_refused(run(evaluate_command, trained), "nothing to measure on: name TILES_DIR")
    result = run(evaluate_command, trained, tmp_path, "--labels", tmp_path / "x.csv")
    assert_refused(result, "name them with --audio")
    result = run(evaluate_command, trained, few_tiles, "--json", tmp_path / "none" / "x.json")
    assert_refused(result, "there is no folder")


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KeyboardInterrupt(), exits.INTERRUPTED),
        (OSError(28, "No space left on device"), exits.FAILED),
    ],
)
def test_an_interrupt_is_status_130_and_a_full_disk_1(raised, status, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr("ulmo.pipelines.prep.prep.prepare", fail)
    result = run(prep_command, SAMPLES, tmp_path / "out")
    assert (result.exit_code, len(result.stderr.splitlines())) == (status, 1)


class Unfinished:
    """As pyarrow's writers, it finishes its file when it is freed, and the file is closed."""

    def __del__(self):
        raise ValueError("write to closed file")


def test_after_an_interrupt_nothing_is_said_of_files_that_cannot_be_finished(monkeypatch, tmp_path):
    def fail(*_, **__):
        held = Unfinished()
        raise KeyboardInterrupt(held.__class__.__name__)

    said = []
    monkeypatch.setattr("ulmo.pipelines.prep.prep.prepare", fail)
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    result = run(prep_command, SAMPLES, tmp_path / "out")
    assert result.exit_code == exits.INTERRUPTED
    del result
    gc.collect()
    assert said == []
    assert sys.unraisablehook == said.append


@pytest.mark.parametrize(
    "line",
    [
        "tokenize sound --tokenizer s3://b/x.wav",
        "repeats sound --out s3://b/x.wav",
        "eval run s3://b/x.wav",
        "verify s3://b/x.wav",
        "look s3://b/x.wav",
        "lm score s3://b/x.wav",
    ],
)
def test_an_address_is_named_as_it_was_written(line):
    result = run(ulmo, *line.split())
    assert_refused(result, "s3://… is an address", "mount that storage, or copy")
    assert len(result.stderr.splitlines()) == 1
