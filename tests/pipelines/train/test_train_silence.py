"""Training on silence is refused; silence that is held out gives no praise and no NaN."""

import json
import time

import numpy as np
import pytest
import soundfile

from tests.bundles import PREP
from tests.pipelines.training import MODEL, SETTINGS, Silent
from ulmo.config import ModelSettings, TrainSettings, UserError
from ulmo.dataset import has_sound, split_by_recording
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train.train import train
from ulmo.pipelines.train.trainer import Trainer
from ulmo.preprocessing.store import TileStore
from ulmo.reports.as_json import train_json
from ulmo.reports.evaluate import evaluation_table
from ulmo.reports.train import train_summary

pytestmark = pytest.mark.usefixtures("no_pictures")
RATE = PREP.sample_rate


def tiles_of(folder, prep=PREP, **recordings):
    (folder / "audio").mkdir()
    for name, samples in recordings.items():
        soundfile.write(folder / "audio" / f"{name}.wav", samples, RATE)
    prepare(folder / "audio", folder / "tiles", prep)
    return folder / "tiles"


def silence(seconds=2):
    return np.zeros(seconds * RATE)


def chirps(seconds=8):
    time_s = np.arange(seconds * RATE) / RATE
    return 0.3 * np.sin(2 * np.pi * (600 + 2000 * (time_s % 0.5)) * time_s)


def seed_of(tiles, *, silent):
    """A seed with which the silent recording is held out, or the other one."""
    store = TileStore(tiles)
    splits = ((seed, split_by_recording(store, 0.1, seed)) for seed in range(50))
    return next(seed for seed, one in splits if has_sound(store, one.validation) is not silent)


@pytest.mark.parametrize("mode", ["corpus", "recording", "tile", "pcen", "level"])
def test_nothing_is_learned_from_silence(mode, tmp_path):
    prep = PREP.model_copy(update={"normalization": mode})
    tiles = tiles_of(tmp_path, prep, a=silence(), b=silence())
    with pytest.raises(UserError, match="digital silence only, and there is nothing to learn"):
        train(tiles, tmp_path / "run", MODEL, SETTINGS, Silent())
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def half_silent(tmp_path_factory):
    return tiles_of(tmp_path_factory.mktemp("half"), a=silence(4), b=chirps())


def test_silence_is_not_trained_on_while_the_sound_is_held_out(half_silent, tmp_path):
    settings = {**SETTINGS, "seed": seed_of(half_silent, silent=False)}
    with pytest.raises(UserError, match=r"all recordings with sound are held out.*another --seed"):
        train(half_silent, tmp_path / "run", MODEL, settings, Silent())


def test_held_out_silence_has_no_score_and_no_nan(half_silent, tmp_path):
    settings = {**SETTINGS, "epochs": 1, "seed": seed_of(half_silent, silent=True)}
    run = tmp_path / "run"
    summary = train(half_silent, run, MODEL, settings, Silent())
    words = train_summary(summary)
    assert "SILENCE     no token is sound (held out)" in words
    assert "no token is sound" in words.splitlines()[2]
    assert "score" not in words
    assert "nan" not in words
    json.dumps(train_json(summary, 0), allow_nan=False)
    for name in ("losses.csv", "epochs.csv", "objectives.json", "tokenizer/tokenizer.json"):
        assert "nan" not in (run / name).read_text().lower()
    table = evaluation_table(evaluate(run, half_silent), batches=True)
    assert "SILENCE     no token is sound" in table
    assert "nan" not in table.lower()


@pytest.mark.parametrize("recordings", [{"a": 1}, {"a": 8}, {"a": 1, "b": 1}])
def test_one_recording_and_fewer_tiles_than_a_batch(recordings, tmp_path):
    tiles = tiles_of(tmp_path, **{name: chirps(seconds) for name, seconds in recordings.items()})
    settings = {**SETTINGS, "epochs": 1, "batch_size": 64}
    summary = train(tiles, tmp_path / "run", MODEL, settings, Silent())
    words = train_summary(summary)
    assert "nan" not in words
    assert ("held out" in words) is (len(recordings) > 1)
    for name in ("losses.csv", "epochs.csv", "objectives.json"):
        assert "nan" not in (tmp_path / "run" / name).read_text().lower()


def test_minutes_are_all_minutes(half_silent, tmp_path, monkeypatch):
    """Steps, validation, pictures and checkpoints, on a clock that the test moves."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    model = ModelSettings(tile_size=PREP.tile_size, **MODEL)
    settings = TrainSettings(**{**SETTINGS, "epochs": 100}, max_minutes=1)
    trainer = Trainer(half_silent and TileStore(half_silent), tmp_path, model, settings, Silent())

    def taking(seconds, result):
        def spend(*_, **__):
            clock[0] += seconds
            return result

        return spend

    monkeypatch.setattr(trainer, "_start_codebook", taking(5, None))
    losses = dict.fromkeys(trainer.learner.names, 0.0)
    monkeypatch.setattr(trainer, "take_step", taking(1, losses))
    monkeypatch.setattr(trainer, "validate", taking(7, None))
    monkeypatch.setattr(trainer, "picture", taking(2, b""))
    monkeypatch.setattr(trainer._checkpoints, "save", taking(3, None))
    trainer.begin()
    log = Log()
    assert trainer.run(log) == "max_minutes"
    seconds = 5 + 3 + log.steps * 1 + log.epochs * (7 + 2 + 3)
    assert float(trainer.state.seconds) in (seconds, seconds - 3)  # the last save comes after
    assert 60 <= float(trainer.state.seconds) < 72
    assert trainer.tiles_per_second == pytest.approx(
        len(trainer.split.train) / trainer.steps_per_epoch
    )


class Log:
    def __init__(self):
        self.steps = self.epochs = 0

    def batch(self, row):
        self.steps += 1

    def epoch(self, row, picture):
        self.epochs += 1

    def flush(self):
        pass
