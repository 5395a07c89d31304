"""Tiles of the modes `pcen` and `level`, whose levels depend on the frames before them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from ulmo.config import ModelSettings, PrepSettings
from ulmo.dataset import Loudness
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization, quiet_level
from ulmo.preprocessing.spectrogram import levels
from ulmo.preprocessing.store import TileStore
from ulmo.reports.evaluate import evaluation_table

MODEL = ModelSettings(tile_size=32, frequency_stride=8, time_stride=4)


def settings_of(mode, **values):
    plain = {"frontend": "stft", "tile_size": 32, "sample_rate": 8000, "hop_length": 64}
    return PrepSettings(**plain, normalization=mode, **values)


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Of each mode, a folder of noise; that of `level` falls by 80 dB, and c.wav is silence."""
    folder = tmp_path_factory.mktemp("modes")
    rng = np.random.default_rng(0)
    for mode, last, fall in (("pcen", 0.3, 1), ("level", 0.0, 1e-4)):
        (folder / mode).mkdir()
        for name, samples, loudness in (("a", 9000, 0.1), ("b", 20_000, 0.01), ("c", 5000, last)):
            sound = rng.normal(0, loudness, samples)
            sound[samples // 2 :] *= fall
            soundfile.write(folder / mode / f"{name}.wav", sound, 8000, subtype="FLOAT")
    return folder


def prepared(audio, out, mode, **values):
    prepare(audio / mode, out, settings_of(mode, **values))
    return TileStore(out)


@pytest.fixture(scope="module")
def stores(audio, tmp_path_factory):
    out = tmp_path_factory.mktemp("tiles")
    return {mode: prepared(audio, out / mode, mode) for mode in ("pcen", "level")}


@pytest.mark.parametrize(("mode", "atol"), [("pcen", 1e-5), ("level", 1e-4)])
def test_undone_they_are_the_levels_and_filled_with_silence(audio, stores, mode, atol):
    """The tolerances: normalised and back in float32."""
    store, settings = stores[mode], settings_of(mode)
    samples, _ = soundfile.read(audio / mode / "b.wav", dtype="float32")
    expected = np.concatenate(list(levels([samples], build_frontend(settings), settings)), 1)
    rows = np.flatnonzero(store.recordings == "b.wav")
    constants = store.manifest.normalization
    assert {store.normalization(row) for row in rows} == {constants}
    undone = constants.undo(np.concatenate(store.read(rows)[..., 0], axis=1))
    frames = expected.shape[1]
    assert frames < undone.shape[1]
    np.testing.assert_allclose(undone[:, :frames], expected, atol=atol)
    np.testing.assert_allclose(undone[:, frames:], quiet_level(settings), atol=atol)
    assert store.in_decibels == (mode == "level")
    if store.in_decibels:
        assert store.peaks_db[rows].max() == pytest.approx(expected.max(), abs=atol)


class TestLevel:
    def test_silence_is_silent_and_what_the_level_follows_is_sound(self, stores):
        """c.wav is digital silence; a.wav falls by 80 dB, and the level by 1 until its end."""
        store = stores["level"]
        rows = np.flatnonzero(store.valid_frames == 32)
        sound = Loudness(store, MODEL).sound(store.read(rows), rows).mean(axis=(1, 2))
        assert (sound[store.recordings[rows] == "c.wav"] == 0).all()
        of_a = sound[store.recordings[rows] == "a.wav"]
        assert (of_a[0], of_a[-1]) == (1, 0)

    def test_of_a_level_that_falls_at_once_what_is_quiet_is_sound(self, audio, tmp_path):
        fast = {"level_release_db": 1000.0, "level_least_db": -140}
        store = prepared(audio, tmp_path / "out", "level", **fast)
        rows = np.flatnonzero((store.recordings == "a.wav") & (store.valid_frames == 32))
        assert Loudness(store, MODEL).sound(store.read(rows), rows)[-1].all()


class TestPcen:
    @pytest.fixture
    def run_dir(self, stores, make_bundle, tmp_path):
        contents = {"normalization": stores["pcen"].manifest.normalization}
        make_bundle(tmp_path / "run" / "tokenizer", settings_of("pcen"), contents=contents)
        return tmp_path / "run"

    def test_constants_are_the_manifests_and_nothing_is_told_in_db(self, stores):
        store = stores["pcen"]
        columns = ["norm_offset_db", "norm_scale_db", "peak_level_db"]
        table = pq.read_table(store.folder / "tiles.parquet", columns=columns)
        assert all(column.null_count == len(store) for column in table.columns)
        written = json.loads((store.folder / "prep.json").read_text())["normalization"]
        assert {store.normalization(row) for row in range(len(store))} == {Normalization(**written)}

    def test_normalised_they_have_mean_0_and_spread_1(self, audio, tmp_path):
        """Nearly: the constants are learned from four stretches of each recording.

        The running mean is short beside them: each stretch begins with the first frame's.
        """
        store = prepared(audio, tmp_path / "out", "pcen", pcen_time_constant=0.02)
        values = store.read(np.flatnonzero(store.valid_frames == 32))
        assert values.mean() == pytest.approx(0, abs=0.15)
        assert values.std() == pytest.approx(1, abs=0.1)

    def test_settings_that_hardly_compress_can_be_met(self, audio, tmp_path):
        store = prepared(audio, tmp_path / "out", "pcen", pcen_gain=0.0, pcen_power=1.0)
        assert np.isfinite(store.read(range(len(store)))).all()

    def test_all_tokens_are_sound(self, stores):
        store = stores["pcen"]
        rows = np.arange(len(store))
        assert Loudness(store, MODEL).sound(store.read(rows), rows).all()

    def test_no_figure_in_db_is_told(self, stores, run_dir):
        store = stores["pcen"]
        done = evaluate(run_dir, store.folder, part="all")
        total = json.loads(done.report.read_text())["tiles"]["total"]
        null = {name for name, value in total.items() if value is None}
        assert null == {"reconstruction_db", "sound_reconstruction_db"}
        assert total["tokens"] == total["sound_tokens"] > 0
        lines = evaluation_table(done, batches=True).splitlines()
        (every,) = (line.split() for line in lines if line.startswith("  all "))
        (sound,) = (line.split() for line in lines if line.startswith("  non-silent "))
        assert (every[2], sound[1]) == ("-", "-")
        (place,) = (i for i, line in enumerate(lines) if line.split()[:1] == ["batch"])
        heads, batch = lines[place].split(), lines[place + 1].split()
        assert dict(zip(heads, batch, strict=True))["dB²"] == "-"
