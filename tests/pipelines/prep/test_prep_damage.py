import numpy as np
import pytest
import soundfile

from tests.pipelines.recordings import HOP, RATE, SIZE, TINY, by_path, noise, rows_of, write
from tests.preprocessing.signals import count_tiles
from ulmo.pipelines.prep import writer as prep_writer
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.store import TileStore


def test_each_file_has_its_status_and_the_rest_is_done(damaged, tmp_path):
    summary = prepare(damaged, tmp_path / "out", TINY)
    rows = by_path(tmp_path / "out")
    assert len(rows) == summary.recordings == 17
    found = {
        name: (*(row[key] for key in ("status", "reason", "frames", "frames_missing", "tiles")),)
        for name, row in rows.items()
        if name.startswith("x/")
    }
    assert found == {
        "x/crashed.wav": ("repaired", "header_sizes", 2000, 0, 1),
        "x/empty.wav": ("refused", "empty_file", 0, 0, 0),
        "x/header.wav": ("refused", "no_samples", 0, 0, 0),
        "x/nan.wav": ("repaired", "non_finite", 2000, 0, 1),
        "x/nowhere.wav": ("refused", "unreadable", 0, 0, 0),
        "x/short.wav": ("refused", "too_short", 0, 1, 0),
        "x/text.wav": ("refused", "not_audio", 0, 0, 0),
        "x/truncated.wav": ("partial", "truncated", 1500, 500, 1),
        "x/zeros.wav": ("ok", None, 2000, 0, 1),
    }
    assert rows["x/zeros.wav"]["peak_db"] is None
    assert all(row["detail"] for row in rows.values() if row["status"] != "ok")
    assert summary.statuses == {"ok": 9, "repaired": 2, "partial": 1, "refused": 5}
    assert [path for path, _, _ in summary.refused] == [
        *("x/empty.wav", "x/header.wav", "x/nowhere.wav", "x/short.wav", "x/text.wav")
    ]
    store = TileStore(tmp_path / "out")
    assert len(store) == sum(row["tiles"] for row in rows.values())
    assert np.isfinite(store.read(range(len(store)))).all()


@pytest.mark.parametrize("mode", ["recording", "tile"])
def test_silence_is_finite_and_0(damaged, tmp_path, mode):
    prepare(damaged, tmp_path / "out", TINY.model_copy(update={"normalization": mode}))
    store = TileStore(tmp_path / "out")
    (index,) = np.flatnonzero(store.recordings == "x/zeros.wav")
    assert (store.read([index]) == 0).all()


def test_a_truncated_flac_gives_what_can_be_decoded(tmp_path):
    (tmp_path / "audio").mkdir()
    path = tmp_path / "audio" / "x.flac"
    soundfile.write(path, noise(40_000, 1), RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for mode in ("corpus", "recording"):
        settings = TINY.model_copy(update={"normalization": mode})
        prepare(tmp_path / "audio", tmp_path / mode, settings)
        (row,) = rows_of(tmp_path / mode)
        assert (row["status"], row["reason"]) == ("partial", "decode_error")
        assert 15_000 < row["frames"] < 20_000
        assert row["frames_missing"] == 40_000 - row["frames"]
        assert row["tiles"] == count_tiles(-(-row["frames"] // HOP), SIZE)


def test_a_flac_that_cannot_be_decoded_is_refused(tmp_path):
    (tmp_path / "audio").mkdir()
    path = tmp_path / "audio" / "x.flac"
    soundfile.write(path, noise(40_000, 1), RATE)
    path.write_bytes(path.read_bytes()[:3000])
    summary = prepare(tmp_path / "audio", tmp_path / "out", TINY)
    assert [refused[:2] for refused in summary.refused] == [("x.flac", "decode_error")]


def test_nothing_but_damage(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "x.wav").touch()
    summary = prepare(tmp_path / "audio", tmp_path / "out", TINY)
    assert (summary.tiles, summary.statuses) == (0, {"refused": 1})
    assert len(TileStore(tmp_path / "out")) == 0
    assert prepare(tmp_path / "audio", tmp_path / "out", TINY).reused


def test_a_full_disk_is_an_error_and_no_damaged_recording(audio, tmp_path, monkeypatch, small_jobs):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prep_writer, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(audio, tmp_path / "out", TINY)


def test_a_recording_that_is_refused_late_leaves_no_tiles(tmp_path):
    """That its last samples are beyond all scales is known when its first have become tiles."""
    samples = noise(60_000, 1)
    write(tmp_path / "audio" / "a.wav", samples)
    samples[50_000:] *= 1e9
    write(tmp_path / "audio" / "b.wav", samples, subtype="FLOAT")
    write(tmp_path / "audio" / "c.wav", noise(9000, 2))
    prepare(tmp_path / "audio", tmp_path / "out", TINY)
    rows = by_path(tmp_path / "out")
    assert (rows["b.wav"]["reason"], rows["b.wav"]["tiles"]) == ("beyond_scale", 0)
    tiles = [row["recording"] for row in rows_of(tmp_path / "out", "tiles")]
    assert {name: tiles.count(name) for name in rows} == {
        name: row["tiles"] for name, row in rows.items()
    }
    shards = sorted((tmp_path / "out" / "tiles").iterdir())
    assert sum(len(np.load(shard)) for shard in shards) == len(tiles)
