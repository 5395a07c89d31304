"""Tiles of expanded sound are those of its slow copy; their times and hertz are the sound's."""

import json

import numpy as np
import pytest
import soundfile

from tests.commands import run
from tests.pipelines.recordings import RATE, TINY, noise, rows_of
from ulmo.cli.main import ulmo
from ulmo.config import AugmentSettings, UserError
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.show.show import show
from ulmo.preprocessing import preprocess
from ulmo.preprocessing.store import TileStore

K = 10
FAST = TINY.with_sound(K, None)


def written(folder, rate, subtype="PCM_16", scale=1.0):
    folder.mkdir()
    for name in ("20260101_000000", "b"):
        samples = scale * noise(9000, len(name), 2)
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
    return folder


def tiles_of(folder):
    store = TileStore(folder)
    return store.read(range(len(store)))


def columns(folder, name):
    return np.array([row[name] for row in rows_of(folder, "tiles")])


@pytest.mark.parametrize("mode", ["corpus", "recording", "tile", "pcen", "level"])
@pytest.mark.parametrize("views", [1, 3])
def test_tiles_are_those_of_the_slow_copy(mode, views, tmp_path):
    update = {"normalization": mode, "channels": "each"}
    augment = AugmentSettings(views=views, hop_factors=(0.5, 1.0), window_factors=(1.0,))
    slow = written(tmp_path / "slow", 3 * RATE // 2)
    fast = written(tmp_path / "fast", 15 * RATE)
    prepare(slow, tmp_path / "a", TINY.model_copy(update=update), augment=augment)
    prepare(fast, tmp_path / "b", FAST.model_copy(update=update), augment=augment)
    np.testing.assert_array_equal(tiles_of(tmp_path / "a"), tiles_of(tmp_path / "b"))
    for name in ("tile", "view", "start_sample", "valid_frames", "channel"):
        assert columns(tmp_path / "a", name).tolist() == columns(tmp_path / "b", name).tolist()
    np.testing.assert_allclose(
        columns(tmp_path / "a", "start_s"), K * columns(tmp_path / "b", "start_s"), rtol=1e-9
    )
    rows = rows_of(tmp_path / "b")
    assert [row["bandwidth_hz"] for row in rows] == [K * RATE / 2] * 2
    slow_rows = rows_of(tmp_path / "a")
    assert [row["share_above"] for row in rows] == [row["share_above"] for row in slow_rows]


def test_manifest_and_time(tmp_path):
    fast = written(tmp_path / "fast", K * RATE)
    prepare(fast, tmp_path / "out", FAST)
    assert (
        json.loads((tmp_path / "out" / "prep.json").read_text())["settings"]["time_expansion"] == K
    )
    timed = [row for row in rows_of(tmp_path / "out", "tiles") if row["start_utc"]]
    assert len(timed) > 1
    for row in timed:
        late = (row["start_utc"] - timed[0]["start_utc"]).total_seconds()
        assert late == pytest.approx(row["start_s"], abs=1e-6)
    with pytest.raises(UserError, match=r"time_expansion there 10\.0, here 1\.0"):
        prepare(fast, tmp_path / "out", TINY)


def test_full_scale(tmp_path):
    plain = written(tmp_path / "plain", RATE, "DOUBLE")
    pascals = written(tmp_path / "pascals", RATE, "DOUBLE", scale=2.0**24)
    prepare(plain, tmp_path / "a", TINY)
    prepare(pascals, tmp_path / "b", TINY.with_sound(None, 2.0**24))
    np.testing.assert_array_equal(tiles_of(tmp_path / "a"), tiles_of(tmp_path / "b"))
    prepare(pascals, tmp_path / "c", TINY)
    assert {row["reason"] for row in rows_of(tmp_path / "c")} == {"beyond_scale"}


def test_preprocess(tmp_path):
    samples = noise(9000, 1)[:, 0]
    found = preprocess(
        samples, sample_rate=48_000, settings=FAST.model_copy(update={"normalization": "recording"})
    )
    expected = preprocess(
        samples, sample_rate=4800, settings=TINY.model_copy(update={"normalization": "recording"})
    )
    np.testing.assert_array_equal(found, expected)


def test_a_picture_shows_true_seconds_and_hertz(tmp_path):
    path = written(tmp_path / "fast", K * RATE) / "b.wav"
    shown = show(path, tmp_path / "x.png", ["stft"], FAST)
    assert shown.seconds == pytest.approx(9000 / (K * RATE), rel=0.01)
    assert shown.bandwidth_hz == K * RATE / 2
    assert shown.flags == {}
    plain = show(path, tmp_path / "x.png", ["stft"], TINY)
    assert list(plain.flags) == ["above_bandwidth"]


def test_the_command_says_what_will_come_and_what_is_lost(tmp_path):
    folder = written(tmp_path / "fast", K * RATE)
    options = [folder, tmp_path / "out", "-M", 32, "--sample-rate", RATE, "--hop-length", 32]
    options += ["--workers", 1]
    result = run(ulmo, "prep", *options)
    minute = 60 * RATE / (32 * 32)
    assert f"{minute:.3g} tiles a minute, " in result.stdout
    assert "above_bandwidth  2 recordings (such as 20260101_000000.wav): " in result.stdout
    options[1] = tmp_path / "expanded"
    result = run(ulmo, "prep", *options, "--time-expansion", K)
    assert f"up to {K * RATE / 2:g} Hz, time expansion 10" in result.stdout
    assert "above_bandwidth" not in result.stdout
