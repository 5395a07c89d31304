"""`--channels each`: a recording is decoded once for all channels, with the bytes of one by one."""

import pytest

from tests.pipelines.recordings import TINY, contents, noise, write
from tests.pipelines.tokenizing import record, tokenize
from ulmo.config import AugmentSettings
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.reading import channels

MANY = 12


@pytest.mark.parametrize("mode", ["corpus", "recording"])
def test_tokens(mode, tokenizer_of, tmp_path, decoded, monkeypatch):
    path = record(tmp_path / "audio" / "many.wav", 0.5, channels=MANY)
    tokenizer = tokenizer_of(mode=mode)
    (result,) = tokenize(tokenizer, path, out=tmp_path / "once", channels="each")
    assert len(result.outputs) == MANY
    assert sum(decoded) == result.outcome.frames
    monkeypatch.setattr(channels, "MOST_KEPT", 1)
    decoded.clear()
    (again,) = tokenize(tokenizer, path, out=tmp_path / "each", channels="each")
    assert sum(decoded) == MANY * result.outcome.frames * (1 + tokenizer.needs_two_passes)
    assert again.outcome == result.outcome
    assert contents(tmp_path / "once") == contents(tmp_path / "each")


@pytest.mark.parametrize("mode", ["corpus", "recording"])
def test_tiles_and_their_views(mode, tmp_path, decoded, monkeypatch):
    write(tmp_path / "audio" / "many.wav", noise(3000, 1, channels=MANY))
    settings = TINY.model_copy(update={"normalization": mode, "channels": "each"})
    augment = AugmentSettings(views=2, hop_factors=(1.0,), window_factors=(1.0,))
    prepare(tmp_path / "audio", tmp_path / "once", settings, augment=augment)
    few = sum(decoded)
    monkeypatch.setattr(channels, "MOST_KEPT", 1)
    prepare(tmp_path / "audio", tmp_path / "each", settings, augment=augment)
    assert contents(tmp_path / "once") == contents(tmp_path / "each")
    assert 3000 <= few <= 3000 + sum(decoded) // MANY < sum(decoded) - few
