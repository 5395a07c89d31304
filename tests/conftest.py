from pathlib import Path

import pytest

from ulmo.config import PrepSettings
from ulmo.pipelines.prep import prepare

SAMPLES = Path(__file__).parent.parent / "data_samples"


@pytest.fixture(scope="session")
def tiny_tiles(tmp_path_factory):
    """data_samples as tiles of 32 x 32: 8 kHz, 8 ms a frame."""
    folder = tmp_path_factory.mktemp("tiny") / "tiles"
    settings = PrepSettings(frontend="stft", tile_size=32, sample_rate=8000, hop_length=64)
    prepare(SAMPLES, folder, settings)
    return folder
