"""Short recordings are decoded once, for the constants and for their tiles; no byte changes."""

from collections import Counter

import pytest

from tests.pipelines.recordings import TINY, contents, noise, rows_of, write
from tests.preprocessing.reading.sounds import written
from ulmo.config import AugmentSettings
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.reading import kept, opening

COMPRESSED = {"a.ogg": "ogg, vorbis", "b.opus": "ogg, opus", "c.mp3": "mp3"}


@pytest.fixture
def audio(tmp_path):
    """Recordings of every kind that is decoded from its beginning, some of them damaged."""
    folder = tmp_path / "audio"
    write(folder / "plain.wav", noise(9000, 3, channels=2))
    for name, kind in COMPRESSED.items():
        content = written(kind, 20_000, channels=2)
        (folder / name).write_bytes(content)
        (folder / f"cut-{name}").write_bytes(content[: len(content) // 2])
        (folder / f"holed-{name}").write_bytes(content[:6000] + bytes(400) + content[6400:])
        (folder / f"two-{name}").write_bytes(2 * content)
    return folder


@pytest.fixture
def openings(monkeypatch):
    """How often libsndfile opened each file, by its name."""
    counts, opened = Counter(), opening.Opener.open

    def counting(opener, part):
        decoder = opened(opener, part)
        counts[opener.path.name] += type(decoder) is opening.Decoder
        return decoder

    monkeypatch.setattr(opening.Opener, "open", counting)
    return counts


@pytest.mark.usefixtures("small_jobs")
@pytest.mark.parametrize("channels", ["mix", "each"])
@pytest.mark.parametrize("normalization", ["corpus", "level", "pcen"])
def test_the_output_is_the_same(normalization, channels, audio, tmp_path, monkeypatch, openings):
    settings = TINY.model_copy(update={"normalization": normalization, "channels": channels})
    prepare(audio, tmp_path / "out", settings)
    assert {openings[name] for name in COMPRESSED} == {1}
    openings.clear()
    monkeypatch.setattr(kept, "MOST_OF_ONE", 0)
    prepare(audio, tmp_path / "plain", settings)
    assert min(openings[name] for name in COMPRESSED) > 1
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    assert {row["status"] for row in rows_of(tmp_path / "out")} > {"ok", "partial"}


def test_views_and_workers(audio, tmp_path):
    """Views read a recording again; workers keep nothing for each other."""
    augment = AugmentSettings(views=3, hop_factors=(1.0,), window_factors=(1.0,))
    for workers in (1, 2):
        spread = Spread(workers)
        prepare(audio, tmp_path / str(workers), TINY, augment=augment, spread=spread)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
