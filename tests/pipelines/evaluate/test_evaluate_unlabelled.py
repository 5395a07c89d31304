"""Recordings without labels, and silence: no time for figures that mean nothing, and no praise."""

import json

import numpy as np
import pytest
import soundfile

from tests.commands import run
from tests.small_tokenizers import RATE, sound
from ulmo.bundle.bundle import DEFAULT
from ulmo.cli.evaluate import evaluate as evaluate_command
from ulmo.evaluation.abx import why_no_abx
from ulmo.pipelines.evaluate import audio as audio_module
from ulmo.pipelines.evaluate.audio import AudioPlan
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.reports.evaluate import evaluation_table


@pytest.fixture
def tokenizer(tokenizer_of):
    return tokenizer_of()


def write(folder, **recordings):
    for name, samples in recordings.items():
        path = folder / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path.with_suffix(".wav"), samples, RATE)
    return folder


@pytest.mark.parametrize(
    ("labels", "speakers", "why"),
    [
        ("aaa", None, "all items have one label"),
        ("ab", None, "no label has two items"),
        ("aab", None, ""),
        ("aabb", "xyzw", "no label has two items of one speaker"),
        ("abab", "xxyy", ""),
        ("aab", "xxx", ""),
    ],
)
def test_why_there_is_no_abx(labels, speakers, why):
    assert why_no_abx(labels, speakers) == why


def test_without_labels_nothing_is_computed_that_cannot_be_told(tokenizer, tmp_path, monkeypatch):
    """No latents, no spectrogram, no distances."""

    def never(*_, **__):
        raise AssertionError("computed for nothing")

    for name in ("latents_of", "build_frontend"):
        monkeypatch.setattr(audio_module, name, never)
    for room in ("ulmo.evaluation.abx", "ulmo.pipelines.evaluate.audio"):
        monkeypatch.setattr(f"{room}.distance_matrix", never)
    write(tmp_path / "in", a=sound(2 * RATE), b=sound(3 * RATE))
    (tmp_path / "in" / "c.m4a").touch()
    report = tmp_path / "x.json"
    done = evaluate(tokenizer.ref.place, audio=AudioPlan(tmp_path / "in"), report=report)
    text = evaluation_table(done, batches=False)
    assert "ABX         not measured: all items have one label; --labels names a table" in text
    assert "probe       not measured: fewer than two labels have items of two sources" in text
    assert "neighbours  not measured: all items have one label" in text
    assert "left out    1 .m4a: ulmo reads none of these" in text
    values = json.loads(report.read_text())["audio"]
    assert values["abx"]["missing"] == "all items have one label"
    assert (values["abx"]["tokens"], values["abx"]["codes"]) == (None, None)
    assert (values["probe"]["latents"], values["left_out"]) == (None, {".m4a": 1})
    assert values["neighbours"]["missing"] == "all items have one label"
    assert values["neighbours"]["sequences"]["accuracy"] is None
    assert values["verdict"]["tokens"] == done.audio.tokens.sound_counts.sum()


def test_labels_of_one_item_each_have_no_abx_either(tokenizer, tmp_path):
    write(tmp_path / "in", low_x=sound(RATE), high_y=sound(2 * RATE))
    done = evaluate(
        tokenizer.ref.place, audio=AudioPlan(tmp_path / "in"), report=tmp_path / "x.json"
    )
    assert done.audio.abx_missing == "no label has two items"
    assert done.audio.latents is None


def test_silence_says_nothing_of_a_tokenizer(tokenizer, tmp_path):
    write(tmp_path / "in", a=np.zeros(2 * RATE), b=np.zeros(3 * RATE))
    report = tmp_path / "x.json"
    done = evaluate(tokenizer.ref.place, audio=AudioPlan(tmp_path / "in"), report=report)
    text = evaluation_table(done, batches=False)
    assert "SILENCE     no token is sound (recordings): these figures say nothing" in text
    assert "  not measured: no token could change" in text
    assert "nan" not in text.lower()
    assert [line for line in text.splitlines() if "100.0%" in line and "top1" not in line] == []
    audio = json.loads(report.read_text())["audio"]
    assert audio["verdict"]["kind"] == "silence"
    assert {kept["share"] for kept in audio["robustness"].values()} == {None}


def test_without_a_name_the_tokenizer_that_ships_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in", a=sound(RATE))
    result = run(evaluate_command, "--audio", tmp_path / "in", "--max-items", 2)
    assert result.exit_code == 0, result.output
    assert "written to  " in result.stdout
    assert (
        json.loads((tmp_path / "eval.json").read_text())["tokenizer"]
        == json.loads((DEFAULT / "tokenizer.json").read_text())["fingerprint"]
    )
    quiet = run(evaluate_command, "--audio", tmp_path / "in", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
