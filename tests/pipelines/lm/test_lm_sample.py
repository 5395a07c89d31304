"""ulmo lm sample: tokens, a picture and sound that go on where a recording ends."""

import json

import numpy as np
import pytest
import soundfile

import ulmo
from tests.commands import assert_refused, run
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.decoding import Decoder
from ulmo.formats.read import read_corpus
from ulmo.pipelines.lm.sample import continue_recording
from ulmo.token_model import load_token_model
from ulmo.tokenizer import load_tokenizer

NAME = "20260301_120000.wav"


@pytest.fixture
def sample(bundle, lm, tmp_path):
    def sampled(source, name="more", *options, out="more.tokens.npy"):
        own = ("--tokenizer", bundle, "--lm", lm, "--seconds", 1)
        return run(command, "lm", "sample", source, *own, *options, "--out", tmp_path / name / out)

    return sampled


@pytest.fixture
def silent(monkeypatch):
    """Sound without Griffin-Lim, which takes seconds to load."""

    def noise(self, tokens):
        return 2 * np.sin(np.arange(tokens.frames * 20) / 9).astype(np.float32)

    monkeypatch.setattr(Decoder, "resynthesize", noise)


def test_a_recording_and_its_tokens_go_on_alike_each_time(sample, silent, audio, tokens, tmp_path):
    for name, source in (("a", audio / NAME), ("b", audio / NAME)):
        done = sample(source, name, "--channels", "mix")
        assert done.exit_code == 0, done.output
    names = {"more.tokens.npy", "more.tokens.json", "more.png", "more.wav"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    stored = tokens / "tokens" / NAME.replace(".wav", ".tokens.npy")
    done = sample(stored, "c", "--json")
    facts = json.loads(done.stdout)
    assert (facts["columns"], facts["seconds"], facts["recording"]) == (25, 1.0, NAME)
    (drawn,), (other,) = (list(read_corpus(tmp_path / name)) for name in "ac")
    assert (drawn.ids == other.ids).all()
    header = other.header
    assert header.recording == f"{NAME}, continued"
    assert header.seconds(0) == 6.0
    assert header.utc(0).isoformat() == "2026-03-01T12:00:06+00:00"
    assert drawn.ids.shape == (25, 2)


def test_the_sound_is_that_of_the_end_and_of_what_follows(
    sample, silent, audio, tmp_path, no_pixels
):
    assert sample(audio / NAME).exit_code == 0
    samples, rate = soundfile.read(tmp_path / "more" / "more.wav")
    assert (len(samples), rate) == (2 * 2000, 2000)
    assert np.abs(samples).max() == pytest.approx(0.89, abs=1e-3)  # twice full scale is lowered


def test_the_decoder_is_given_a_window_at_a_time(
    sample, silent, audio, tmp_path, no_pixels, monkeypatch
):
    """An hour is drawn in the memory of a window."""
    given, decode = [], Decoder.decode_ids

    def watched(decoder, ids):
        given.append(ids.shape[1])
        return decode(decoder, ids)

    monkeypatch.setattr(Decoder, "decode_ids", watched)
    assert sample(audio / NAME, "more", "--seconds", "5").exit_code == 0
    assert len(given) > 1
    assert max(given) < 2 * 125


def test_without_an_inverse_there_is_no_sound_and_the_reason(
    sample, audio, tmp_path, monkeypatch, no_pixels
):
    def refused(*_, **__):
        raise UserError("this needs librosa: pip install 'ulmo[sound]'")

    monkeypatch.setattr(Decoder, "resynthesize", refused)
    done = sample(audio / NAME)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("sound       none: this needs librosa: pip install 'ulmo[sound]'\n")
    assert not (tmp_path / "more" / "more.wav").exists()


def test_foreign_files_and_wrong_sources_are_refused(sample, silent, audio, tokens, lm, tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    for name, words in (("more.wav", "that ulmo made it"), ("more.png", "that ulmo drew it")):
        (folder / name).write_bytes(b"RIFF or PNG of somebody")
        assert_refused(sample(audio / NAME), words, "choose another --out")
        (folder / name).unlink()
    assert_refused(sample(tokens), "holds tokens of several recordings: name the file of one")
    assert_refused(sample(audio / NAME, "more", "--channels", "each"), "one channel goes on")
    assert_refused(sample(audio / NAME, out="x.labels.txt"), "x.labels.txt is no name for tokens")
    kept = tokens / "tokens" / NAME.replace(".wav", ".tokens.npy")
    own = ("--lm", lm, "--out", kept)
    assert_refused(run(command, "lm", "sample", kept, *own), f"holds tokens of {NAME}: choose")
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    bad = sample(tmp_path / "bad.wav")
    assert (bad.exit_code, bad.stdout) == (exits.SOME_REFUSED, "")
    assert list(folder.iterdir()) == []
    others = run(command, "lm", "sample", audio / NAME, "--lm", lm, "--out", folder / "x.npy")
    assert_refused(others, "tokens of this tokenizer are of another tokenizer")


def test_python_draws_ids(lm):
    model, past = ulmo.load_token_model(lm), np.zeros((9, 2), np.int32)
    assert model.sample(past, 3).shape == (3, 2)
    assert model.sample(past, 0).shape == (0, 2)
    with pytest.raises(UserError, match="temperature must be from 0 to 100"):
        model.sample(past, 3, temperature=-1)
    with pytest.raises(UserError, match="columns must be a whole number"):
        model.sample(past, -3)


def test_a_bar_counts_the_columns_that_are_drawn(lm, bundle, audio, silent, no_pixels, tmp_path):
    begun, moved = [], []

    def begin(columns):
        begun.append(columns)
        return moved.append

    models = load_token_model(lm), load_tokenizer(bundle)
    made = (audio / NAME, tmp_path / "more.tokens.npy")
    continue_recording(*models, *made, seconds=0.2, channels="mix", begin=begin)
    assert (begun, moved) == ([5], [1] * 5)
