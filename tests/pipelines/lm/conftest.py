import numpy as np
import pytest
import soundfile

from tests.commands import run
from tests.small_tokenizers import HOP, RATE, sound
from tests.token_models import TINY, bundle_at
from ulmo.cli.main import ulmo as command
from ulmo.config import PrepSettings
from ulmo.tokenizer import load_tokenizer

PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=RATE, hop_length=HOP)
PLAN = {"frequency_stride": 16, "time_stride": 4, "codebook_size": 8}


@pytest.fixture(scope="session")
def bundle(make_bundle, tmp_path_factory):
    """A tokenizer with substitution scores."""
    scores = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("lm") / "tokenizer"
    return make_bundle(folder, PREP, contents={"scores": scores + scores.swapaxes(1, 2)}, **PLAN)


@pytest.fixture(scope="session")
def audio(tmp_path_factory):
    """Five recordings of 6 to 10 s, a minute apart, which begin alike."""
    folder = tmp_path_factory.mktemp("audio")
    for number in range(5):
        path = folder / f"20260301_12{number:02}00.wav"
        soundfile.write(path, sound(RATE * (6 + number)), RATE)
    return folder


@pytest.fixture(scope="session")
def tokens(bundle, audio, tmp_path_factory):
    """The tokens of these, 25 columns of 2 bands in a second."""
    folder = tmp_path_factory.mktemp("tokens") / "out"
    done = run(command, "tokenize", audio, "--tokenizer", bundle, "--out", folder, "--workers", 1)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="session")
def lm(bundle, tmp_path_factory):
    """A token model of random weights, for this tokenizer."""
    tokenizer = load_tokenizer(bundle).manifest.fingerprint
    folder = tmp_path_factory.mktemp("random") / "lm"
    bundle_at(folder, TINY, tokenizer).write()
    return folder
