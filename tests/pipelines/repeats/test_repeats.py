"""ulmo repeats with a finder that is easy to foresee: rows, classes, periods, refusals, reports."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from matplotlib.image import imread

import ulmo
from tests.commands import assert_refused, run
from tests.conftest import SAMPLES
from tests.pipelines.repeats.standin import install
from ulmo.bundle.bundle import read_bundle
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.formats.events import EVENT_FORMATS, REPEAT_COLUMNS
from ulmo.listening.examples import Example
from ulmo.pipelines.repeats.picture import panel_settings
from ulmo.preprocessing.frontends import build_frontend
from ulmo.tokenizer import load_tokenizer

RATE = 16_000
CALLS = SAMPLES / "harmonic_calls.wav"
BEGINS = (0.5, 1.7, 2.6, 4.4, 5.3, 7.0)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(threads=1)


@pytest.fixture
def calls(monkeypatch):
    """The arguments of each search, by the stand-in that is installed."""
    found = []
    install(monkeypatch, found)
    return found


def tones(path, starts, seconds=0.6, last=12.0, rate=RATE):
    """Bursts of loud noise in silence."""
    time = np.arange(int(last * rate)) / rate
    inside = np.any([(time >= each) & (time < each + seconds) for each in starts], axis=0)
    noise = np.random.default_rng(0).normal(0, 0.1, len(time))
    soundfile.write(path, np.clip(noise * inside, -0.9, 0.9), rate)
    return path


def test_rows_have_true_times_and_all_columns(calls, tokenizer):
    found = ulmo.repeats(CALLS, tokenizer=tokenizer, impulses=False)
    assert [row["start_s"] for row in found] == pytest.approx(BEGINS, abs=0.08)
    first, second = found[0], found[1]
    assert list(first) == [column.name for column in REPEAT_COLUMNS]
    assert (first["kind"], first["class"], first["occurrence"]) == ("sound", 1, 1)
    assert (second["occurrence"], second["bits"], second["false_per_hour"]) == (2, 11.0, 0.5)
    assert (first["best_match_recording"], first["best_match_s"]) == (None, None)
    assert second["best_match_recording"] == str(CALLS)
    assert second["best_match_s"] == first["start_s"]
    assert (first["low_hz"], first["high_hz"]) == (tokenizer.edges_hz[0], tokenizer.edges_hz[-1])
    (call,) = calls
    tokens = tokenizer.encode(CALLS)
    np.testing.assert_array_equal(call["ids"], tokens.ids)
    np.testing.assert_array_equal(call["scores"], tokenizer.bundle.scores())
    assert (call["column_s"], call["begins"], call["false_per_hour"]) == (0.04, (0,), 1.0)
    assert call["heard"].shape == tokens.ids.shape
    assert (len(call["latents"]), call["latents"].dtype) == (len(tokens.ids), np.float32)


def test_recordings_are_compared_with_each_other_and_none_is_crossed(calls, tokenizer, tmp_path):
    tones(tmp_path / "a.wav", [11.7], last=12.0)
    tones(tmp_path / "b.wav", [0.0, 5.0], last=7.0)
    found = ulmo.repeats(tmp_path, tokenizer=tokenizer, impulses=False)
    assert [row["recording"] for row in found] == ["a.wav", "b.wav", "b.wav"]
    assert [row["start_s"] for row in found] == pytest.approx([11.7, 0.0, 5.0], abs=0.05)
    assert found[0]["end_s"] == 12.0
    assert [row["best_match_recording"] for row in found] == [None, "a.wav", "b.wav"]
    assert calls[0]["begins"] == (0, 300)


def test_a_class_has_the_period_of_its_occurrences(calls, tokenizer, tmp_path):
    tones(tmp_path / "x.wav", np.arange(0.5, 29, 1.34), seconds=0.5, last=30.0)
    found = ulmo.repeats(tmp_path / "x.wav", tokenizer=tokenizer, impulses=False)
    assert len(found) == 22
    for row in found:
        assert row["period_s"] == pytest.approx(1.34, rel=0.005)
        assert row["period_n"] == 21
        assert row["period_jitter"] < 0.04


def test_options_choose_rows(calls, tokenizer, tmp_path):
    path = tones(tmp_path / "x.wav", [1.0, 3.0, 9.0], seconds=0.6)
    time = np.arange(12 * RATE) / RATE
    samples, _ = soundfile.read(path)
    short = ((time >= 5.0) & (time < 5.2)) | ((time >= 7.0) & (time < 7.2))
    soundfile.write(
        path, samples + 0.3 * short * np.random.default_rng(1).normal(size=len(time)), RATE
    )

    def kept(**options):
        found = ulmo.repeats(path, tokenizer=tokenizer, impulses=False, **options)
        return [(row["class"], round(row["start_s"])) for row in found]

    assert kept() == [(1, 1), (1, 3), (2, 5), (2, 7), (1, 9)]
    assert kept(min_seconds=0.4) == [(1, 1), (1, 3), (1, 9)]
    assert kept(classes=1) == [(1, 1), (1, 3), (1, 9)]
    assert kept(like=f"{path}:4.9-5.3") == [(2, 5), (2, 7)]
    assert kept(like=f"{path}:2.9-3.7") == [(1, 1), (1, 3), (1, 9)]
    assert kept(like=f"{path}:6-6.9") == []


def test_the_example_may_be_in_another_recording(calls, tokenizer, tmp_path):
    path = tones(tmp_path / "x.wav", [1.0, 3.0])
    example = tones(tmp_path / "example.wav", [2.0], last=4.0)
    found = ulmo.repeats(path, tokenizer=tokenizer, like=f"{example}:2.0-2.6", impulses=False)
    assert [row["recording"] for row in found] == [str(path), str(path), str(example)]
    again = ulmo.repeats(tmp_path, tokenizer=tokenizer, like=f"{example}:2.0-2.6", impulses=False)
    assert [row["recording"] for row in again] == ["example.wav", "x.wav", "x.wav"]


@pytest.mark.parametrize("text", ["x.wav", "x.wav:1", "x.wav:2-1", "x.wav:1-1", ":1-2", "x:-1-2"])
def test_an_example_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"is no example: write one as recording\.wav:12\.3-13\.1"):
        Example.parse(text)


def test_background_is_no_class(monkeypatch, tokenizer, tmp_path):
    install(monkeypatch, hum=True)
    tones(tmp_path / "x.wav", [1.0, 3.0])
    found = ulmo.repeats(tmp_path / "x.wav", tokenizer=tokenizer, impulses=False)
    assert [(row["kind"], row["class"]) for row in found] == [("background", None)] * 2
    done = repeats(tmp_path / "x.wav", "--out", tmp_path / "x.csv")
    assert "  background: 2 rows of what is always there\n" in done.stdout
    assert "repeats     2 in 0 classes" in done.stdout


def test_a_repeat_that_is_alone_is_in_no_class(calls, tokenizer, tmp_path):
    path = tones(tmp_path / "x.wav", [1.0, 3.0])
    samples, _ = soundfile.read(path)
    samples[5 * RATE : 5 * RATE + 3000] = np.random.default_rng(1).normal(0, 0.1, 3000)
    soundfile.write(path, samples, RATE)
    found = ulmo.repeats(path, tokenizer=tokenizer, impulses=False)
    assert [(row["class"], row["occurrence"]) for row in found] == [(1, 1), (1, 2), (None, None)]
    assert [row["kind"] for row in found] == ["sound"] * 3
    like = ulmo.repeats(path, tokenizer=tokenizer, impulses=False, like=f"{path}:5-5.2")
    assert [row["start_s"] for row in like] == pytest.approx([5.0], abs=0.05)
    done = repeats(path, "--out", tmp_path / "x.csv")
    assert "repeats     3 in 1 class\n" in done.stdout
    assert "  in no class: 1 row\n" in done.stdout


def test_impulses_are_classes_with_times_of_samples(calls, tokenizer, tmp_path):
    rate, times = 48_000, 0.5 + 0.25 * np.arange(40)
    samples = np.random.default_rng(0).normal(0, 1e-4, 12 * rate)
    for time in times:
        place = round(time * rate)
        samples[place : place + 96] += 0.5 * np.hanning(96) * np.sin(np.arange(96))
    soundfile.write(tmp_path / "x.wav", samples, rate)
    found = [
        row
        for row in ulmo.repeats(tmp_path / "x.wav", tokenizer=tokenizer)
        if row["kind"] == "impulses"
    ]
    assert len(found) == 40
    assert len({row["class"] for row in found}) == 1
    assert [row["start_s"] for row in found] == pytest.approx(times, abs=0.005)
    assert found[0]["period_s"] == pytest.approx(0.25, rel=0.01)
    assert found[0]["end_s"] == pytest.approx(found[0]["start_s"] + 0.005)


def test_slow_recordings_have_no_impulses(calls, tokenizer, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 1000)
    assert ulmo.repeats(tmp_path / "x.wav", tokenizer=tokenizer).refused == ()


def test_tokens_are_sources_in_python(calls, tokenizer):
    tokens = tokenizer.encode(CALLS)
    for sources in (tokens, [tokens, tokens]):
        ulmo.repeats(sources, tokenizer=tokenizer)
        assert calls[-1]["heard"].all()
        assert calls[-1]["latents"] is None  # tokens have none
    np.testing.assert_array_equal(calls[-1]["ids"], np.concatenate([tokens.ids] * 2))
    assert calls[-1]["begins"] == (0, 200)


def test_time_expansion_searches_slowed_sound_and_reports_true_times(calls, tokenizer, tmp_path):
    tones(tmp_path / "x.wav", [1.0, 3.0], rate=4 * RATE)
    slow = tokenizer.with_sound(time_expansion=4)
    found = ulmo.repeats(tmp_path / "x.wav", tokenizer=slow, impulses=False)
    assert calls[0]["column_s"] == pytest.approx(0.04)
    assert calls[0]["false_per_hour"] == pytest.approx(0.25)
    assert [row["start_s"] for row in found] == pytest.approx([1.0, 3.0], abs=0.02)
    assert found[0]["false_per_hour"] == pytest.approx(2.0)


def repeats(*arguments):
    return run(command, "repeats", *arguments, "--workers", 1, "--no-impulses")


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_the_table_in_every_format(name, calls, tmp_path):
    out = tmp_path / f"table{EVENT_FORMATS[name].ending}"
    done = repeats(CALLS, "--out", out)
    assert done.exit_code == 0, done.output
    assert "repeats     6 in 1 class\n  class 1: 6 times in 8 s, 0.0 to 7.9 kHz\n" in done.stdout
    if name == "parquet":
        assert pq.read_table(out).num_rows == 6
    else:
        text = out.read_text()
        assert "class 1" in text if name == "audacity" else "best_match_s" in text
        assert len(text.splitlines()) == {"csv": 7, "raven": 7, "audacity": 12}[name]


def test_the_summary_says_the_period_and_bursts(calls, tmp_path):
    starts = np.concatenate([np.arange(0.5, 10, 1.34), np.arange(30.5, 44, 1.34)])
    tones(tmp_path / "x.wav", starts, seconds=0.5, last=46.0)
    done = repeats(tmp_path / "x.wav", "--out", tmp_path / "x.csv")
    line = "class 1: 19 times in 46 s, every 1.34 s in bursts of 8 to 11, 0.0 to 7.9 kHz"
    assert line in done.stdout
    told = json.loads(repeats(tmp_path / "x.wav", "--out", tmp_path / "x.csv", "--json").stdout)
    assert (told["command"], told["rows"], len(told["classes"])) == ("repeats", 19, 1)
    assert told["classes"][0]["period_s"] == pytest.approx(1.34, rel=0.01)


def test_what_was_left_out_is_told(tmp_path, monkeypatch):
    bounds = SimpleNamespace(compared=90_000, left_out=180_000, events=4321, most=4000)
    install(monkeypatch, left_out=bounds)
    done = repeats(CALLS, "--out", tmp_path / "x.csv")
    line = "  compared: the 1.0 h that tell most; repeats may be missing in 2.0 h of "
    assert line in done.stdout
    assert "; 321 others joined the class that they are like, if there is one" in done.stdout
    told = json.loads(repeats(CALLS, "--out", tmp_path / "x.csv", "--json").stdout)
    assert (told["left_out_hours"], told["joined"]) == (pytest.approx(2.0), 321)


def test_the_picture(calls, tmp_path):
    picture = tmp_path / "x.png"
    done = repeats(CALLS, "--out", tmp_path / "x.csv", "--picture", picture)
    assert done.exit_code == 0, done.output
    assert f"picture     {picture}" in done.output
    first = picture.read_bytes()
    assert imread(picture).shape[1] == 1200
    assert repeats(CALLS, "--out", tmp_path / "x.csv", "--picture", picture).exit_code == 0
    assert picture.read_bytes() == first
    picture.write_bytes(b"mine")
    assert_refused(
        repeats(CALLS, "--out", tmp_path / "x.csv", "--picture", picture), "nothing in it says"
    )


def test_impulses_are_drawn_up_to_their_band(tokenizer):
    """Other sounds are drawn as the tokenizer hears them."""

    def settings_of(kind, high_hz):
        medoid = SimpleNamespace(high_hz=high_hz)
        return panel_settings(SimpleNamespace(kind=kind, medoid=medoid), tokenizer)

    assert settings_of("sound", 7944.0) == tokenizer.prep
    low, high = settings_of("impulses", 4000.0), settings_of("impulses", 48_000.0)
    assert (low.sample_rate, high.sample_rate) == (tokenizer.prep.sample_rate, 96_000)
    assert low.frame_s == high.frame_s == 0.001
    assert build_frontend(high).frequencies[-1] > 47_000


def test_silence_one_column_and_no_repeat_are_no_rows(calls, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "short.wav", np.zeros(100), RATE)
    done = repeats(tmp_path, "--out", tmp_path / "x.csv", "--picture", tmp_path / "x.png")
    assert done.exit_code == 0, done.output
    assert "repeats     none\n" in done.stdout
    assert (tmp_path / "x.csv").read_text().count("\n") == 1


def test_bad_recordings_are_refused_and_the_others_go_on(calls, troubled, tmp_path):
    done = repeats(troubled, "--out", tmp_path / "x.csv")
    assert done.exit_code == exits.SOME_REFUSED, done.output
    assert "empty.wav: refused: empty_file (the file has no bytes)\n" in done.stderr
    assert "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired)" in done.stdout


def test_all_refused_is_an_empty_table(calls, tmp_path):
    (tmp_path / "x.wav").write_bytes(b"dear diary")
    done = repeats(tmp_path / "x.wav", "--out", tmp_path / "x.csv")
    assert done.exit_code == exits.SOME_REFUSED
    assert (tmp_path / "x.csv").read_text().count("\n") == 1


def test_stored_tokens_give_the_same_table(calls, tmp_path):
    field = tmp_path / "field"
    field.mkdir()
    shutil.copy(CALLS, field)
    assert run(command, "tokenize", field, "--out-dir", tmp_path / "tokens").exit_code == 0
    contents = []
    for more in ((), ("--tokens", tmp_path / "tokens")):
        assert repeats(field, "--out", tmp_path / "x.csv", *more).exit_code == 0
        contents.append((tmp_path / "x.csv").read_bytes())
    assert contents[0] == contents[1]
    shutil.copy(SAMPLES / "whistles.wav", field / "harmonic_calls.wav")
    done = repeats(field, "--out", tmp_path / "x.csv", "--tokens", tmp_path / "tokens")
    assert done.exit_code == exits.SOME_REFUSED
    assert "refused: changed (it is not as it was when it was tokenized" in done.stderr


def test_a_bundle_without_scores_says_what_to_run(calls, tokenizer_of, tmp_path):
    folder = tokenizer_of().bundle.place
    assert read_bundle(folder).scores() is None
    done = repeats(CALLS, "--out", tmp_path / "x.csv", "--tokenizer", folder)
    assert_refused(done, "has no substitution.safetensors", "train it again with ulmo-train")
    assert not (tmp_path / "x.csv").exists()
    assert calls == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--false-per-hour", "0"), "false_per_hour must be above 0"),
        (("--false-per-hour", "nan"), "false_per_hour must be above 0"),
        (("--classes", "0"), "classes must be a whole number from 1"),
        (("--min-seconds", "-1"), "min_seconds must be from 0 to 3600"),
        (("--like", "x.wav"), "'x.wav' is no example"),
        (("--like", "none.wav:1-2"), "none.wav, the recording of the example, is not there"),
        (("--like", f"{CALLS}:8-9"), f"8 to 9 s, and {CALLS} is only 8.00 s long: name a part"),
        (("--picture", "x.jpg"), "x.jpg does not end with .png"),
        (("--format", "raven"), "is no name for raven"),
        (("--channels", "all"), "channels must be mix, each or a number"),
    ],
)
def test_wrong_usage_is_one_line(flags, words, calls, tmp_path):
    assert_refused(repeats(CALLS, "--out", tmp_path / "x.csv", *flags), words)
    assert calls == []


def test_tokens_of_another_tokenizer_are_refused(calls, tokenizer, tokenizer_of):
    tokens = tokenizer_of().encode(np.zeros(4000, np.float32), sample_rate=2000)
    with pytest.raises(UserError, match="these tokens are of another tokenizer"):
        ulmo.repeats(tokens, tokenizer=tokenizer)
    with pytest.raises(UserError, match="sources must be paths, or Tokens"):
        ulmo.repeats([tokenizer.encode(CALLS), "x.wav"], tokenizer=tokenizer)
