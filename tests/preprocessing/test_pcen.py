import json

import librosa
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import ModelSettings, PrepSettings
from ulmo.pipelines.dataset import Loudness
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import PCEN_EPS, Normalization, pcen, quiet_level
from ulmo.preprocessing.spectrogram import levels
from ulmo.preprocessing.store import TileStore
from ulmo.reports.evaluate import evaluation_table

SETTINGS = PrepSettings(
    frontend="stft", tile_size=32, sample_rate=8000, hop_length=64, normalization="pcen"
)
BINS, FRAMES = 8, 300
PARAMETERS = {
    "default": {},
    "no gain control": {"pcen_gain": 0.0},
    "full gain control": {"pcen_gain": 1.0},
    "no bias": {"pcen_bias": 0.0},
    "large bias": {"pcen_bias": 1e6},
    "no compression": {"pcen_power": 1.0},
    "short": {"pcen_time_constant": 0.02},
    "shorter than a hop": {"pcen_time_constant": 0.001},
    "long": {"pcen_time_constant": 60.0},
    "floor": {"floor_db": -60.0},
}


def noise_power():
    return np.random.default_rng(0).exponential(1e-4, (BINS, FRAMES))


def step_power():
    power = np.full((BINS, FRAMES), 1e-7)
    power[:, 100:] = 1e-2
    return power


def impulse_power():
    power = np.zeros((BINS, FRAMES))
    power[np.arange(BINS), 10 * np.arange(BINS)] = 1.0
    return power


POWERS = {"noise": noise_power, "step": step_power, "impulses": impulse_power}


def settings_of(**values):
    return SETTINGS.model_copy(update=values)


def pcen_of(power, settings=SETTINGS, cuts=()):
    """PCEN of power (M, frames) that comes in blocks."""
    blocks = np.split(power.astype(np.float32), sorted(cuts), axis=1)
    return np.concatenate(list(pcen(blocks, settings)), axis=1)


def librosa_pcen(power, settings):
    """librosa's, whose running mean is told to begin at the first frame, as ours does."""
    clipped = np.maximum(power.astype(np.float32), np.float32(10 ** (settings.floor_db / 10)))
    energy = clipped.astype(np.float64) * 2**31
    frames = settings.pcen_time_constant * settings.sample_rate / settings.hop_length
    smoothing = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    return librosa.pcen(
        energy,
        sr=settings.sample_rate,
        hop_length=settings.hop_length,
        gain=settings.pcen_gain,
        bias=settings.pcen_bias,
        power=settings.pcen_power,
        time_constant=settings.pcen_time_constant,
        eps=PCEN_EPS,
        zi=(1 - smoothing) * energy[:, :1],
    )


@pytest.mark.parametrize("values", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("make", POWERS.values(), ids=POWERS)
def test_it_is_librosas(make, values):
    """1e-5: float32 holds 6e-8; 1e-12: a bias of 1e6 gives 1000, known to 1e-13 in float64."""
    settings = settings_of(**values)
    found = pcen_of(make(), settings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, librosa_pcen(make(), settings), rtol=1e-5, atol=1e-12)


@given(cuts=st.sets(st.integers(1, FRAMES - 1), max_size=12))
def test_how_the_frames_come_changes_no_bit(cuts):
    power = noise_power()
    np.testing.assert_array_equal(pcen_of(power, cuts=cuts), pcen_of(power))


def test_the_power_is_not_changed():
    power = impulse_power().astype(np.float32)
    list(pcen([power], SETTINGS))
    np.testing.assert_array_equal(power, impulse_power().astype(np.float32))


@pytest.mark.parametrize("floor_db", [-300.0, -100.0, -20.0])
@pytest.mark.parametrize("gain", [0.0, 0.98, 1.0])
def test_silence_is_one_finite_value_and_fills_the_tiles(floor_db, gain):
    """1e-6: the running mean of equal values is rounded."""
    settings = settings_of(floor_db=floor_db, pcen_gain=gain)
    found = pcen_of(np.zeros((BINS, FRAMES)), settings)
    np.testing.assert_allclose(found, quiet_level(settings), rtol=1e-6)


def test_after_sound_lasting_silence_comes_to_the_same():
    """80 s of a running mean of 0.4 s: what is left of full scale lies under the floor."""
    power = np.zeros((BINS, 10_000))
    power[:, :10] = 1
    assert pcen_of(power)[:, -1] == pytest.approx(quiet_level(SETTINGS), rel=1e-5)


@pytest.mark.parametrize("mode", ["corpus", "recording", "tile"])
def test_elsewhere_the_quiet_level_is_the_floor(mode):
    assert quiet_level(settings_of(normalization=mode, floor_db=-87.5)) == -87.5


@pytest.mark.parametrize("lost_db", [10, 20, 40])
def test_the_gain_of_steady_noise_falls_away(lost_db):
    """All of it at pcen_gain 1; at 0.98 a fiftieth of the decibels is left, then compressed.

    1e-4 at gain 1: epsilon is 1e-6 beside a running mean of 21 (1e-8 of full scale) or more.
    """
    power = noise_power()
    quiet = power * 10 ** (-lost_db / 10)
    full = settings_of(pcen_gain=1.0, floor_db=-200.0)
    np.testing.assert_allclose(pcen_of(quiet, full), pcen_of(power, full), rtol=1e-4)
    loud, soft = pcen_of(power), pcen_of(quiet)
    loudest = np.abs(np.log10(loud / soft)[power > 1e-5]).max() * 10
    assert 0 < loudest < lost_db / 50 + 1e-3


def test_an_onset_stands_out_and_then_falls_back():
    """A step of 50 dB: four time constants behind it, hardly more is left than of a fiftieth."""
    found = pcen_of(step_power())[0]
    assert found[100] > 10 * found[99]
    assert (np.diff(found[100:]) < 0).all()
    assert found[-1] == pytest.approx(found[99], rel=0.3)


@pytest.mark.parametrize("seconds", [1e-12, 1e-300])
def test_a_vanishing_time_constant_follows_every_frame(seconds):
    settings = settings_of(pcen_time_constant=seconds, pcen_gain=1.0)
    found = pcen_of(noise_power(), settings)
    np.testing.assert_allclose(found, quiet_level(settings), rtol=1e-4)


class TestTiles:
    @pytest.fixture(scope="class")
    @staticmethod
    def audio(tmp_path_factory):
        folder = tmp_path_factory.mktemp("pcen")
        rng = np.random.default_rng(0)
        for name, samples, loudness in (("a", 9000, 0.1), ("b", 20_000, 0.01), ("c", 5000, 0.3)):
            soundfile.write(folder / f"{name}.wav", rng.normal(0, loudness, samples), 8000)
        return folder

    @pytest.fixture(scope="class")
    @staticmethod
    def store(audio, tmp_path_factory):
        out = tmp_path_factory.mktemp("tiles") / "out"
        prepare(audio, out, SETTINGS)
        return TileStore(out)

    @pytest.fixture
    def run_dir(self, store, make_bundle, tmp_path):
        contents = {"normalization": store.manifest.normalization}
        make_bundle(tmp_path / "run" / "tokenizer", SETTINGS, contents=contents)
        return tmp_path / "run"

    def test_constants_are_the_manifests_and_nothing_is_told_in_db(self, store):
        assert not store.in_decibels
        rows = pq.read_table(store.folder / "tiles.parquet").to_pylist()
        for row in rows:
            for column in ("norm_offset_db", "norm_scale_db", "peak_level_db"):
                assert row[column] is None
        written = json.loads((store.folder / "prep.json").read_text())["normalization"]
        assert {store.normalization(row) for row in range(len(store))} == {Normalization(**written)}

    def test_undone_they_are_the_levels_and_filled_with_silence(self, audio, store):
        """1e-5: normalised and back in float32."""
        samples, _ = soundfile.read(audio / "b.wav", dtype="float32")
        expected = np.concatenate(list(levels([samples], build_frontend(SETTINGS), SETTINGS)), 1)
        rows = np.flatnonzero(store.recordings == "b.wav")
        undone = store.manifest.normalization.undo(np.concatenate(store.read(rows)[..., 0], axis=1))
        frames = expected.shape[1]
        assert frames < undone.shape[1]
        np.testing.assert_allclose(undone[:, :frames], expected, atol=1e-5)
        np.testing.assert_allclose(undone[:, frames:], quiet_level(SETTINGS), atol=1e-5)

    def test_normalised_they_have_mean_0_and_spread_1(self, audio, tmp_path):
        """Nearly: the constants are learned from four stretches of each recording.

        The running mean is short beside them: each stretch begins with the first frame's.
        """
        prepare(audio, tmp_path / "out", settings_of(pcen_time_constant=0.02))
        store = TileStore(tmp_path / "out")
        full = np.flatnonzero(store.valid_frames == SETTINGS.tile_size)
        values = store.read(full)
        assert values.mean() == pytest.approx(0, abs=0.15)
        assert values.std() == pytest.approx(1, abs=0.1)

    def test_settings_that_hardly_compress_can_be_met(self, audio, tmp_path):
        prepare(audio, tmp_path / "out", settings_of(pcen_gain=0.0, pcen_power=1.0))
        store = TileStore(tmp_path / "out")
        assert np.isfinite(store.read(range(len(store)))).all()

    def test_all_tokens_are_sound(self, store):
        model = ModelSettings(tile_size=32)
        rows = np.arange(len(store))
        assert Loudness(store, model).sound(store.read(rows), rows).all()

    def test_no_figure_in_db_is_told(self, store, run_dir):
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
