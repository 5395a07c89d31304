import shutil

import numpy as np
import pytest
import soundfile

from tests.oracles import wav_bytes
from tests.outputs import make_run, make_tiles
from tests.pipelines.recordings import NON_UTF8, RATE, noise, write
from tests.pipelines.training import PIXEL
from ulmo.pipelines.prep import job as prep_job
from ulmo.preprocessing import store as tile_store


@pytest.fixture(scope="module")
def no_pictures():
    """Those of a run are one pixel: drawing them takes longer than a tiny training."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("trainer.draw_reconstructions", "train.draw_losses"):
            patch.setattr(f"ulmo.pipelines.train.{place}", lambda *_: PIXEL)
        yield


@pytest.fixture(scope="session")
def tokenizer(tokenizer_of):
    return tokenizer_of()


@pytest.fixture
def audio(tmp_path):
    """Eight sound recordings: of 1 to 3 tiles, two of them of one name, one stereo at 8 kHz."""
    folder = tmp_path / "audio"
    for seed, name in enumerate(["a.wav", "b/a.wav", "b/b.WAV", "c.wav", "d.wav", NON_UTF8]):
        write(folder / name, noise(1500 + 900 * seed, seed))
    write(folder / "stereo.wav", noise(9000, 7, channels=2), rate=8000)
    soundfile.write(folder / "e.flac", noise(3000, 8), RATE)
    return folder


@pytest.fixture
def damaged(audio):
    """The same, among files of which each has another fault."""
    nan = noise(2000, 9).astype("<f4")
    nan[100:110] = np.nan
    pcm = (noise(2000, 10) * 32768).astype("<i2").tobytes()
    files = {
        "x/empty.wav": b"",
        "x/text.wav": b"this is no sound\n" * 20,
        "x/truncated.wav": wav_bytes(pcm, sample_rate=RATE)[:-1000],
        "x/crashed.wav": wav_bytes(pcm, sample_rate=RATE, data_size=0),
        "x/zeros.wav": wav_bytes(bytes(4000), sample_rate=RATE),
        "x/nan.wav": wav_bytes(nan.tobytes(), sample_rate=RATE, bits=32, tag=3),
        "x/header.wav": wav_bytes(b"", sample_rate=RATE),
        "x/short.wav": wav_bytes(bytes(2), sample_rate=192_000),
    }
    (audio / "x").mkdir()
    for name, content in files.items():
        (audio / name).write_bytes(content)
    (audio / "x" / "nowhere.wav").symlink_to(audio / "none")
    (audio / "notes.txt").write_text("no recording")
    return audio


@pytest.fixture
def small_jobs(monkeypatch):
    """Jobs of two recordings, shards of three tiles: so that there are several of each."""
    monkeypatch.setattr(prep_job, "_JOB_FILES", 2)
    monkeypatch.setattr(tile_store, "SHARD_TILES", 3)


@pytest.fixture(scope="module")
def made_tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    make_tiles(folder / "tiles")
    return folder


@pytest.fixture
def tiles(made_tiles, tmp_path):
    """Five tiles of two recordings; the audio lies beside them, in `audio`."""
    shutil.copytree(made_tiles, tmp_path / "x")
    return tmp_path / "x" / "tiles"


@pytest.fixture(scope="module")
def made_run(tmp_path_factory, make_bundle):
    return make_run(tmp_path_factory.mktemp("run") / "run", make_bundle)


@pytest.fixture
def run(made_run, tmp_path):
    """A finished run whose checkpoints no TensorFlow ever saw."""
    return shutil.copytree(made_run, tmp_path / "run")
