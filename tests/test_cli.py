"""The commands as a user meets them: output, exit status, one line for a mistake."""

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
from ulmo.config import AugmentSettings, Config, ModelSettings, PrepSettings, TrainSettings

MODEL = ("--EMB", "4", "--CB", "16", "--width", "8", "--time-stride", "4")


@pytest.fixture(scope="module")
def trained(tiny_tiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = run(ulmo, "train", tiny_tiles, folder, *MODEL, "--epochs", 1)
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
    again = run(prep_command, troubled, out, *TINY)
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
    assert_refused(run(prep_command, SAMPLES, tmp_path / "out", *flags), *words)
    assert not (tmp_path / "out").exists()


def test_prep_refuses_folders_that_do_not_fit(tiny_tiles, tmp_path):
    assert_refused(run(prep_command, tmp_path / "none", tmp_path / "out"), "none is not a folder")
    assert_refused(run(prep_command, tmp_path, tmp_path / "out"), "no recordings below")
    changed = run(prep_command, SAMPLES, tiny_tiles, *TINY, "--overlap", 4)
    assert_refused(changed, "other settings (overlap there 0, here 4)")


def test_a_choice_that_is_not_in_the_table_is_named(tmp_path):
    result = run(prep_command, SAMPLES, tmp_path / "out", "--frontend", "wavelets")
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
        (("--objective", "juggle"), ("objective = 'juggle'", "no objective", "next_frame")),
        (("--objective", "byol=0"), ("byol=0 is not a weight",)),
        (("--objective", "denoising"), ("denoising is now called denoise",)),
        (("--beside", "tiles"), ("only abx_choice uses beside: leave it out",)),
        (
            ("--objective", "wav2vec2", "--quantizer", "kmeans"),
            ("set quantizer to ema or",),
        ),
    ],
)
def test_train_refuses_settings(flags, words, tiny_tiles, tmp_path):
    assert_refused(run(train_command, tiny_tiles, tmp_path / "run", *flags), *words)
    assert not (tmp_path / "run").exists()


def test_train_refuses_folders_that_do_not_fit(trained, tiny_tiles, tmp_path):
    assert_refused(run(train_command, tmp_path / "none", tmp_path / "run"), "ulmo-prep AUDIO_DIR")
    assert_refused(run(train_command, tiny_tiles, trained, *MODEL), "go on with --resume")


def test_help_names_each_setting_of_a_view_and_its_default():
    shown = " ".join(run(prep_command, "--help").stdout.split())
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
    printed = run(prep_command, "x", "y", *flags, "--print-config")
    read = Config.read(tomllib.loads(printed.stdout))
    assert read.augment == AugmentSettings(views=3, hop_factors=(0.8, 1), noise_db=-50)
    assert read.prep == PrepSettings(normalization="pcen")
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    again = run(prep_command, "x", "y", "--config", path, "--print-config")
    assert again.stdout == printed.stdout
    over = run(prep_command, "x", "y", "--config", path, "--hop-factors", "2", "--print-config")
    expected = read.augment.model_copy(update={"hop_factors": (2.0,)})
    assert Config.read(tomllib.loads(over.stdout)).augment == expected


def test_printed_settings_of_the_clock_come_back_through_a_file(tmp_path):
    flags = ("--timestamp-pattern", "x%y%m%d", "--timezone", "-03:30")
    printed = run(prep_command, "x", "y", *flags, "--print-config").stdout
    assert tomllib.loads(printed)["clock"] == {"timestamp_pattern": "x%y%m%d", "timezone": "-03:30"}
    path = tmp_path / "settings.toml"
    path.write_text(printed)
    assert run(prep_command, "x", "y", "--config", path, "--print-config").stdout == printed


def test_every_command_answers_h():
    for command in (ulmo, prep_command, train_command, evaluate_command, tokenize_command):
        assert run(command, "-h").output == run(command, "--help").output
        assert run(command, "-h").exit_code == 0


def test_train_takes_the_tile_size_from_the_tiles(tiny_tiles, tmp_path):
    flags = ("--frequency-stride", 32, "--time-stride", 32)
    printed = run(train_command, tiny_tiles, tmp_path / "run", *flags, "--print-config")
    assert tomllib.loads(printed.stdout)["model"]["tile_size"] == 32
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    again = run(train_command, tiny_tiles, tmp_path / "run", "--config", path, "--print-config")
    assert again.stdout == printed.stdout


@pytest.mark.parametrize(
    ("flags", "objective", "more"),
    [
        (("--objective", "simclr"), "simclr", {}),
        (("--objective", "byol=2"), "byol=2", {}),
        (
            ("--objective", "reconstruct=1, next_frame=0.1234567", "--init", "first"),
            "reconstruct=1,next_frame=0.1234567",
            {"init": "first"},
        ),
        (
            ("--objective", "abx_choice", "--beside", "stft", "--beside", "cqt"),
            "abx_choice",
            {"beside": ["stft", "cqt"]},
        ),
    ],
)
def test_what_the_encoder_learns_from_is_written_down(flags, objective, more, tmp_path):
    printed = run(train_command, "x", "y", *flags, "--print-config")
    told = tomllib.loads(printed.stdout)["train"]
    assert (told["objective"], told | more) == (objective, told)
    path = tmp_path / "settings.toml"
    path.write_text(printed.stdout)
    assert run(train_command, "x", "y", "--config", path, "--print-config").stdout == printed.stdout


def test_train_without_tiles_claims_no_folder(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "text.wav").write_text("dear diary")
    run(prep_command, tmp_path / "audio", tmp_path / "tiles", *TINY)
    result = run(train_command, tmp_path / "tiles", tmp_path / "run")
    assert_refused(result, "no tiles to train on: every recording was refused")
    assert not (tmp_path / "run").exists()


def test_eval_checks_where_the_report_goes_first(trained, tiny_tiles, tmp_path):
    result = run(evaluate_command, trained, tiny_tiles, "--json", tmp_path / "none" / "x.json")
    assert_refused(result, "there is no folder")


def test_settings_come_from_the_file_and_flags_go_first(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[model]\ncodebook_size = 64\nembedding_dim = 8\n[train]\nseed = 7\n")
    result = run(train_command, "x", "y", "--config", path, "--CB", 128, "--print-config")
    assert result.exit_code == 0
    printed = tomllib.loads(result.stdout)
    assert printed["model"]["codebook_size"] == 128
    assert printed["model"]["embedding_dim"] == 8
    assert printed["train"]["seed"] == 7
    assert Config.read(printed).model == ModelSettings(codebook_size=128, embedding_dim=8)
    assert Config.read(printed).train == TrainSettings(seed=7)
    printed = tomllib.loads(run(prep_command, "x", "y", "--print-config").stdout)
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
    result = run(train_command, tiny_tiles, tmp_path / "run", "--config", path)
    assert_refused(result, str(path), *words)


def test_eval_prints_a_table_and_writes_json(trained, tiny_tiles, tmp_path):
    report = tmp_path / "report.json"
    result = run(
        evaluate_command, trained, tiny_tiles, "--part", "all", "--batches", "--json", report
    )
    assert result.exit_code == 0, result.output
    for word in ("best mean per bin", "commitment", "usage", "perplexity", "entropy", "non-silent"):
        assert word in result.stdout
    assert report.exists()
    assert f"written to  {report}" in result.stdout
    assert_refused(run(evaluate_command, tmp_path, tiny_tiles), "is not a tokenizer")


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
    assert {path.name for path in tmp_path.iterdir()} == {
        "audio",
        "x.json",
        "x-usage.png",
        "x-codes.png",
    }
    (tmp_path / "audio" / "low" / "y.wav").write_text("no sound")
    refused = run(evaluate_command, trained, *options)
    assert refused.exit_code == 3
    assert "refused     low/y.wav" in refused.stdout


def test_eval_needs_something_to_measure_on(trained, tmp_path):
    assert_refused(run(evaluate_command, trained), "nothing to measure on: name TILES_DIR")
    result = run(evaluate_command, trained, tmp_path, "--labels", tmp_path / "x.csv")
    assert_refused(result, "name them with --audio")


def test_an_interrupt_is_status_130_and_a_full_disk_1(monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for raised, status in ((interrupted, exits.INTERRUPTED), (full, exits.FAILED)):
        monkeypatch.setattr("ulmo.pipelines.prep.prep.prepare", raised)
        result = run(prep_command, SAMPLES, tmp_path / "out")
        assert result.exit_code == status
        assert len(result.stderr.splitlines()) == 1
